"""Speech to text: recordings, transcripts, who spoke."""
