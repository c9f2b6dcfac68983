"""Asking a configuration by a template, in the part of Go's template language that is of use here.

``{{ .Package.Name }}``, ``{{ range .Subpackages }}…{{ end }}``, ``{{ if .Test }}…{{ else }}…
{{ end }}``, ``{{ index .Vars "name" }}``, ``{{ len .Subpackages }}``, ``{{ json .Update }}``; ``$``
is the configuration inside a range, and ``{{-`` and ``-}}`` take the white space beside them away.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.package.model import PackageConfiguration

_TAG = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_HINT = 'write, for example, "{{ .Package.Name }}-{{ .Package.Version }}"'
_MAX_DEPTH = 20


class TemplateError(Error):
    """A template that cannot be used."""

    reason = "InvalidTemplate"


def query(config: PackageConfiguration, template: str) -> str:
    """What the template says of a configuration.

    Raises:
        TemplateError: the template is not valid, or names a field that does not exist.
    """
    tokens = list(_tokens(template))
    text, position = _render(tokens, 0, config, config, 0)
    if position != len(tokens):
        raise TemplateError(f"{{{{ {tokens[position][1]} }}}} closes nothing", hint=_HINT)
    return text


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    position, trim = 0, False
    for match in _TAG.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if match[1] else text
        yield "tag", match[2].strip()
        position, trim = match.end(), bool(match[3])
    rest = template[position:]
    if "{{" in rest:
        raise TemplateError("a '{{' is not closed", hint=_HINT)
    yield "text", rest.lstrip() if trim else rest


def _render(
    tokens: list[tuple[str, str]], at: int, dot: Any, root: Any, depth: int
) -> tuple[str, int]:
    """Text up to the ``end`` or ``else`` that belongs to the caller, and where that is."""
    if depth > _MAX_DEPTH:
        raise TemplateError(f"more than {_MAX_DEPTH} levels", hint=_HINT)
    out: list[str] = []
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "text":
            out.append(text)
            at += 1
            continue
        word, _, rest = text.partition(" ")
        if word in {"end", "else"}:
            break
        if word in {"range", "if"}:
            done, at = _block(tokens, at, dot, root, depth)
            out.append(done)
            continue
        del rest
        out.append(_show(_evaluate(text, dot, root)))
        at += 1
    return "".join(out), at


def _block(
    tokens: list[tuple[str, str]], at: int, dot: Any, root: Any, depth: int
) -> tuple[str, int]:
    word, _, rest = tokens[at][1].partition(" ")
    value = _evaluate(rest.strip(), dot, root)
    if word == "range":
        items = list(value.values()) if isinstance(value, dict) else list(value or [])
        rounds = [(item, bool(items)) for item in items] or [(dot, False)]
    else:
        rounds = [(dot, bool(value))]
    out: list[str] = []
    end = at
    for item, holds in rounds:
        text, end = _render(tokens, at + 1, item if word == "range" and holds else dot, root,
                            depth + 1) if holds else ("", _skip(tokens, at + 1))  # fmt: skip
        out.append(text)
        if end < len(tokens) and tokens[end][1] == "else":
            if holds:
                end = _skip(tokens, end + 1)
            else:
                text, end = _render(tokens, end + 1, dot, root, depth + 1)
                out.append(text)
    if end >= len(tokens) or tokens[end][1] != "end":
        raise TemplateError(f"{{{{ {tokens[at][1]} }}}} has no end", hint="add {{ end }}")
    return "".join(out), end + 1


def _skip(tokens: list[tuple[str, str]], at: int) -> int:
    """Where the ``end`` or ``else`` of a block is whose begin is passed."""
    depth = 0
    while at < len(tokens):
        kind, text = tokens[at]
        word = text.partition(" ")[0] if kind == "tag" else ""
        if word in {"range", "if"}:
            depth += 1
        elif word == "else" and depth == 0:
            return at
        elif word == "end":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    return at


def _evaluate(text: str, dot: Any, root: Any) -> Any:
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if len(words) == 1:
        return _path(words[0], dot, root)
    if len(words) == 2 and words[0] == "len":
        return len(_path(words[1], dot, root))
    if len(words) == 2 and words[0] == "json":
        return json.dumps(_plain(_path(words[1], dot, root)))
    if len(words) == 3 and words[0] == "index":
        value = _path(words[1], dot, root)
        try:
            return value[int(words[2])] if isinstance(value, list) else value.get(words[2], "")
        except (ValueError, IndexError, AttributeError):
            raise TemplateError(f"{text!r}: there is no such item", hint=_HINT) from None
    raise TemplateError(f"{text!r} is not understood", hint=_HINT)


def _path(text: str, dot: Any, root: Any) -> Any:
    if not text.startswith((".", "$")):
        raise TemplateError(f"{text!r} is no field: fields begin with '.'", hint=_HINT)
    value = root if text.startswith("$") else dot
    for name in filter(None, text.removeprefix("$").split(".")):
        if isinstance(value, dict):
            value = value.get(name, "")
            continue
        attribute = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
        fields = type(value).model_fields if isinstance(value, BaseModel) else {}
        attribute = attribute if attribute in fields else f"{attribute}_"
        if attribute in fields:
            value = getattr(value, attribute)
        elif name == "FullVersion" and hasattr(value, "full_version"):
            value = value.full_version
        else:
            known = ", ".join(_go_name(field) for field in fields)
            raise TemplateError(
                f"{text!r}: there is no field {name!r}", hint=f"fields here: {known}"
            )
    return value


def _go_name(field: str) -> str:
    return "".join(part.capitalize() for part in field.strip("_").split("_"))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel | dict):
        return json.dumps(_plain(value))
    if isinstance(value, list):
        return f"[{' '.join(_show(item) for item in value)}]"
    return str(value)
