"""The holder's side of sharing: who runs durable work."""
