"""Shared libraries: what executables need, and what a package offers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.paths import LIBRARIES, is_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.builder.sca.elf import Elf
    from plimsoll.builder.sca.model import Facts, Findings
    from plimsoll.builder.sca.tree import Entry, Tree

_SHARED = re.compile(r"\.so(\.|$)")
_VERSION = re.compile(r"[0-9.]+", re.ASCII)
#: The driver of the host brings them into a container: a package neither needs nor offers them.
_OF_HOST = re.compile(
    r"lib(EGL_nvidia|GLESv1_CM_nvidia|GLESv2_nvidia|GLX_nvidia|cuda|cudadebugger|nvcuvid|nvoptix|"
    r"nvidia-(allocator|cfg|eglcore|encode|fbc|glcore|glsi|glvkspirv|gpucomp|ml|ngx|nvvm|opencl|"
    r"opticalflow|pkcs11|pkcs11-openssl3|ptxjitcompiler|rtcore|tls))\.so\.1"
)
#: Every program needs the loader: binding to its version would rebuild the world with each libc.
_LOADER = re.compile(r"ld-(linux|musl)[-.]|libc\.musl-")


class LibraryScan:
    """Scans ELF files of one package.

    Args:
        tree: the package.
        facts: what is known of it.
        relatives: all packages of the build.
        directories: where the loader looks, beside the usual ones.
    """

    def __init__(
        self, tree: Tree, facts: Facts, relatives: Sequence[Tree], directories: Iterable[str]
    ) -> None:
        self._tree = tree
        self._facts = facts
        self._relatives = relatives
        self._directories = (*LIBRARIES, *directories)

    def file(self, entry: Entry, elf: Elf, out: Findings) -> None:
        """Scan one file."""
        if elf.interpreter:
            name = elf.interpreter.rpartition("/")[2]
            # musl's loader is a link to its libc, whose name is the one that is offered.
            if name.startswith("ld-musl"):
                name = f"libc.musl{name.removeprefix('ld-musl')}"
            out.need("so:", name, entry.path)
        for soname in elf.needed:
            if ".so." in soname and not _OF_HOST.fullmatch(soname):
                self._need(soname, entry.path, out)
        self._provide(entry, elf, out)

    def link(self, entry: Entry, out: Findings) -> None:
        """Scan one symbolic link: it needs the library it leads to, wherever that is packaged."""
        if not _SHARED.search(entry.name):
            return
        wanted = entry.linkname.rpartition("/")[2]
        for tree in self._relatives:
            for directory in self._directories:
                target = tree.get(f"{directory}/{wanted}")
                if target is None:
                    continue
                target = tree.resolve(target.path)
                if target is not None and target.elf and target.elf.soname:
                    self._need(target.elf.soname, entry.path, out)
                    break
            else:
                continue
            break
        target = self._tree.resolve(entry.path)
        if target is not None and target.type is Type.FILE and target.elf:
            # A private library that is linked into a library directory is not private.
            self._provide(entry, target.elf, out)

    def _need(self, soname: str, path: str, out: Findings) -> None:
        out.need("so:", soname, path)
        version = self._facts.library_versions.get(soname)
        if (
            version
            and not self._facts.options.no_versioned_shlib_deps
            and not _LOADER.match(soname)
        ):
            out.need("so-ver:", soname, path, f">={version}")

    def _provide(self, entry: Entry, elf: Elf, out: Findings) -> None:
        # Some libraries are programs too (libc, libcap), and some programs have a soname by
        # mistake: the file's name decides.
        if not elf.soname or (elf.interpreter and not _SHARED.search(entry.name)):
            return
        if _OF_HOST.fullmatch(elf.soname):
            return
        vendored = not is_in(entry.path, self._directories)
        version = library_version(elf.soname)
        out.provide("so:", elf.soname, version, entry.path, vendored=vendored)
        out.provide("so-ver:", elf.soname, self._facts.version, entry.path, vendored=vendored)


def library_version(soname: str) -> str:
    """The number behind ``.so.``, ``0`` if there is none: ``1.2`` of ``libfoo.so.1.2``."""
    version = soname.partition(".so.")[2]
    return version if _VERSION.fullmatch(version) else "0"


def library_versions(packages: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """Sonames that packages offer with their version, for ``Facts.library_versions``.

    Args:
        packages: version and ``provides`` of each package a build saw.
    """
    found: dict[str, str] = {}
    for version, provides in packages:
        for item in provides:
            if item.startswith("so-ver:") and "=" in item:
                found[item.removeprefix("so-ver:").partition("=")[0]] = version
    return found
