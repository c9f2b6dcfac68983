"""YAML 1.2 (core schema) with the place of everything that was read.

PyYAML resolves scalars by YAML 1.1, where ``yes`` is true and ``0o755`` is a string. Here only the
core schema counts (https://yaml.org/spec/1.2.2/#103-core-schema), a key that is there twice is an
error, and every value can be found again by file, line and column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from plimsoll.errors import Error

#: Nodes after the expansion of aliases; beyond it is no configuration but an attack.
MAX_NODES = 200_000
MAX_DEPTH = 100
#: Characters of a number; no program means more.
_MAX_NUMBER = 100

_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "str"))


class YamlError(Error):
    """A file that is no YAML, or not what it should be; the message starts with its place."""

    reason = "InvalidConfiguration"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class RawInt(int):
    """An integer that knows how it was written."""

    raw: str


class RawFloat(float):
    """A float that knows how it was written."""

    raw: str


Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: plain dicts, lists and scalars, and the place of each by its path."""

    value: Any
    places: dict[Path, Mark]
    file: str

    def place(self, path: Path) -> Mark:
        """The place of what ``path`` names, or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Mark(self.file))


class _Loader(yaml.CBaseLoader):
    """libyaml's parser with the core schema's tags for plain scalars."""


class _Dumper(yaml.CSafeDumper):
    """Quotes what this schema or that of YAML 1.1 would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        del data
        return True


for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        _FLOAT,
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def load(text: str, file: str) -> Document:
    """Read one document.

    Args:
        text: the YAML text.
        file: names it in errors.

    Raises:
        YamlError: with line and column.
    """
    try:
        _check_depth(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file)
        raise YamlError(
            f"{place}: {error.problem or error.context}",
            hint="this is not valid YAML; check indentation, quotes and colons on this line",
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"{Mark(file)}: not readable as YAML: {error}") from None
    builder = _Builder(file)
    value = builder.build(node, (), 0) if node is not None else None
    return Document(value, builder.places, file)


def dump(value: Any) -> str:
    """Write plain dicts, lists and scalars as a document that means the same here and elsewhere."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _check_depth(text: str, file: str) -> None:
    """Refuse what nests deeply before nodes are made of it, which takes a C stack frame a level."""
    loader = _Loader(text)
    depth = 0
    try:
        while (event := loader.get_event()) is not None:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise _too_much(file, event)
    finally:
        loader.dispose()


def _mark(file: str, place: yaml.Node | yaml.Event) -> Mark:
    at = place.start_mark
    return Mark(file, at.line + 1, at.column + 1) if at is not None else Mark(file)


def _too_much(file: str, place: yaml.Node | yaml.Event) -> YamlError:
    return YamlError(
        f"{_mark(file, place)}: more than {MAX_NODES} values or {MAX_DEPTH} levels",
        hint="aliases that contain aliases grow quickly; write it out or split the file",
    )


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Mark] = {}
        self._nodes = 0

    def _mark(self, node: yaml.Node) -> Mark:
        return _mark(self.file, node)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _too_much(self.file, node)

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._count(node, depth)
        mark = self._mark(node)
        self.places.setdefault(path, mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, mark)

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"{mark}: a key must be text", hint="quote it")
            key: str = key_node.value
            if key == "<<" and not key_node.style:
                merged |= self._merge(value_node, path, depth)
                continue
            if key in result:
                raise YamlError(
                    f"{mark}: the key {key!r} is already at {self.places[*path, key]}",
                    hint="join the two or remove one",
                )
            self.places[*path, key] = mark
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return merged | result

    def _merge(self, node: yaml.Node, path: Path, depth: int) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for item in nodes:
            if not isinstance(item, yaml.MappingNode):
                raise YamlError(f"{self._mark(item)}: '<<' needs a mapping")
            self._count(item, depth)
            merged = self._mapping(item, (*path, "<<"), depth + 1) | merged
        return merged

    def _scalar(self, node: yaml.Node, mark: Mark) -> Any:
        text: str = node.value
        tag: str = node.tag
        if tag in {_STR, "!"}:
            return text
        if tag == _NULL:
            return None
        if tag == _BOOL and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        try:
            if tag == _INT and len(text) <= _MAX_NUMBER:
                base = {"0o": 8, "0x": 16}.get(text[:2], 10)
                number = RawInt(text[2:] if base != 10 else text, base)
                number.raw = text
                return number
            if tag == _FLOAT and len(text) <= _MAX_NUMBER:
                plain = re.sub(r"\.(?=inf|nan)", "", text.lower())
                real = RawFloat(plain)
                real.raw = text
                return real
        except ValueError:
            pass
        raise YamlError(f"{mark}: {text[:80]!r} is no {tag.rpartition(':')[2]}")
