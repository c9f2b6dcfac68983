"""``reference/api.md``: every field of every custom resource, from the definitions in ``crds/``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from docs_reference.markdown import NOTE, code, prose, table

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = Path(__file__).resolve().parents[3] / "crds"

Schema = dict[str, Any]

_HEAD = """# Custom resources

The API group is `plimsoll.dev`, the version `v1alpha1`. `kubectl explain imagebuild.spec` shows the
same texts; `kubectl get plimsoll` lists the objects of all kinds.

A field in **bold** must be given. `[]` is an entry of a list, `.*` a value of a map. What a field
refuses stands behind its description; the API server applies it when an object is created or
changed.
"""


def render() -> str:
    """The page."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    overview = table(
        ["kind", "short", "scope", "what it is"],
        (
            [
                f"[{_names(crd)['kind']}](#{_names(crd)['kind'].lower()})",
                ", ".join(code(n) for n in _names(crd).get("shortNames", [])),
                crd["spec"]["scope"].lower(),
                prose(_schema(crd)["description"]),
            ]
            for crd in crds
        ),
    )
    return "\n".join([NOTE, _HEAD, overview, *(_kind(crd) for crd in crds)])


def _names(crd: Schema) -> Any:
    return crd["spec"]["names"]


def _schema(crd: Schema) -> Any:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _kind(crd: Schema) -> str:
    schema = _schema(crd)
    parts = [f"## {_names(crd)['kind']}\n", f"{prose(schema['description'])}\n"]
    for part in ("spec", "status"):
        node = schema["properties"][part]
        parts += [f"### {_names(crd)['kind']}: {part}\n", f"{prose(node.get('description', ''))}\n"]
        parts.append(table(["field", "type", "default", "meaning"], _rows(node, part)))
        if rules := list(_rules(node, part)):
            parts.append("Rules between fields:\n")
            parts += [f"- {place}: {text}" for place, text in rules]
            parts.append("")
    columns = crd["spec"]["versions"][0].get("additionalPrinterColumns", [])
    shown = ", ".join(c["name"] + (" (wide)" if c.get("priority") else "") for c in columns)
    parts.append(f"Columns of `kubectl get`: {shown}.\n")
    return "\n".join(parts)


def _rows(node: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    required = node.get("required", [])
    for name, child in node.get("properties", {}).items():
        place = f"{path}.{name}"
        shown = f"**{code(place)}**" if name in required else code(place)
        default = code(_literal(child["default"])) if "default" in child else ""
        meaning = prose(child.get("description", ""))
        if limits := _limits(child):
            meaning = f"{meaning} {limits}".strip()
        yield shown, _type(child), default, meaning
        yield from _below(child, place)


def _below(child: Schema, place: str) -> Iterator[tuple[str, str, str, str]]:
    while "items" in child or isinstance(child.get("additionalProperties"), dict):
        if "items" in child:
            child, place = child["items"], f"{place}[]"
        else:
            child, place = child["additionalProperties"], f"{place}.*"
    yield from _rows(child, place)


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "string or integer"
    kind = node.get("type", "any")
    if kind == "array":
        return f"list of {_type(node['items'])}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map to {_type(node['additionalProperties'])}"
    return f"{kind} ({node['format']})" if "format" in node else str(kind)


def _limits(node: Schema) -> str:
    """What is refused, of the node and of the entries below it."""
    found = []
    if "enum" in node:
        found.append("One of " + ", ".join(code(str(v) or '""') for v in node["enum"]) + ".")
    if "pattern" in node:
        found.append(f"Pattern {code(node['pattern'])}.")
    for name, text in (
        ("minimum", "At least"),
        ("maximum", "At most"),
        ("minItems", "Entries: at least"),
        ("maxItems", "Entries: at most"),
        ("maxLength", "Characters: at most"),
    ):
        if name in node and node[name] < 2**31:
            found.append(f"{text} {node[name]}.")
    for below in (node.get("items"), node.get("additionalProperties")):
        inner = _limits(below) if isinstance(below, dict) else ""
        found += [f"Each: {inner}"] if inner else []
    return " ".join(found)


def _rules(node: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in node.get("x-kubernetes-validations", []):
        yield code(path), prose(rule.get("message") or rule["rule"])
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from _rules(node["additionalProperties"], f"{path}.*")


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
