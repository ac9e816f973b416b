"""The wire: what crosses between processes and to clients. Pydantic only."""
