"""Linters that look at paths, types and modes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.arch import Arch
    from plimsoll.builder.linters.model import LintFacts
    from plimsoll.builder.sca.tree import Entry, Tree

    Check = Callable[[Tree, LintFacts], Iterator[tuple[str, str]]]

_COMPRESSED = r"(?:\.(?:gz|bz2|xz|lzma|zst|Z))?"
_MAN = re.compile(
    rf"usr/(?:(?:local/)?share/)?man(?:/[^/]+)*/[^/]+\.[0-9][^/.]*{_COMPRESSED}", re.ASCII
)
_INFO = re.compile(
    rf"usr/(?:local/)?share/info/(?:dir|[^/]+\.info(?:-[0-9]+)?){_COMPRESSED}", re.ASCII
)
_DOCUMENT = re.compile(r".*(?:READ(?:\.?ME)?|TODO|CREDITS|\.(?:md|docx?|rst|[0-9][a-z]))", re.ASCII)
_CUDA = re.compile(r"usr/lib(?:64)?/lib(?:cuda|nvidia-ml)\.so(?:\.[0-9]+)*", re.ASCII)
_SHARED = re.compile(r".*\.so(?:\.[0-9]+)*", re.ASCII)
_DYLIB = re.compile(r".*\.dylib(?:\..*)?")
_PKGCONFIG = re.compile(r"usr/(?:lib|lib64|share)/pkgconfig/.+")
_TEMPORARY = re.compile(r"(?:var/)?tmp/.+")
_RUN = re.compile(r"(?:var/)?run/.+")
_PLATFORM = re.compile(
    r"(?<![a-z])(?:(?P<macos>darwin|mac[_-]?os|os[_-]?x)|(?P<windows>windows|win32|win64))"
)
_ARCHITECTURE = re.compile(
    r"(?:^|(?<=[/._-]))(i386|i686|x86[_-]32|ppc64le|ppc64|powerpc|s390x|s390|mipsel|mips64|mips|"
    r"riscv64|riscv|sparc64|sparc|ia64|m68k)(?=$|[/._-])"
)
_SUPPORTED = re.compile(r"aarch64|arm64|amd64|x86[_-]64")
#: Directories that are links in a system with a merged /usr.
_MERGED = ("bin", "sbin", "lib", "lib64", "usr/sbin")


def files(message: str, wanted: Callable[[str], object], *, exempt: tuple[str, ...] = ()) -> Check:
    """A check of all that is no directory.

    Args:
        message: said of each path that is found.
        wanted: whether a path is meant.
        exempt: endings of names of packages that may have such files.
    """

    def check(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
        if exempt and facts.is_a(*exempt):
            return
        for entry in tree:
            if entry.type is not Type.DIRECTORY and wanted(entry.path):
                yield entry.path, message

    return check


def below(directory: str, *, exempt: tuple[str, ...] = ()) -> Check:
    """A check that nothing lies below a directory."""
    return files(
        f"lies in /{directory}", lambda path: path.startswith(f"{directory}/"), exempt=exempt
    )


def ending(suffix: str, what: str, *, exempt: tuple[str, ...] = ()) -> Check:
    """A check that no file has an extension."""
    return files(f"is {what}", lambda path: path.lower().endswith(suffix), exempt=exempt)


documentation = files(
    "is documentation in a package that is not a -doc package", _DOCUMENT.fullmatch,
    exempt=("-doc",),
)  # fmt: skip
maninfo = files(
    "is a manual page or info file in a package that is not a -doc package",
    lambda path: _MAN.fullmatch(path) or _INFO.fullmatch(path),
    exempt=("-doc",),
)
infodir = files(
    "is the directory of all info files, which every package would overwrite",
    lambda path: path in {"usr/share/info/dir", "usr/local/share/info/dir"},
)
dylib = files("is a macOS library", _DYLIB.fullmatch)
cuda = files("is a library of the CUDA driver", _CUDA.fullmatch)


def tempdir(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Files in temporary directories, and anything below /run, which is empty after a start."""
    del facts
    for entry in tree:
        if _RUN.fullmatch(entry.path) or (
            entry.type is not Type.DIRECTORY and _TEMPORARY.fullmatch(entry.path)
        ):
            yield entry.path, "lies in a temporary directory"


