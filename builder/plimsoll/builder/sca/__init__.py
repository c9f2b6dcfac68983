"""What a package needs and offers, read from its files."""
