"""The vault: memories, transcripts, conversations, search."""
