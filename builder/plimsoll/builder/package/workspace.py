"""The directory that a build works in, and what is copied into it before."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.builder.package.runner import StepError
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IGNORE_FILE = ".melangeignore"


def copy_sources(source: Path, workspace: Path) -> None:
    """Copy a directory of sources into the workspace.

    Files that ``.melangeignore`` names stay out: one pattern a line, ``#`` begins a comment; a
    pattern with a slash is about the path, one without about the name at any depth.

    Raises:
        StorageError: it cannot be copied.
    """
    ignored = _ignore(source)
    with storage_errors(f"copying {source} into the workspace"):
        shutil.copytree(source, workspace, symlinks=True, dirs_exist_ok=True, ignore=ignored)


def identity(source: Path) -> str:
    """A hash of what ``copy_sources`` copies: paths, modes, contents.

    Raises:
        StorageError: it cannot be read.
    """
    digest = hashlib.sha256()
    ignored = _ignore(source)
    with storage_errors(f"reading {source}"):
        for folder, folders, files in os.walk(source):
            left_out = ignored(folder, [*folders, *files])
            folders[:] = sorted(name for name in folders if name not in left_out)
            for name in sorted([*folders, *(n for n in files if n not in left_out)]):
                path = Path(folder, name)
                digest.update(f"{path.relative_to(source)}\0{path.lstat().st_mode}\0".encode())
                if path.is_symlink():
                    digest.update(os.fsencode(path.readlink()))
                elif path.is_file():
                    with path.open("rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def outputs(workspace: Path, names: Iterable[str]) -> dict[str, Path]:
    """The directory that each package's files go to; made where it is not there.

    Steps may do what they like in the workspace, so these may be links that lead elsewhere on this
    machine by now.

    Raises:
        StepError: one is no directory.
        StorageError: one cannot be made.
    """
    top = workspace / "melange-out"
    result = {name: top / name for name in names}
    for path in (top, *result.values()):
        with storage_errors(f"making {path}"):
            if not path.is_symlink() and not path.exists():
                path.mkdir()
            if path.is_symlink() or not path.is_dir():
                raise StepError(
                    f"a step put something else in the place of the directory {path}",
                    hint="steps write below ${{targets.destdir}}, they do not replace it",
                )
    return result


def _ignore(root: Path) -> Callable[[str, list[str]], set[str]]:
    file = root / IGNORE_FILE
    lines = file.read_text().splitlines() if file.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def ignored(folder: str, names: list[str]) -> set[str]:
        below = os.path.relpath(folder, root)
        found = {IGNORE_FILE} if below == "." else set()
        for name in names:
            path = os.path.normpath(f"{below}/{name}")
            for pattern in patterns:
                plain = pattern.strip("/")
                whole = "/" in pattern.rstrip("/")
                if fnmatch.fnmatchcase(path if whole else name, plain):
                    found.add(name)
        return found

    return ignored
