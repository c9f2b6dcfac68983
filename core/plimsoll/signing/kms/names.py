"""References to keys in key management services."""

from __future__ import annotations

from typing import Final

#: Schemes that cosign knows.
SCHEMES: Final = ("awskms", "azurekms", "gcpkms", "hashivault")


def is_reference(text: str) -> bool:
    """Whether a text names a key in a service, and not a file."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme in SCHEMES
