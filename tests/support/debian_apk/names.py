"""What Debian's packages are called elsewhere, and packages that only bring others."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from plimsoll.apk.tarfmt import Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.apk.writer import PackageFile

#: Packages without files → what they bring.
BUNDLES: dict[str, tuple[str, ...]] = {
    "build-base": (
        "bash",
        "binutils",
        "coreutils",
        "diffutils",
        "findutils",
        "gcc",
        "grep",
        "gzip",
        "libc6-dev",
        "make",
        "mawk",
        "patch",
        "sed",
        "tar",
        "xz-utils",
    ),
}

#: Debian's name → names under which pipelines and configurations ask for it.
_OTHERS = {
    "ca-certificates": ("ca-certificates-bundle",),
    "golang-go": ("go",),
    "libc6-dev": ("glibc-dev",),
    "ninja-build": ("ninja",),
    "python3-build": ("py3-build",),
    "python3-installer": ("py3-installer",),
    "python3-setuptools": ("py3-setuptools",),
    "python3-wheel": ("py3-wheel",),
    "python3.11-minimal": ("python-3.11-base",),
    "ruby": ("ruby-3.1",),
}

#: Dependencies that no build here uses, and that would be most of the download.
UNUSED: dict[str, frozenset[str]] = {
    "git": frozenset({"git-man", "liberror-perl", "perl"}),
    "libc6-dev": frozenset({"libnsl-dev", "rpcsvc-proto"}),
    "libgcc-12-dev": frozenset({"libasan8", "liblsan0", "libtsan2", "libubsan1"}),
}

#: Files of compilers that no build here uses: link-time optimisation, sanitizers, Go's own parts.
UNUSED_FILES = re.compile(
    r"usr/lib/gcc/[^/]+/[^/]+/(?:lto1|lib[alt]san.*|libubsan.*)"
    r"|usr/lib/go-[^/]+/pkg/(?:linux_[a-z0-9]+/cmd/.*|tool/[^/]+/(?:api|doc|pprof|trace|vet))"
    r"|usr/share/go-[^/]+/(?:api|test|src/cmd)/.*"
)

_LIBRARY = re.compile(
    r"(?:usr/)?lib(?:64)?/(?:[a-z0-9_]+-linux-gnu[a-z0-9]*/)?[^/]+\.so(?:\.[^/]*)?"
)
_VERSION = re.compile(r"[0-9.]+", re.ASCII)


def other_names(name: str, version: str) -> Iterator[str]:
    """``provides`` for further names of a package."""
    for other in _OTHERS.get(name, ()):
        yield f"{other}={version}"


def libraries(files: Mapping[str, PackageFile]) -> Iterator[str]:
    """``provides`` for the shared libraries that programs find without being told where."""
    for path, file in files.items():
        if file.type is not Type.FILE or not _LIBRARY.fullmatch(path):
            continue
        if isinstance(file.content, bytes) and (soname := _soname(file.content)):
            number = soname.partition(".so.")[2]
            yield f"so:{soname}={number if _VERSION.fullmatch(number) else '0'}"


def _soname(content: bytes) -> str:
    if not content.startswith(b"\x7fELF"):
        return ""
    try:
        for segment in ELFFile(io.BytesIO(content)).iter_sections():
            if isinstance(segment, DynamicSection):
                tags = segment.iter_tags("DT_SONAME")
                return next((str(getattr(tag, "soname", "")) for tag in tags), "")
    except ELFError:
        return ""
    return ""
