"""Sound as numbers: decoding in a child process."""
