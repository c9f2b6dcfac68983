"""What is wrong in a file of a person: where, in words, and what may have been meant."""

from __future__ import annotations

import difflib
import re
import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from plimsoll import yaml12

_WANTED = {
    "list_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "string_type": "text is wanted",
    "int_type": "a whole number is wanted",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
}
_LONG, _MANY = 500, 20
_BOUNDS = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}


class ConfigError(Error):
    """A configuration that is not valid; the message has one line per mistake."""

    reason = "InvalidConfiguration"


def told(mistakes: Sequence[tuple[yaml12.Mark, str]], hint: str | None) -> ConfigError:
    """One error of all mistakes, a line each; of very many the first ones."""
    lines = [
        f"{mark}: {text if len(text) <= _LONG else text[:_LONG] + '…'}"
        for mark, text in mistakes[:_MANY]
    ]
    if len(mistakes) > _MANY:
        lines.append(f"and {len(mistakes) - _MANY} more mistakes")
    return ConfigError("\n".join(lines), hint=hint)


def explain(
    error: ValidationError, document: yaml12.Document, model: type[BaseModel]
) -> ConfigError:
    """Say where in the file each mistake is, and which name may have been meant."""
    mistakes = []
    hint = None
    for detail in error.errors(include_url=False):
        loc = (*detail["loc"], *detail.get("ctx", {}).get("at", ()))
        text, advice = _describe(detail, loc, model)
        hint = hint or advice
        mistakes.append((document.place(loc), text))
    return told(mistakes, hint)


def _describe(
    detail: ErrorDetails, loc: Sequence[str | int], model: type[BaseModel]
) -> tuple[str, str | None]:
    """The mistake and what to do about it."""
    kind, given = detail["type"], detail["input"]
    where = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return _unknown(loc, model)
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        return _none_of(where, given, [name for name in valid if name])
    if kind == "missing" or (kind == "string_too_short" and given == ""):
        return f"{where} is {'missing' if kind == 'missing' else 'empty'}", None
    text = _message(detail)
    return f"{where}: {text}" if where else text, _remedy(kind, given)


def _message(detail: ErrorDetails) -> str:
    kind, given = detail["type"], detail["input"]
    if kind in _WANTED:
        return f"{_WANTED[kind]}, not {_shown(given)}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"{_shown(given)} is not {words} {detail['ctx'][name]}"
    message = detail["msg"].removeprefix("Value error, ")
    if kind in {"value_error", "misplaced"}:
        return message
    return f"{message[:1].lower()}{message[1:]}, not {_shown(given)}"


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> tuple[str, str | None]:
    name, parent = str(loc[-1]), ".".join(str(part) for part in loc[:-1])
    valid = _fields_at(model, loc[:-1])
    text = f"unknown field {name!r}" + (f" in {parent}" if parent else "")
    if near := difflib.get_close_matches(name, valid, n=1, cutoff=0.5):
        return f"{text}: did you mean {near[0]!r}?", f"write {near[0]!r} instead of {name!r}"
    return text, f"valid here: {', '.join(valid)}" if valid else None


def _none_of(where: str, given: Any, valid: Sequence[str]) -> tuple[str, str]:
    text = f"{where}: {_shown(given)} is not valid"
    near = difflib.get_close_matches(str(given), valid, n=1, cutoff=0.5)
    return (
        f"{text}: did you mean {near[0]!r}?" if near else text,
        f"valid here: {', '.join(valid)}",
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(getattr(value, "raw", value)) if isinstance(value, int | float) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _remedy(kind: str, given: Any) -> str | None:
    if kind == "list_type" and isinstance(given, str | int):
        return f"write [{given}], or a line '- {given}' for each"[:200]
    if kind == "int_type" and isinstance(given, str) and given.isdecimal():
        return "leave the quotes away"
    return None


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Names of the keys that the mapping at ``loc`` may have."""
    current: Any = model
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            names = {f.alias or n: f.annotation for n, f in current.model_fields.items()}
            current = names.get(str(part))
        elif get_origin(current) in {list, dict}:
            current = get_args(current)[-1]
        if get_origin(current) in {Union, types.UnionType}:
            current = next((a for a in get_args(current) if a is not type(None)), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [f.alias or n for n, f in current.model_fields.items()]
    return []
