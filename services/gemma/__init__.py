"""Chat over a user's memory."""
