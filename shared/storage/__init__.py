"""One seam per outside world, each with its in-memory twin."""
