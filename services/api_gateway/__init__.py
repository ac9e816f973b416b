"""The only public door: identity, limits, typed public routes, the web page."""
