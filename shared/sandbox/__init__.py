"""Work on untrusted files in a process of its own that may be lost."""
