"""Debian's package lists, and what a package needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from debian_apk.names import UNUSED
from debian_apk.versions import debian_key

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE = re.compile(rb"^Package: (.+)$", re.MULTILINE)
_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)?\s*(?:\(([^)]*)\))?")

#: Needed by maintainer scripts and by services only; no program links to them.
IGNORED = frozenset(
    {
        "adduser",
        "awk",
        "debconf",
        "debconf-2.0",
        "debianutils",
        "dpkg",
        "init-system-helpers",
        "install-info",
        "libdebconfclient0",
        "lsb-base",
        "mawk",
        "perl-base",
        "sensible-utils",
        "sysvinit-utils",
        "ucf",
    }
)


class UnknownPackageError(Exception):
    """A name that no configured source has."""


@dataclass(frozen=True)
class DebianPackage:
    """One stanza of a ``Packages`` file."""

    fields: dict[str, str]

    @property
    def name(self) -> str:
        """Package name."""
        return self.fields["Package"]

    @property
    def version(self) -> str:
        """Version as Debian writes it."""
        return self.fields["Version"]

    @property
    def file_name(self) -> str:
        """As ``apt-get download`` names it."""
        version = self.version.replace(":", "%3a")
        return f"{self.name}_{version}_{self.fields['Architecture']}.deb"

    def needs(self) -> list[list[str]]:
        """What it depends on: lists of alternative names. What no build here uses is left out."""
        unused = UNUSED.get(self.name, frozenset())
        groups = self.relation("Pre-Depends", "Depends")
        names = [[name for name, _ in group] for group in groups]
        return [group for group in names if group[0] not in unused]

    def relation(self, *names: str) -> list[list[tuple[str, str]]]:
        """A relation field: a list of alternatives, each (name, version condition)."""
        groups = []
        for field in names:
            for group in self.fields.get(field, "").split(","):
                matches = [_NAME.match(item) for item in group.split("|")]
                found = [(m[1], m[2] or "") for m in matches if m]
                if found:
                    groups.append(found)
        return groups


class PackageList:
    """All packages of one architecture; stanzas stay text until they are asked for."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._text = b"\n\n".join(texts)
        self._at: dict[str, list[int]] = {}
        for match in _PACKAGE.finditer(self._text):
            self._at.setdefault(match[1].decode(), []).append(match.start())

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def get(self, name: str) -> DebianPackage:
        """The newest version of a package.

        Raises:
            UnknownPackageError: there is none.
        """
        if name not in self._at:
            raise UnknownPackageError(name)
        found = [self._stanza(at) for at in self._at[name]]
        return max(found, key=lambda p: debian_key(p.version))

    def providers(self, name: str) -> list[str]:
        """Packages that provide a virtual name, sorted."""
        pattern = re.compile(
            rb"^Provides:[^\n]*[ ,]" + re.escape(name.encode()) + rb"(?=[ ,\n:(])", re.MULTILINE
        )
        found = set()
        for match in pattern.finditer(self._text):
            start = self._text.rfind(b"\n\n", 0, match.start()) + 2
            package = _PACKAGE.search(self._text, max(start, 0))
            if package:
                found.add(package[1].decode())
        return sorted(found)

    def closure(self, names: Iterable[str]) -> dict[str, DebianPackage]:
        """The packages with all they depend on, by name.

        Of alternatives the first that exists is taken; of providers of a virtual name one that is
        wanted already, else the first by name.

        Raises:
            UnknownPackageError: a wanted name, or a dependency, is nowhere.
        """
        found: dict[str, DebianPackage] = {}
        queue = list(names)
        wanted = set(queue)
        while queue:
            name = queue.pop(0)
            if name in found:
                continue
            package = found[name] = self.get(name)
            for group in package.needs():
                choice = self.choose(group, wanted | found.keys())
                if choice and choice not in found:
                    queue.append(choice)
        return dict(sorted(found.items()))

    def choose(self, alternatives: list[str], wanted: Iterable[str]) -> str | None:
        """Which package meets one dependency; ``None`` if it is left out on purpose."""
        wanted = set(wanted)
        for name in alternatives:
            if name in wanted:
                return name
        if alternatives[0] in IGNORED:
            return None
        for name in alternatives:
            if name in self._at and name not in IGNORED:
                return name
        for name in alternatives:
            providers = self.providers(name)
            if providers:
                return next((p for p in providers if p in wanted), providers[0])
        raise UnknownPackageError(" | ".join(alternatives))

    def _stanza(self, at: int) -> DebianPackage:
        end = self._text.find(b"\n\n", at)
        text = self._text[at : end if end >= 0 else len(self._text)].decode()
        fields: dict[str, str] = {}
        key = ""
        for line in text.split("\n"):
            if line[:1] in {" ", "\t"}:
                fields[key] += "\n" + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        return DebianPackage(fields)
