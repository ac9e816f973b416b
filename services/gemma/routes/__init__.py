"""HTTP of the chat service."""
