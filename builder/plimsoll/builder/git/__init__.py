"""Git repositories: asking, fetching, and who signed what is in them."""