def setuidgid(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Set-user-id, set-group-id and sticky bits."""
    del facts
    names = {0o4000: "setuid", 0o2000: "setgid", 0o1000: "sticky"}
    for entry in tree:
        bits = [name for bit, name in names.items() if entry.mode & bit]
        if bits and entry.type is not Type.SYMLINK:
            yield entry.path, f"has the bit {' and '.join(bits)} (mode {entry.mode:04o})"


def worldwrite(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Files that everybody may write."""
    if facts.is_a("-compat"):
        return
    for entry in tree:
        if entry.type is Type.FILE and entry.mode & 0o002:
            kind = "executable " if entry.mode & 0o111 else ""
            yield entry.path, f"is {kind}writable by everybody (mode {entry.mode:04o})"


def usrmerge(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Anything in directories that are links where /usr is merged; such a link itself is fine."""
    del facts
    for entry in tree:
        place = _merged(entry)
        if place:
            yield entry.path, f"lies in /{place}, which is a link where /usr is merged"


def _merged(entry: Entry) -> str:
    for directory in _MERGED:
        if entry.path.startswith(f"{directory}/"):
            return directory
        if entry.path == directory and entry.type in {Type.DIRECTORY, Type.FILE}:
            return directory
    return ""


def nonlinux(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Paths that name another operating system."""
    del facts
    for entry in tree:
        if entry.type is Type.DIRECTORY:
            continue
        if match := _PLATFORM.search(entry.path.lower()):
            system = "macOS" if match["macos"] else "Windows"
            yield entry.path, f"names {system} ({match[0]})"


def unsupportedarch(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Paths that name an architecture that the package is not for."""
    own = _names(facts.arch)
    for entry in tree:
        if entry.type is Type.DIRECTORY:
            continue
        path = entry.path.lower()
        match = _ARCHITECTURE.search(path)
        if match is None or match[0] in own:
            continue
        in_name = match.start() > path.rfind("/")
        if not (in_name and _SUPPORTED.search(path)):
            yield entry.path, f"names the architecture {match[0]}"


def _names(arch: Arch | None) -> frozenset[str]:
    if arch is None:
        return frozenset()
    names = {arch.architecture, arch.apk}
    names |= {"i386", "i686"} if arch.apk == "x86" else set()
    return frozenset(names | {"riscv"} if arch.apk == "riscv64" else names)


def sbom(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Documents among the SBOMs other than the package's own."""
    own = f"var/lib/db/sbom/{facts.name}-{facts.version}.spdx.json"
    for entry in tree:
        listed = entry.path.startswith("var/lib/db/sbom/") and entry.type is not Type.DIRECTORY
        if listed and entry.path != own:
            yield entry.path, "lies among the SBOMs, and is not this package's own"


def pkgconf(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """pkg-config files that no test looks at."""
    yield from _untested(
        tree, facts, frozenset(("test/pkgconf", "test/tw/pkgconf")), _PKGCONFIG, "pkg-config file"
    )


def lddcheck(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """Shared libraries that no test loads."""
    yield from _untested(
        tree, facts, frozenset(("test/ldd-check", "test/tw/ldd-check")), _SHARED, "shared library"
    )


def _untested(
    tree: Tree, facts: LintFacts, tests: frozenset[str], wanted: re.Pattern[str], what: str
) -> Iterator[tuple[str, str]]:
    if facts.test_uses is not None and tests & facts.test_uses:
        return
    if facts.test_uses is None:
        lack = "the package's configuration is not known"
    else:
        lack = f"the package's test does not use {min(tests)}"
    for entry in tree:
        if entry.type is not Type.DIRECTORY and wanted.fullmatch(entry.path):
            yield entry.path, f"is a {what}, and {lack}"


def empty(tree: Tree, facts: LintFacts) -> Iterator[tuple[str, str]]:
    """A package without files that does not say that it offers nothing."""
    if not len(tree) and not facts.no_provides:
        yield "", "the package has no files, and no-provides is not set"
