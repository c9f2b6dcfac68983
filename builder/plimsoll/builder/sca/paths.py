"""Where things lie in a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.builder.sca.tree import Tree

#: Where the loader looks for libraries.
LIBRARIES = ("lib", "usr/lib", "lib64", "usr/lib64")
#: Where shells look for commands.
COMMANDS = ("bin", "sbin", "usr/bin", "usr/sbin")
#: Where ``#!`` lines count.
SCRIPTS = tuple(f"{d}/..." for d in (*COMMANDS, "usr/local/bin", "usr/local/sbin"))
#: Where pkg-config looks.
PKGCONFIG = (
    "usr/lib/pkgconfig", "usr/lib64/pkgconfig", "usr/share/pkgconfig",
    "usr/local/lib/pkgconfig", "usr/local/share/pkgconfig",
)  # fmt: skip

_LOADER_DIRECTORY = "etc/ld.so.conf.d"
_MAX_CONFIGURATION = 64 << 10


def is_in(path: str, directories: Iterable[str]) -> bool:
    """Whether a path lies directly in one of the directories; below it for ``directory/...``."""
    parent = path.rpartition("/")[0] or ("/" if path.startswith("/") else "")
    for directory in directories:
        if directory.endswith("/..."):
            above = directory[:-4]
            if parent == above or parent.startswith(f"{above}/"):
                return True
        elif directory in {parent, f"{parent}/"}:
            return True
    return False


def loader_directories(trees: Iterable[Tree]) -> tuple[str, ...]:
    """Directories that the trees' ``/etc/ld.so.conf.d/*.conf`` add for libraries, relative."""
    found: dict[str, None] = {}
    for tree in trees:
        for entry in tree:
            if (
                entry.type is not Type.FILE
                or not entry.path.startswith(f"{_LOADER_DIRECTORY}/")
                or not entry.name.endswith(".conf")
            ):
                continue
            with entry.open() as source:
                text = source.read_at(0, _MAX_CONFIGURATION).decode(errors="replace")
            for line in text.splitlines():
                path = line.partition("#")[0].strip()
                if path.startswith("/") and path.strip("/"):
                    found[path.strip("/")] = None
    return tuple(found)
