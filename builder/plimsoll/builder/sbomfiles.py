"""SBOMs as files in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.sbom import index_sbom
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from plimsoll.builder.ociimage import ArchImage

_SUFFIXES = {"spdx": ".spdx.json", "cyclonedx": ".cdx.json"}


def in_format(document: bytes, form: str) -> bytes:
    """An SPDX document in the format ``spdx`` or ``cyclonedx``."""
    if form == "spdx":
        return document
    from plimsoll.builder.cyclonedx import from_spdx  # noqa: PLC0415  (its library loads slowly)

    return from_spdx(document)


def write_sboms(
    folder: Path, images: Sequence[ArchImage], name: str, digest: str, formats: Iterable[str]
) -> None:
    """Write ``sbom-ARCH`` for each image and ``sbom-index`` for all, in each format.

    Args:
        folder: made if absent.
        images: of all architectures.
        name: repository.
        digest: of the index; ``""`` if there is none.
        formats: ``spdx``, ``cyclonedx``.

    Raises:
        StorageError: the folder cannot be written to.
    """
    documents = {image.arch.apk: image.sbom for image in images}
    if digest and images:
        created = max(image.created for image in images)
        members = ((image.descriptor, image.sbom) for image in images)
        documents["index"] = index_sbom(name, digest, members, created)
    with storage_errors(f"writing SBOM files to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            for slug, document in documents.items():
                path = folder / f"sbom-{slug}{_SUFFIXES[form]}"
                path.write_bytes(in_format(document, form))
