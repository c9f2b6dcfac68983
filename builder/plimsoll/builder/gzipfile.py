"""Gzip streams as files, by isal."""

from __future__ import annotations

from typing import IO, Any, cast

from isal import igzip


def gzip_reader(file: Any) -> IO[bytes]:
    """What a gzip stream of one or more members holds."""
    return cast("IO[bytes]", igzip.IGzipFile(fileobj=file, mode="rb"))  # type: ignore[no-untyped-call]


def gzip_writer(file: Any) -> IO[bytes]:
    """Write a gzip stream without name or time."""
    packed = igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0)  # type: ignore[no-untyped-call]
    return cast("IO[bytes]", packed)
