"""Headers, limits and other guards of the edge."""
