"""New versions upstream: where to look, what counts, what changes with them."""
