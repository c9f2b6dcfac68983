"""Shell scripts read and never run: assignments, functions, and the values of simple words.

The grammar is tree-sitter's; what depends on anything but constants is reported as unknown.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_bash

from plimsoll.builder.convert.draft import ConvertError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Node = tree_sitter.Node
MAX_SCRIPT = 256 << 10
#: Characters of one value, and of all: variables that use variables grow quickly.
_MAX_VALUE = 64 << 10
_MAX_VALUES = 4 << 20
_EXPANSIONS = frozenset({"simple_expansion", "expansion", "command_substitution"})
_TRIMS = frozenset({"%", "%%", "#", "##"})


@dataclass(slots=True)
class Script:
    """What a script says.

    Attributes:
        values: constant variables, in their last form.
        functions: name → body.
        unknown: names of variables that are no constants.
        fault: line of the first thing that is no shell; 0 if there is none.
        size: characters of all values that were assigned.
    """

    values: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    fault: int = 0
    size: int = 0


def parse(text: str) -> Script:
    """Read a script.

    Raises:
        ConvertError: it is too large.
    """
    data = text.encode()
    if len(data) > MAX_SCRIPT:
        raise ConvertError(
            f"a script of {len(data)} bytes is too large", hint="this is no APKBUILD"
        )
    language = tree_sitter.Language(tree_sitter_bash.language())
    root = tree_sitter.Parser(language).parse(data).root_node
    script = Script(fault=_fault(root))
    for node in root.children:
        if node.type == "function_definition":
            name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
            if name is not None and body is not None:
                script.functions[source(name)] = body
        else:
            for assignment in _assignments(node):
                _assign(script, assignment, sure=assignment is node)
    return script


def source(node: Node) -> str:
    """The text of a node."""
    return (node.text or b"").decode(errors="replace")


def word(node: Node, values: Mapping[str, str]) -> str | None:
    """The value of a word; ``None`` if it depends on what only running it tells."""
    left = _MAX_VALUE

    def replace(found: Node) -> str:
        nonlocal left
        value = expansion(found, values) if left >= 0 else None
        left = -1 if value is None else left - len(value)
        return value if value is not None and left >= 0 else ""

    text = _unquoted(node, replace)
    return text if left >= 0 else None


def expansion(node: Node, values: Mapping[str, str]) -> str | None:
    """The value of ``$name`` or ``${name…}``."""
    if node.type == "command_substitution":
        return None
    name = next((c for c in node.children if c.type == "variable_name"), None)
    if name is None or source(name) not in values:
        return None
    value = values[source(name)]
    if node.type == "simple_expansion":
        return value
    rest = source(node)[2:-1].removeprefix(source(name))
    return _changed(value, rest)


def rewritten(node: Node, replace: Callable[[Node], str | None]) -> str:
    """The text of a node with some expansions replaced; ``None`` leaves one as it is."""
    parts, position = [], node.start_byte
    data = node.text or b""
    for found in _expansions(node):
        text = replace(found)
        if text is not None:
            parts.append(data[position - node.start_byte : found.start_byte - node.start_byte])
            parts.append(text.encode())
            position = found.end_byte
    parts.append(data[position - node.start_byte :])
    return b"".join(parts).decode(errors="replace")


def _changed(value: str, rest: str) -> str | None:
    if not rest:
        return value
    operator = rest[:2] if rest[:2] in _TRIMS | {"//"} else rest[:1]
    pattern = rest[len(operator) :]
    if operator in _TRIMS:
        return _trimmed(value, operator, pattern)
    if operator in {"/", "//"}:
        old, _, new = pattern.partition("/")
        if any(character in old for character in "*?["):
            return None
        return value.replace(old, new, 1 if operator == "/" else -1)
    return None


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """What ``${value%pattern}`` and its relatives give."""
    compiled = re.compile(fnmatch.translate(pattern))
    places = range(len(value) + 1)
    if operator.startswith("%"):
        cuts = [cut for cut in places if compiled.match(value[cut:])]
        chosen = (min if operator == "%%" else max)(cuts, default=len(value))
        return value[:chosen]
    cuts = [cut for cut in places if compiled.match(value[:cut])]
    return value[(max if operator == "##" else min)(cuts, default=0) :]


def _unquoted(node: Node, replace: Callable[[Node], str]) -> str:
    if node.type in _EXPANSIONS:
        return replace(node)
    if node.type == "raw_string":
        return source(node)[1:-1]
    if node.type == "concatenation":
        return "".join(_unquoted(child, replace) for child in node.children)
    text = rewritten(node, replace)
    if node.type == "string":
        return re.sub(r'\\(["\\$`\n])', lambda m: "" if m[1] == "\n" else m[1], text[1:-1])
    return re.sub(r"\\(.)", r"\1", text)


def _expansions(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type in _EXPANSIONS:
            yield child
        elif child.type != "raw_string":
            yield from _expansions(child)


def _assignments(node: Node) -> Iterator[Node]:
    if node.type == "variable_assignment":
        yield node
    elif node.type != "function_definition":
        for child in node.children:
            yield from _assignments(child)


def _assign(script: Script, node: Node, *, sure: bool) -> None:
    """Remember an assignment; one under a condition makes its variable unknown."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None:
        return
    key = source(name)
    text = "" if value is None else word(value, script.values)
    added = "+=" in {child.type for child in node.children}
    if text is not None:
        text = (script.values.get(key, "") if added else "") + text
        script.size += len(text)
        if len(text) > _MAX_VALUE or script.size > _MAX_VALUES:
            text = None
    if text is None or not sure:
        script.unknown.add(key)
        if text is None or key in script.values:
            return
    script.values[key] = text


def _fault(root: Node) -> int:
    if not root.has_error:
        return 0
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_error or node.is_missing:
            return int(node.start_point[0]) + 1
        stack.extend(reversed([child for child in node.children if child.has_error]))
    return 1
