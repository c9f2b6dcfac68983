"""``${{variable}}`` in texts: leniently as a configuration is read, strictly as it is compiled."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from plimsoll.builder.package.errors import SubstitutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: A reference in its lenient form: a plain name, spaces around it or not.
REFERENCE = re.compile(r"\$\{\{\s*([A-Za-z0-9][A-Za-z0-9._+-]*)\s*\}\}")

#: Characters that one text may grow to; variables that use variables grow quickly.
MAX_TEXT = 4 << 20


def replace_known(text: str, known: Mapping[str, str]) -> str:
    """Replace references to what is known; leave all others as they are."""
    if "${{" not in text:
        return text
    result = REFERENCE.sub(lambda match: known.get(match[1], match[0]), text)
    if len(result) > MAX_TEXT:
        raise SubstitutionError(
            f"a text grows beyond {MAX_TEXT} characters: {text[:60]!r}…",
            hint="variables that use each other grow quickly; write less into them",
        )
    return result


def replace_all(text: str, lookup: Callable[[str], str]) -> str:
    """Replace every reference.

    Args:
        text: the text.
        lookup: value of a name; raises ``SubstitutionError``.

    Raises:
        SubstitutionError: a reference is empty, not closed, or of an unknown name.
    """
    if "${{" not in text:
        return text
    parts: list[str] = []
    position = 0
    while (start := text.find("${{", position)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise SubstitutionError(
                f"unterminated variable reference {text[start : start + 40]!r}",
                hint="close it with '}}'",
            )
        parts.append(text[position:start])
        name = text[start + 3 : end].strip()
        if not name:
            raise SubstitutionError(
                "empty variable name in '${{ }}'", hint="name a variable, such as package.name"
            )
        parts.append(lookup(name))
        position = end + 2
    parts.append(text[position:])
    result = "".join(parts)
    if len(result) > MAX_TEXT:
        raise SubstitutionError(f"a text grows beyond {MAX_TEXT} characters: {text[:60]!r}…")
    return result


def references(text: str) -> list[str]:
    """Names that a text refers to."""
    return REFERENCE.findall(text) if "${{" in text else []


def unknown(name: str, known: Iterable[str]) -> SubstitutionError:
    """The error for a name that is not defined."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    kind = name.partition(".")[0]
    same = [item for item in names if item.startswith(f"{kind}.")]
    shown = same[:12] or sorted({f"{item.partition('.')[0]}.…" for item in names})
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(shown)}"
    return SubstitutionError(f"the variable {name!r} is not defined", hint=hint)


def walk(value: Any, known: Mapping[str, str], skip: frozenset[str] = frozenset()) -> Any:
    """Replace what is known in every text of parsed YAML.

    Args:
        value: dicts, lists and scalars.
        known: name → value.
        skip: keys whose values stay as they are.
    """
    if isinstance(value, str):
        return replace_known(value, known)
    if isinstance(value, dict):
        return {k: v if k in skip else walk(v, known, skip) for k, v in value.items()}
    if isinstance(value, list):
        return [walk(item, known, skip) for item in value]
    return value
