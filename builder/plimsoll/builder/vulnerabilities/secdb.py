"""Security databases of APK distributions (``security.json``): per origin, what was fixed when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.apk.version import try_version
from plimsoll.builder.vulnerabilities.model import (
    Vulnerability,
    VulnerabilityDataError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.builder.vulnerabilities.model import Component

#: The version that means: never affected.
NEVER = "0"


class SecurityDatabase:
    """One database.

    Args:
        document: its JSON.
        source: URL or path, for messages and reports.

    Raises:
        VulnerabilityDataError: it is none.
    """

    def __init__(self, document: Any, source: str) -> None:
        self.source = source
        self._fixes: dict[str, dict[str, list[str]]] = {}
        for item in _list(document, "packages", source):
            package = item.get("pkg") if isinstance(item, dict) else None
            if not isinstance(package, dict) or not isinstance(package.get("name"), str):
                raise _bad(source, "an entry without pkg.name")
            fixes = package.get("secfixes")
            if fixes is None:
                continue
            if not isinstance(fixes, dict):
                raise _bad(source, f"secfixes of {package['name']!r} that are no object")
            mine = self._fixes.setdefault(package["name"], {})
            for version, names in fixes.items():
                mine.setdefault(version, []).extend(_names(names, source, package["name"]))

    def __len__(self) -> int:
        return len(self._fixes)

    def look_up(self, component: Component) -> Iterator[Vulnerability]:
        """The vulnerabilities that a later version of its origin fixed.

        Raises:
            VulnerabilityDataError: a version cannot be compared.
        """
        fixes: Mapping[str, list[str]] = self._fixes.get(component.source, {})
        never = set(fixes.get(NEVER, ()))
        own = try_version(component.version)
        first: dict[str, str] = {}
        done: set[str] = set()
        for text, names in fixes.items():
            if text == NEVER:
                continue
            fixed = try_version(text)
            if fixed is None or own is None:
                raise _bad(self.source, f"the version {text!r} of {component.source}")
            if own >= fixed:
                done.update(names)
                continue
            for name in names:
                known = try_version(first.get(name, ""))
                if known is None or fixed < known:
                    first[name] = text
        for name, text in first.items():
            # Fixed twice (in two branches): what is installed has one of the fixes.
            if name not in never and name not in done:
                yield Vulnerability(
                    component, name, frozenset([name]), fixed=text, database=self.source
                )

    def cleared(self, component: Component) -> frozenset[str]:
        """Vulnerabilities that the distribution says this version does not have."""
        own = try_version(component.version)
        found: set[str] = set()
        for text, names in self._fixes.get(component.source, {}).items():
            fixed = try_version(text)
            if text == NEVER or (own is not None and fixed is not None and own >= fixed):
                found.update(names)
        return frozenset(found)


def is_secdb(document: Any) -> bool:
    """Whether a document looks like a security database."""
    return isinstance(document, dict) and "packages" in document and "spdxVersion" not in document


def _names(value: Any, source: str, package: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _bad(source, f"secfixes of {package!r} that are no list of names")
    # Alpine writes several names of one vulnerability in one string.
    return [name for item in value for name in item.split()]


def _list(document: Any, key: str, source: str) -> list[Any]:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, list):
        raise _bad(source, f"no list of {key}")
    return value


def _bad(source: str, what: str) -> VulnerabilityDataError:
    return VulnerabilityDataError(
        f"{source} is no security database: it has {what}",
        hint="give a security.json as distributions of APK packages publish it",
    )
