"""SPDX licence expressions out of Debian's machine-readable copyright files (DEP-5)."""

from __future__ import annotations

import re

_KNOWN = {
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsl-1.0": "BSL-1.0",
    "cc0-1.0": "CC0-1.0",
    "curl": "curl",
    "expat": "MIT",
    "isc": "ISC",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "openssl": "OpenSSL",
    "psf-2": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}
_GNU = re.compile(r"(l?gpl|agpl|gfdl)-([0-9](?:\.[0-9])?)(\+?)")


def declared_license(copyright_text: str) -> tuple[str, dict[str, str]]:
    """The expression, and the names of licences that SPDX does not list (reference → name).

    ``NOASSERTION`` where the file is not machine readable.
    """
    if not re.match(r"Format(-Specification)?:", copyright_text.lstrip()):
        return "NOASSERTION", {}
    found: set[str] = set()
    extracted: dict[str, str] = {}
    for line in re.findall(r"^Licen[sc]e:[ \t]*(\S[^\n]*)$", copyright_text, re.MULTILINE):
        for name in re.split(r"\s+(?:and/or|and|or)\s+|\s*,\s*|\s*\|\s*", line.strip()):
            identifier = _identifier(name.strip(" ."))
            if identifier.startswith("LicenseRef-"):
                extracted[identifier] = name.strip()
            if identifier:
                found.add(identifier)
    return " AND ".join(sorted(found)) or "NOASSERTION", extracted


def _identifier(name: str) -> str:
    base = re.split(r"\s+with\s+", name, flags=re.IGNORECASE)[0].strip().lower()
    if base in _KNOWN:
        return _KNOWN[base]
    if match := _GNU.fullmatch(base):
        version = match[2] if "." in match[2] else f"{match[2]}.0"
        return f"{match[1].upper()}-{version}-{'or-later' if match[3] else 'only'}"
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", base).strip("-.")
    return f"LicenseRef-debian-{slug}" if slug else ""
