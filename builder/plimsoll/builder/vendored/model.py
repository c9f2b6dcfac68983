"""One thing that a package was made of."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

_PYPI = re.compile(r"[-_.]+")
#: Longer names and versions are not those of anything that exists.
_MAX_LENGTH = 500


class Component(NamedTuple):
    """A library or module of another project in a package.

    Attributes:
        purl: package URL (github.com/package-url/purl-spec), without qualifiers.
        version: ``""`` if it is not known.
        path: the file of the package that it was found in; ``!/`` leads into archives.
    """

    purl: str
    name: str
    version: str
    path: str


def component(kind: str, name: str, version: str, path: str) -> Component | None:
    """A component by type and name; ``None`` if its name or version can be no such thing.

    Args:
        kind: purl type: ``golang``, ``cargo``, ``pypi``, ``npm``, ``gem``,
            ``composer``, ``maven``, ``generic``.
        name: as its ecosystem writes it: ``github.com/a/b``, ``@scope/name``, ``group:artifact``.
        version: ``""`` if it is not known.
        path: where it was found.
    """
    sound = 0 < len(name) <= _MAX_LENGTH and len(version) <= _MAX_LENGTH
    if not sound or not (name + version).isprintable() or " " in version:
        return None
    parts = name.split(":", 1) if kind == "maven" else name.split("/")
    if not all(parts):
        return None
    if kind == "pypi":
        parts = [_PYPI.sub("-", name).lower()]
    purl = f"pkg:{kind}/" + "/".join(quote(part, safe="") for part in parts)
    if version:
        purl += f"@{quote(version, safe='')}"
    return Component(purl, name, version, path)
