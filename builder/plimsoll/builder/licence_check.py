"""Whether a package's licences are what its sources say."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.licencefiles import is_licence_file
from plimsoll.builder.licences import Licences
from plimsoll.builder.licencetexts import MAX_TEXT, base_name, recognise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.builder.sca.tree import Entry, Tree

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_WORDS = frozenset(("AND", "OR", "WITH"))
#: Licence files that are read; the sources of some projects hold thousands of copies.
_MAX_FILES = 2000


@dataclass(frozen=True, slots=True)
class Declared:
    """One entry of ``copyright``.

    Attributes:
        license: SPDX expression.
        license_path: file with its text, ``""`` if none is named.
        detection_override: what that file is taken for, where it would be recognised as another.
    """

    license: str
    license_path: str = ""
    detection_override: str = ""


@dataclass(frozen=True, slots=True)
class LicenceFinding:
    """One thing to look at.

    Attributes:
        path: the licence file, ``""`` if it is about the configuration.
    """

    path: str
    message: str


def declared_expression(licences: Iterable[str]) -> str:
    """All licences of a package as one valid SPDX expression, joined with ``AND``.

    What SPDX does not list becomes ``LicenseRef-…``. Empty if there is none.
    """
    known = Licences()
    parts = [known.expression(text) for text in licences if text.strip()]
    if len(parts) > 1:
        parts = [f"({part})" if " OR " in part else part for part in parts]
    return " AND ".join(parts)


def is_listed(name: str) -> bool:
    """Whether SPDX lists a licence of that name (or an expression of such)."""
    return bool(name.strip()) and _unknown(name) is None


def check_licences(declared: Sequence[Declared], tree: Tree | None = None) -> list[LicenceFinding]:
    """Compare what is declared with the licence files of the sources.

    Licence texts are recognised by SPDX's templates, with some tolerance; a file that is none of
    them says nothing.

    Args:
        declared: ``copyright`` of the configuration.
        tree: the sources; without it only the declaration is looked at.

    Raises:
        OSError: a file cannot be read.
    """
    findings = []
    if not any(item.license.strip() for item in declared):
        findings.append(LicenceFinding("", "no licence is declared (package.copyright)"))
    for item in declared:
        findings += [LicenceFinding("", fault) for fault in _faults(item.license)]
        if tree is not None and item.license_path and item.license_path.strip("/") not in tree:
            findings.append(
                LicenceFinding(item.license_path, "is named as license-path, and does not exist")
            )
    if tree is not None:
        findings += _differences(declared, tree)
    return findings


def _differences(declared: Sequence[Declared], tree: Tree) -> list[LicenceFinding]:
    findings = []
    everywhere = {name for item in declared for name in _names(item.license)}
    files = [e for e in tree if e.type is Type.FILE and is_licence_file(e.path)]
    # Those near the top say most about the whole.
    files.sort(key=lambda e: (e.path.count("/"), e.path))
    for entry in files[:_MAX_FILES]:
        own = [item for item in declared if item.license_path.strip("/") == entry.path]
        expected = {name for item in own for name in _names(item.license)} or everywhere
        expected |= {base_name(i.detection_override) for i in own if i.detection_override}
        surplus = recognise(_read(entry)) - expected
        if surplus:
            findings.append(
                LicenceFinding(
                    entry.path,
                    f"reads like {', '.join(sorted(surplus))}, which is not declared"
                    + (f" for it ({', '.join(sorted(expected))})" if own else ""),
                )
            )
    return findings


def _faults(text: str) -> list[str]:
    unknown = _unknown(text)
    if unknown is None:
        return []
    if not unknown:
        return [f"{text!r} is no SPDX expression"]
    faults = []
    for name in unknown:
        if name.startswith(("LicenseRef-", "DocumentRef-")):
            continue
        near = difflib.get_close_matches(name, _known(), n=1, cutoff=0.8)
        hint = f"; did you mean {near[0]}?" if near else "; the SBOM will call it LicenseRef-…"
        faults.append(f"SPDX lists no licence {name!r}{hint}")
    return faults


def _unknown(text: str) -> list[str] | None:
    """Names in an expression that SPDX does not list; ``None`` if all are, ``[]`` if it is none."""
    if not text.strip():
        return []
    from license_expression import (  # type: ignore[import-untyped]  # noqa: PLC0415  (50 ms; untyped)
        ExpressionError,
    )

    licensing = _licensing()
    try:
        unknown = [str(name) for name in licensing.unknown_license_keys(licensing.parse(text))]
    except (ExpressionError, AttributeError, TypeError, ValueError):
        return []
    return unknown or None


def _licensing() -> Any:
    from license_expression import get_spdx_licensing  # noqa: PLC0415  (as above)

    return get_spdx_licensing()


def _known() -> list[str]:
    return [str(name) for name in _licensing().known_symbols]


def _names(expression: str) -> set[str]:
    return {base_name(w) for w in _NAME.findall(expression) if w not in _WORDS}


def _read(entry: Entry) -> str:
    with entry.open() as source:
        return source.read_at(0, MAX_TEXT).decode(errors="replace")
