"""Who is calling: user tokens, service tokens, roles and the FastAPI dependencies."""
