"""What programs and archives in a package were made of."""
