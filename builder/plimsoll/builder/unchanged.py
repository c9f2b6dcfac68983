"""Builds whose every input is, byte for byte, what it was: answered without reading one.

After a build from local files and the cache alone, the cache notes which files it read, each with
its SHA-256, and what came out. The next build with the same options compares the files and needs
neither the configuration's models nor the solver: most of the time of a small build is taken by
loading what is not needed then. A build that asked a server is not noted: whether that server
would say the same is for the server to tell.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.arch import Arch
from plimsoll.builder.remembered import OUTPUT_FORMAT, recall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.builder.ociimage import ArchImage
    from plimsoll.builder.store import Store

KIND = "builds"
#: Options that say where results go and how they are shown, not what is built.
_APART = frozenset(
    ("as_json", "cache_dir", "image_refs", "insecure", "progress", "sbom", "sbom_formats",
     "sbom_path"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a build: the images, the index over them, and its SPDX document."""

    images: list[ArchImage]
    index: bytes
    document: bytes


def build_key(config: Path, name: str, options: Mapping[str, Any]) -> str:
    """Under what a build is noted: everything but the content of files.

    Args:
        config: the configuration file.
        name: repository of the image.
        options: of the command line.
    """
    value = [
        OUTPUT_FORMAT,
        __file__,
        os.uname().machine,
        str(Path.cwd()),
        str(config),
        name,
        os.environ.get("SOURCE_DATE_EPOCH", ""),
        {key: option for key, option in options.items() if key not in _APART},
    ]
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def find(store: Store, key: str) -> Result | None:
    """The result of an earlier build, if all files that it read are as they were."""
    value = store.get_record(KIND, key)
    if value is None or not Path(value["program"]).is_dir():
        return None
    if any(_sha256(path) != known for path, known in value["files"].items()):
        return None
    images = []
    for name, image_key in value["images"]:
        image = recall(store, image_key, Arch.parse(name))
        if image is None:
            return None
        images.append(image)
    return Result(images, value["index"].encode(), value["document"].encode())


def keep(
    store: Store,
    key: str,
    files: Mapping[str, str],
    images: Mapping[Arch, str],
    made: Result,
) -> None:
    """Note a build.

    Args:
        store: the cache.
        key: as ``build_key`` says.
        files: path → SHA-256 (hex) of everything that was read.
        images: under which key each architecture's image is remembered.
        made: what came out.
    """
    program = _program()
    if program is None:
        return
    value = {
        "program": str(program),
        "files": dict(files),
        "images": [[arch.oci, image_key] for arch, image_key in images.items()],
        "index": made.index.decode(),
        "document": made.document.decode(),
    }
    store.put_record(KIND, key, value)


def _program() -> Path | None:
    """The folder that is there while this version of this program is installed."""
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415

    try:
        found = distribution("plimsoll")
    except PackageNotFoundError:
        return None
    folder = Path(str(found.locate_file(f"plimsoll-{found.version}.dist-info")))
    return folder if folder.is_dir() else None


def _sha256(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
