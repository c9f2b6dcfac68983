"""Files that a person asked for: whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content takes the place of a file when the block ends without an error.

    Links are followed. What is there and is no regular file (a device, a pipe) is written to and
    stays what it is. Blocks.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    place = Path(os.path.realpath(path))
    part = place.with_name(f".plimsoll-{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(place)
    except OSError as error:
        if error.filename == str(part):
            # Nobody knows the temporary name; callers say what they were writing.
            error.filename = error.filename2 = None
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write(path: Path, data: bytes) -> None:
    """Write a whole file. Blocks.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    with replacing(path) as file:
        file.write(data)
