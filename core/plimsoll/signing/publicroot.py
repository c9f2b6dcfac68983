"""The public instances of Sigstore, as the ``sigstore`` package knew them when it was made."""

from __future__ import annotations

import importlib.resources
from typing import Final

PUBLIC_MIRROR: Final = "https://tuf-repo-cdn.sigstore.dev"
STAGING_MIRROR: Final = "https://tuf-repo-cdn.sigstage.dev"


def embedded(name: str, mirror: str = PUBLIC_MIRROR) -> bytes:
    """A file of an instance: ``trusted_root.json``, ``root.json``.

    Raises:
        OSError: if the package does not have it.
    """
    folder = importlib.resources.files("sigstore._store")
    return (folder / mirror.replace(":", "%3A").replace("/", "%2F") / name).read_bytes()
