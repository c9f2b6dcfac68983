"""One layer of an image, as a concatenation of compressed segments."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.builder.store import CorruptEntryError
from plimsoll.builder.stored import write_all
from plimsoll.oci.descriptor import OCI_LAYER_GZIP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plimsoll.builder.stored import Stored


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Attributes:
        diff_id: SHA-256 (hex) of the tar.
        digest: SHA-256 (hex) of the compressed stream.
        size: bytes of the compressed stream.
        members: what the stream is a concatenation of.
        media_type: says how it is compressed.
        fresh: this process hashed the stream just now.
        file: the stream, until it is moved to where it belongs.
    """

    diff_id: str
    digest: str
    size: int
    members: tuple[Stored, ...]
    media_type: str = OCI_LAYER_GZIP
    fresh: bool = field(default=False, compare=False)
    file: Path | None = field(default=None, compare=False)

    def chunks(self) -> Iterator[bytes]:
        """The compressed stream, compared with its digest at its end.

        Raises:
            CorruptEntryError: the cache does not hold what it held.
        """
        digest = hashlib.sha256()
        for member in self.members:
            for chunk in member.chunks():
                if not self.fresh:
                    digest.update(chunk)
                yield chunk
        if self.fresh:
            return
        if digest.hexdigest() != self.digest:
            raise CorruptEntryError(f"layer sha256:{self.digest}")

    def write_to(self, path: Path) -> None:
        """Write the compressed stream to a file, or make it that file.

        Raises:
            CorruptEntryError: the cache does not hold what it held.
        """
        if self.file is not None:
            try:
                self.file.replace(path)
            except OSError as error:
                # On another file system, and the second time, it is put together again.
                if error.errno not in {errno.EXDEV, errno.ENOENT}:
                    raise
            else:
                return
        with path.open("wb", buffering=0) as file:
            if self.fresh:
                for member in self.members:
                    member.copy_to(file)
                return
            for chunk in self.chunks():
                write_all(file, chunk)
