"""Signatures and attestations of images: making them, finding them, and judging them."""
