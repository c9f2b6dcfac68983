"""Small real images for tests of registries and layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

from plimsoll.oci.model import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)

if TYPE_CHECKING:
    from plimsoll.oci.layout import Layout


def add_image(layout: Layout, architecture: str = "amd64", content: bytes = b"hello") -> Descriptor:
    """One image with one layer with one file."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo(f"etc/{architecture}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    layer = layout.add_bytes(gzip.compress(raw.getvalue(), mtime=0), OCI_LAYER_GZIP)
    diff_id = f"sha256:{hashlib.sha256(raw.getvalue()).hexdigest()}"
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "test"}],
    }
    config_blob = layout.add_bytes(json.dumps(config).encode(), OCI_CONFIG)
    return layout.add_bytes(
        Manifest(config=config_blob, layers=(layer,)).to_bytes(),
        OCI_MANIFEST,
        platform=Platform(architecture=architecture),
    )


def add_index(layout: Layout, *architectures: str) -> Descriptor:
    """An index of such images."""
    members = tuple(add_image(layout, item) for item in architectures or ("amd64", "arm64"))
    return layout.add_bytes(Index(manifests=members).to_bytes(), OCI_INDEX)
