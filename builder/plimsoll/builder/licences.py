"""Licences of packages as expressions that SPDX documents may hold."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Any

NO_ASSERTION = "NOASSERTION"
_UNKNOWN = {NO_ASSERTION, "NONE"}
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
#: Reading all that SPDX lists takes long; most packages have one of these.
_COMMON = {
    "AFL-2.1", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-1.0-Perl",
    "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "GPL-1.0-or-later", "GPL-2.0-only",
    "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-2.0-only",
    "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only",
    "LGPL-3.0-or-later", "MIT", "MPL-1.1", "MPL-2.0", "OpenSSL", "PSF-2.0", "Unlicense", "X11",
    "Zlib", "bzip2-1.0.6", "curl",
}  # fmt: skip
_LONGEST = 2000


class Licences:
    """Makes expressions valid and remembers what had to be named anew.

    SPDX (annex D) knows a list of licences and ``LicenseRef-…`` for all others, which the document
    must then explain.
    """

    def __init__(self) -> None:
        self.extracted: dict[str, dict[str, Any]] = {}
        #: References in expressions of packages' documents, which ought to explain them.
        self.mentioned: set[str] = set()

    @cached_property
    def _licensing(self) -> Any:
        from license_expression import (  # type: ignore[import-untyped]  # noqa: PLC0415
            get_spdx_licensing,
        )

        return get_spdx_licensing()

    def expression(self, text: str) -> str:
        """A valid expression for what a package declares."""
        text = re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", text).strip()
        if not text or text in _UNKNOWN:
            return text or NO_ASSERTION
        if _is_common(text):
            return text
        parsed = self._parsed(text)
        if parsed is None:
            return self._reference(text)
        unknown = self._licensing.unknown_license_keys(parsed)
        if any(not re.fullmatch(r"[A-Za-z0-9.+-]+", key) for key in unknown):
            return self._reference(text)
        if not unknown:
            return str(parsed)
        replaced = parsed.subs(
            {
                symbol: self._licensing.parse(self._reference(symbol.key))
                for symbol in parsed.symbols
                if getattr(symbol, "key", None) in unknown
            }
        )
        return str(replaced)

    def checked(self, text: str) -> str:
        """An expression of a package's own document: as it is, where it is one."""
        if text in _UNKNOWN or _is_common(text):
            return text
        parsed = self._parsed(text)
        if parsed is None:
            return self.expression(text)
        unknown = set(self._licensing.unknown_license_keys(parsed))
        if not all(map(_REFERENCE.fullmatch, unknown)):
            return self.expression(text)
        self.mentioned |= unknown
        return text

    def unexplained(self) -> dict[str, dict[str, Any]]:
        """What documents of packages mention; to be told of where they do not explain it."""
        text = "The document of a package names this licence without its text."
        return {
            name: {"licenseId": name, "extractedText": text, "name": name}
            for name in sorted(self.mentioned)
        }

    def _parsed(self, text: str) -> Any:
        """The expression, ``None`` if it is none."""
        if len(text) > _LONGEST:
            return None
        from license_expression import ExpressionError  # noqa: PLC0415  (as above)

        try:
            # Strict: what stands behind WITH is an exception, and an exception only there.
            return self._licensing.parse(text, strict=True)
        except (
            ExpressionError, AttributeError, TypeError, ValueError, LookupError, RecursionError,
        ):  # fmt: skip
            return None

    def _reference(self, text: str) -> str:
        """The name of a licence that SPDX does not list."""
        sound = re.sub(r"[^A-Za-z0-9.]+", "-", text.removeprefix("LicenseRef-")).strip("-")[:100]
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        name = f"LicenseRef-{sound or digest}"
        if self.extracted.get(name, {}).get("extractedText", text) != text:
            name = f"{name}-{digest}"
        self.extracted.setdefault(name, {"licenseId": name, "extractedText": text, "name": text})
        return name


def _is_common(text: str) -> bool:
    words = text.split(" ")
    return all(word in _COMMON for word in words[::2]) and (
        len(words) % 2 == 1 and all(word in {"AND", "OR"} for word in words[1::2])
    )
