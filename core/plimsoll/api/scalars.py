"""Single values of what a person writes in YAML, read as apko reads them."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict

_MAX_ID = 2**32 - 2
_MAX_MODE = 0o7777
_READ = 0o4


def _text(value: Any) -> Any:
    """Read an unquoted number or boolean as the text that was written, as apko does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return getattr(value, "raw", None) or str(value)
    return value


def _or_nothing(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_text)]
"""A string; an unquoted YAML scalar of another type counts as its own text."""

Unquoted = Annotated[Text, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""A ``Text`` that is so often a number that the custom resource takes unquoted ones too."""

Value = Annotated[Text, BeforeValidator(_or_nothing)]
"""A ``Text`` of a mapping: ``KEY:`` with nothing after it is the empty text."""

UnquotedValue = Annotated[Unquoted, BeforeValidator(_or_nothing)]
"""An ``Unquoted`` of a mapping."""


def _split(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} cannot be split into words: {str(error).lower()}") from None
    return text


CommandLine = Annotated[Text, AfterValidator(_split)]
"""A command, split into words as a shell would."""


def _mode(value: Any) -> Any:
    """Read octal numbers however they are written.

    ``"0o755"`` is what YAML 1.1 loaders make of YAML 1.2's octal numbers, ``0755`` an octal number
    to YAML 1.1 and to apko. A plain ``755`` is a decimal number to all of them, which nobody means.
    """
    written = value if isinstance(value, str) else getattr(value, "raw", "")
    if re.fullmatch(r"0o?[0-7]{1,5}", written):
        mode = int(written.replace("o", ""), 8)
        if mode > _MAX_MODE:
            raise ValueError(f"{written} has more than twelve permission bits")
        return mode
    if not isinstance(value, int) or not re.fullmatch(r"[1-7][0-7]{2,3}", written):
        return value
    if _sensible(int(written, 8)) and not _sensible(value):
        raise ValueError(f"{written} is a decimal number here; write 0o{written}")
    return value


def _sensible(mode: int) -> bool:
    """Whether the owner may read, the group no more than the owner, and others no more still."""
    owner, group, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    return bool(owner & _READ) and not (group & ~owner or others & ~group)


Mode = Annotated[int, Strict(), Field(ge=0, le=_MAX_MODE), BeforeValidator(_mode)]
"""Permission bits with setuid, setgid and sticky."""

Id = Annotated[int, Strict(), Field(ge=0, le=_MAX_ID)]
"""A numeric user or group id."""

Flag = Annotated[bool, Strict()]
"""``true`` or ``false``."""
