"""pkg-config files: what they require."""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_.]+)\s*=(.*)")
_FIELD = re.compile(r"\s*([A-Za-z.]+)\s*:(.*)")
_FIELDS = frozenset(("requires", "requires.private", "requires.internal"))
_OPERATOR = re.compile(r"(<=|>=|!=|<|>|=)")
_MAX_VALUE = 1 << 16

#: Bytes of a pkg-config file that are read.
MAX_FILE = 256 << 10


def requirements(text: str) -> list[str]:
    """Names in ``Requires``, ``Requires.private`` and ``Requires.internal``, without versions."""
    variables: dict[str, str] = {}
    found: dict[str, None] = {}
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.partition("#")[0]
        if match := _FIELD.fullmatch(line):
            if match[1].lower() in _FIELDS:
                found.update(dict.fromkeys(_names(_expand(match[2], variables))))
        elif match := _ASSIGNMENT.fullmatch(line):
            variables[match[1]] = _expand(match[2].strip(), variables)
    return list(found)


def _expand(value: str, variables: dict[str, str]) -> str:
    # Values are expanded when they are set, so nothing here grows by more than one level.
    return _VARIABLE.sub(lambda m: variables.get(m[1], ""), value)[:_MAX_VALUE]


def _names(value: str) -> list[str]:
    words = _OPERATOR.sub(r" \1 ", value.replace(",", " ")).split()
    names = []
    skip = False
    for word in words:
        if _OPERATOR.fullmatch(word):
            skip = True
        elif skip:
            skip = False
        else:
            names.append(word)
    return names
