"""Changing single values of a YAML file; every other byte stays as it is.

A round trip through a YAML library keeps comments, but not indentation, line lengths or quotes of
files that people wrote. So the file is only parsed to find where the values stand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from plimsoll.builder.package.errors import PackageConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")


class Editor:
    """Collects changes to a file.

    Args:
        text: the file.
        file: names it in errors.

    Raises:
        PackageConfigError: it is no YAML.
    """

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._edits: dict[tuple[int, int], str] = {}
        try:
            # The C parser counts in bytes of its own buffer; places must be exact here.
            self._root = yaml.compose(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise PackageConfigError(f"{file} is no YAML: {error}") from None

    def set(self, path: Path, value: str, *, quote: bool = False) -> None:
        """Give the value at ``path`` another text; a key that is missing is added to its mapping.

        Args:
            path: keys and numbers; the mapping must exist.
            value: the text.
            quote: write it in double quotes even where that is not needed.

        Raises:
            PackageConfigError: there is no such mapping, or no single value is there.
        """
        node = self._find(path)
        if node is None:
            self._add(path, value, quote=quote)
            return
        if not isinstance(node, yaml.ScalarNode) or node.style in {"|", ">"}:
            raise PackageConfigError(
                f"{self._file}:{node.start_mark.line + 1}: {_shown(path)} is no single value",
                hint="write it on the line of its key",
            )
        style = '"' if quote else (node.style or "")
        where = (node.start_mark.index, node.end_mark.index)
        self._edits[where] = _scalar(value, style)

    def result(self) -> str:
        """The file with all changes."""
        text = self._text
        for (start, end), new in sorted(self._edits.items(), reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _find(self, path: Path) -> yaml.Node | None:
        node = self._root
        for part in path:
            node = _child(node, part)
            if node is None:
                return None
        return node

    def _add(self, path: Path, value: str, *, quote: bool) -> None:
        """A new line after the first key of the mapping."""
        mapping = self._find(path[:-1])
        if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
            raise PackageConfigError(f"{self._file} has no place for {_shown(path)}")
        first, last = mapping.value[0][0], mapping.value[-1][1]
        if not isinstance(last, yaml.ScalarNode):
            last = mapping.value[0][1]
        end = self._text.find("\n", last.end_mark.index)
        end = len(self._text) if end < 0 else end
        indent = " " * first.start_mark.column
        written = _scalar(value, '"' if quote else "")
        self._edits[end, end] = f"\n{indent}{path[-1]}: {written}"


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value if isinstance(value, yaml.Node) else None
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child if isinstance(child, yaml.Node) else None
    return None


def _scalar(value: str, style: str) -> str:
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style == '"' or not _PLAIN.fullmatch(value) or re.fullmatch(r"[0-9]+e[0-9]+", value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value


def _shown(path: Path) -> str:
    return ".".join(map(str, path))


def steps(value: object, path: Path = ()) -> Iterator[tuple[Path, dict[str, object]]]:
    """Every step that uses a pipeline, wherever in a parsed configuration, with its path."""
    if isinstance(value, dict):
        if isinstance(value.get("uses"), str):
            yield path, value
        for key, item in value.items():
            yield from steps(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from steps(item, (*path, number))
