"""Regular expressions as configurations write them: RE2, with Go's templates for replacements.

RE2 itself evaluates them: its syntax is exactly what the format means, and it takes linear time
whatever the pattern.
"""

from __future__ import annotations

import re
from typing import Any

from plimsoll.builder.package.errors import PackageConfigError

_REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_MAX_MEMORY = 8 << 20


def compile_pattern(pattern: str) -> Any:
    """An RE2 pattern.

    Raises:
        PackageConfigError: it is none.
    """
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415  (start-up time; untyped)

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise PackageConfigError(
            f"{pattern!r} is no regular expression: {reason}",
            hint="the syntax is RE2's (no look-around, no back-references)",
        ) from None


def replace(pattern: str, template: str, text: str) -> str:
    """``text`` with every match replaced by what the template says.

    In the template ``$1``, ``${1}`` and ``${name}`` are groups, ``$$`` is a dollar; a group that
    does not exist is empty.

    Raises:
        PackageConfigError: the pattern is none.
    """
    compiled = compile_pattern(pattern)

    def expand(match: Any) -> str:
        return _REFERENCE.sub(lambda reference: _group(match, reference), template)

    return str(compiled.sub(expand, text))


def _group(match: Any, reference: re.Match[str]) -> str:
    name = reference[1] or reference[2]
    if name is None:
        return "$"
    try:
        return match.group(int(name) if name.isdigit() else name) or ""
    except (IndexError, KeyError):
        return ""
