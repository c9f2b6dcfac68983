"""An image as one tar file: for ``docker load`` and at the same time an OCI layout."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Final

from plimsoll.errors import write_advice
from plimsoll.oci.errors import LayoutError
from plimsoll.oci.layout import MARKER, REF_NAME
from plimsoll.oci.model import Descriptor, Index, Manifest
from plimsoll.oci.strictjson import dump
from plimsoll.outfile import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.oci.layout import Layout

_IMAGE_NAME: Final = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Tagged:
    """One image or index of an archive, and its names.

    Attributes:
        descriptor: a manifest or index in the layout.
        names: full references with tags: ``registry.example/app:1``.
    """

    descriptor: Descriptor
    names: Sequence[str]


def write_archive(layout: Layout, images: Sequence[Tagged], path: Path) -> None:
    """Write a tar file of images and all their blobs; the same input gives the same bytes. Blocks.

    ``index.json`` names every image and index; ``manifest.json``, which docker reads, only images
    (docker's format knows no indexes), those of an index of several with a name ending in
    their architecture.

    Raises:
        LayoutError: a blob is missing or the file cannot be written.
        InvalidManifestError: something in the layout is no manifest.
    """
    blobs = {item.digest: item for image in images for item in layout.blobs_of(image.descriptor)}
    members = [
        replace(
            image.descriptor,
            annotations={
                **image.descriptor.annotations,
                _IMAGE_NAME: name,
                REF_NAME: name.rpartition("/")[2].partition(":")[2] or "latest",
            },
        )
        for image in images
        for name in image.names
    ]
    docker = [entry for image in images for entry in _docker_entries(layout, image)]
    try:
        with replacing(path) as file, _tar(file) as tar:
            _add(tar, "oci-layout", MARKER)
            _add(tar, "index.json", Index(manifests=tuple(members)).to_bytes())
            _add(tar, "manifest.json", dump(docker))
            for algorithm in ("sha256", "sha512"):
                _add_blobs(tar, layout, [d for d in blobs if d.startswith(algorithm)])
    except OSError as error:
        raise LayoutError(
            f"cannot write {path}: {error.strerror or error}",
            hint=write_advice(error),
        ) from error


def _tar(file: IO[bytes]) -> tarfile.TarFile:
    if file.seekable():
        return tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
    return tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)


def _docker_entries(layout: Layout, image: Tagged) -> list[dict[str, object]]:
    document = layout.read_manifest(image.descriptor)
    if isinstance(document, Manifest):
        return [
            {
                "Config": _blob_name(document.config.digest),
                "RepoTags": list(image.names),
                "Layers": [_blob_name(layer.digest) for layer in document.layers],
            }
        ]
    entries = []
    for member in document.manifests:
        if len(document.manifests) == 1:
            return _docker_entries(layout, Tagged(member, image.names))
        slug = str(member.platform).partition("/")[2].replace("/", "-") if member.platform else ""
        names = [f"{name}-{slug}" for name in image.names] if slug else []
        entries += _docker_entries(layout, Tagged(member, names))
    return entries


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o644, 0
    return header


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_header(name, len(data)), io.BytesIO(data))


def _add_blobs(tar: tarfile.TarFile, layout: Layout, digests: list[str]) -> None:
    for digest in sorted(digests):
        source = layout.blob_path(digest)
        with source.open("rb") as file:
            tar.addfile(_header(_blob_name(digest), source.stat().st_size), file)
