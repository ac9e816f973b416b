"""The command line: what an operator and a newcomer type."""
