"""SBOMs as files in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll import outfile
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


def index_document(images: Sequence[ArchImage], name: str, digest: str) -> bytes:
    """The SPDX document of an index; empty without images or digest.

    Args:
        images: of all architectures.
        name: repository.
        digest: of the index.
    """
    from plimsoll.builder.sbom import index_sbom  # noqa: PLC0415  (start-up time)

    if not digest or not images:
        return b""
    created = max(image.created for image in images)
    return index_sbom(name, digest, ((x.descriptor, x.sbom) for x in images), created)


def write_sboms(
    folder: Path, images: Sequence[ArchImage], index: bytes, formats: Iterable[str]
) -> None:
    """Write ``sbom-ARCH`` for each image and ``sbom-index`` for all, in each format.

    Args:
        folder: made if absent.
        images: of all architectures.
        index: the document of the index, empty if there is none.
        formats: ``spdx``, ``cyclonedx``.

    Raises:
        StorageError: the folder cannot be written to.
    """
    documents = {image.arch.apk: image.sbom for image in images}
    if index:
        documents["index"] = index
    with storage_errors(f"writing SBOM files to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            for slug, document in documents.items():
                path = folder / f"sbom-{slug}{_SUFFIXES[form]}"
                outfile.write(path, in_format(document, form))
