"""OCI image layouts on disk (image-spec v1.1, image-layout.md)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from plimsoll.errors import write_advice
from plimsoll.oci.digest import check_digest, digest_file, matches
from plimsoll.oci.errors import InvalidManifestError, LayoutError
from plimsoll.oci.model import (
    MANIFEST_LIMIT,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_manifest,
)
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

#: Annotation of a member of ``index.json`` that gives its name.
REF_NAME: Final = "org.opencontainers.image.ref.name"
#: The content of the file ``oci-layout``.
MARKER: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MARKER_LIMIT: Final = 4096


class Layout:
    """A directory of blobs and the index that names them. All methods block.

    Blobs appear under their name only when complete, so that several writers do not disturb each
    other; ``index.json`` has one writer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty layout, or open the one that is there.

        Raises:
            LayoutError: the directory has something else in it, or cannot be written.
        """
        if (path / "oci-layout").exists():
            return cls.open(path)
        cls.check_place(path)
        with _written(path):
            (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            _write(path / "index.json", Index(manifests=()).to_bytes())
            _write(path / "oci-layout", MARKER)
        return cls(path)

    @staticmethod
    def check_place(path: Path) -> None:
        """Whether a layout is there or may be made there.

        Raises:
            LayoutError: the directory has something else in it, or cannot be read.
        """
        with _written(path):
            taken = path.exists() and any(path.iterdir())
            if taken and not (path / "oci-layout").exists():
                raise LayoutError(
                    f"{path} is not empty and no OCI layout",
                    hint="name an empty directory, or one that an earlier build wrote",
                )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a layout.

        Raises:
            LayoutError: it is none, or of another version.
        """
        data = _read(path / "oci-layout", _MARKER_LIMIT, f"{path} is no OCI layout")
        try:
            version = load_object(data, what="oci-layout", max_size=_MARKER_LIMIT)
        except InvalidManifestError as error:
            raise LayoutError(f"{path} is no OCI layout: {error.message}") from error
        if version.get("imageLayoutVersion") != "1.0.0":
            raise LayoutError(f"{path} has the layout version {version.get('imageLayoutVersion')}")
        return cls(path)

    @property
    def index(self) -> Index:
        """What ``index.json`` says now.

        Raises:
            LayoutError: it is missing or invalid.
        """
        path = self.path / "index.json"
        try:
            return Index.parse(_read(path, MANIFEST_LIMIT, f"cannot read {path}"), what=str(path))
        except InvalidManifestError as error:
            raise LayoutError(error.message) from error

    def set_index(self, members: Iterable[Descriptor]) -> None:
        """Replace what ``index.json`` names."""
        with _written(self.path):
            _write(self.path / "index.json", Index(manifests=tuple(members)).to_bytes())

    def name(self, descriptor: Descriptor, name: str) -> None:
        """Give a manifest a name in ``index.json``; another one of that name loses it."""
        notes = {**descriptor.annotations, REF_NAME: name}
        kept = [m for m in self.index.manifests if m.annotations.get(REF_NAME) != name]
        self.set_index([*kept, replace(descriptor, annotations=notes)])

    def resolve(self, name: str | None = None) -> Descriptor:
        """The member of ``index.json`` with this name; the only member where none is asked for.

        Raises:
            LayoutError: there is none, or more than one.
        """
        members = self.index.manifests
        found = [m for m in members if name is None or m.annotations.get(REF_NAME) == name]
        if len(found) != 1:
            names = sorted(m.annotations.get(REF_NAME, m.digest) for m in members)
            raise LayoutError(
                f"{self.path} has {len(found)} images"
                + (f" named {name!r}" if name is not None else ""),
                hint=f"it has: {', '.join(names[:20]) or 'none'}",
            )
        return found[0]

    def blob_path(self, digest: str) -> Path:
        """Where the blob lies, or would lie."""
        algorithm, _, encoded = check_digest(digest).partition(":")
        return self.path / "blobs" / algorithm / encoded

    def new_blob_path(self, digest: str) -> Path:
        """Like ``blob_path``, with the directory made, for a writer that is atomic itself."""
        path = self.blob_path(digest)
        with _written(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has_blob(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there, by name and size; its bytes are not read."""
        try:
            found = self.blob_path(digest).stat()
        except OSError:
            return False
        return size is None or found.st_size == size

    def read_blob(self, digest: str, max_size: int = MANIFEST_LIMIT) -> bytes:
        """Read and check a blob.

        Raises:
            LayoutError: it is missing, too large, or not what its name says.
        """
        data = _read(self.blob_path(digest), max_size, f"{self.path} lacks the blob {digest}")
        if not matches(digest, data):
            raise LayoutError(
                f"the blob {digest} in {self.path} is damaged", hint="make the layout anew"
            )
        return data

    def read_manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """Read, check and parse a manifest or index.

        Raises:
            LayoutError: it is missing or damaged.
            InvalidManifestError: it is no manifest.
        """
        data = self.read_blob(descriptor.digest)
        return parse_manifest(data, descriptor.media_type, what=descriptor.digest)

    def add_bytes(
        self,
        data: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
    ) -> Descriptor:
        """Store bytes as a blob."""
        descriptor = Descriptor.of(data, media_type, annotations=annotations, platform=platform)
        if not self.has_blob(descriptor.digest, descriptor.size):
            with _written(self.path):
                _write(self.blob_path(descriptor.digest), data)
        return descriptor

    def add_file(
        self, source: Path, media_type: str, *, digest: str | None = None, move: bool = False
    ) -> Descriptor:
        """Store a file as a blob: linked or moved where the file system allows, else copied.

        Args:
            source: the file, which nobody may change afterwards.
            media_type: goes into the descriptor.
            digest: of the file, if known; it is trusted.
            move: the file is not needed any more.
        """
        with _written(self.path):
            known = digest_file(source) if digest is None else check_digest(digest)
            target = self.blob_path(known)
            size = source.stat().st_size
            if not self.has_blob(known, size):
                target.parent.mkdir(parents=True, exist_ok=True)
                _place(source, target, move=move)
            elif move:
                source.unlink()
        return Descriptor(media_type=media_type, digest=known, size=size)

    def blobs_of(self, top: Descriptor) -> list[Descriptor]:
        """Everything ``top`` consists of, parts before wholes, ``top`` last, each once.

        Raises:
            LayoutError: a manifest is missing or damaged.
            InvalidManifestError: one is no manifest, or refers to itself in a circle.
        """
        found: dict[str, Descriptor] = {}
        self._collect(top, found, depth=0)
        return list(found.values())

    def _collect(self, item: Descriptor, found: dict[str, Descriptor], depth: int) -> None:
        if item.digest in found:
            return
        if depth > 8:
            raise InvalidManifestError(f"{item.digest} is nested too deeply")
        document = self.read_manifest(item)
        if isinstance(document, Index):
            for member in document.manifests:
                self._collect(member, found, depth + 1)
        else:
            for part in (*document.layers, document.config):
                found.setdefault(part.digest, part)
        found[item.digest] = item


def _read(path: Path, limit: int, problem: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise LayoutError(f"{problem} ({error.strerror})") from error
    if len(data) > limit:
        raise LayoutError(f"{path} has more than {limit} bytes")
    return data


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _staged(path) as part:
        part.write_bytes(data)


def _place(source: Path, target: Path, *, move: bool) -> None:
    with _staged(target) as part:
        try:
            if move:
                source.rename(part)
            else:
                os.link(source, part)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, part)
            if move:
                source.unlink()


@contextlib.contextmanager
def _staged(path: Path) -> Iterator[Path]:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayoutError(
            f"cannot write {path}: {error.strerror or error}",
            hint=write_advice(error),
        ) from error


__all__ = ["MARKER", "REF_NAME", "Layout"]
