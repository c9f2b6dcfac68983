"""Licences of packages as expressions that SPDX documents may hold."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

NO_ASSERTION = "NOASSERTION"


class Licences:
    """Makes expressions valid and remembers what had to be named anew.

    SPDX (annex D) knows a list of licences and ``LicenseRef-…`` for all others, which the document
    must then explain.
    """

    def __init__(self) -> None:
        self.extracted: dict[str, dict[str, Any]] = {}

    @cached_property
    def _licensing(self) -> Any:
        # Reading the list takes 100 ms, and packages that bring SPDX documents do not need it.
        from license_expression import (  # type: ignore[import-untyped]  # noqa: PLC0415
            get_spdx_licensing,
        )

        return get_spdx_licensing()

    def expression(self, text: str) -> str:
        """A valid expression for what a package declares."""
        text = text.strip()
        if not text or text in {NO_ASSERTION, "NONE"}:
            return text or NO_ASSERTION
        from license_expression import ExpressionError  # noqa: PLC0415  (as above)

        try:
            parsed = self._licensing.parse(text)
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
        except (ExpressionError, AttributeError, TypeError, ValueError):
            return self._reference(text)

    def _reference(self, text: str) -> str:
        """The name of a licence that SPDX does not list."""
        if text.startswith("LicenseRef-"):
            name = text
        else:
            name = "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:100]
        self.extracted.setdefault(name, {"licenseId": name, "extractedText": text, "name": text})
        return name
