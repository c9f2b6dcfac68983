"""Files that a person asked for: whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content takes the place of a file when the block ends without an error.

    Links are followed, except those that somebody else left in a folder of everybody. What is
    there and is no regular file (a device, a pipe) is written to and stays what it is. Blocks.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    _check_link(path)
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


def _check_link(path: Path) -> None:
    """Refuse what Linux refuses to open where ``fs.protected_symlinks`` is set, as it mostly is."""
    if not path.is_symlink():
        return
    folder, link = path.parent.stat(), path.lstat()
    shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if shared and link.st_uid not in {os.geteuid(), folder.st_uid}:
        raise PermissionError(errno.EACCES, "it is a link that somebody else left there", str(path))


def write(path: Path, data: bytes) -> None:
    """Write a whole file. Blocks.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    with replacing(path) as file:
        file.write(data)
