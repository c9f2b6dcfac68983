"""Tiny images made here, of one static program each."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(reference: str, program: bytes, name: str) -> bytes:
    """A ``docker load`` archive of an image that holds and runs one static program.

    Args:
        reference: name and tag.
        program: the executable's bytes.
        name: its file name in the image's root.
    """
    layer = _tar({name: (program, 0o755)})
    config = {
        "architecture": _MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{name}"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "config.json": (json.dumps(config).encode(), 0o644),
            "layer.tar": (layer, 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()
