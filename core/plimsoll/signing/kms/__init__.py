"""Keys that stay where they are: key management services."""
