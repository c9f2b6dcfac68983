"""CustomResourceDefinitions from the models: ``python -m plimsoll.api.crd --out crds/``.

Pydantic's JSON schema becomes a structural schema (Kubernetes documentation, "Specifying a
structural schema"): no references, one type per node, unions with null collapsed, only the
keywords that the API server knows. Docstrings of fields become descriptions, so that
``kubectl explain`` is the manual.

A field's ``json_schema_extra`` may hold any ``x-kubernetes-…`` keyword, which is kept, and
``x-plimsoll-omit``: dotted names of fields below it that the custom resource does not offer.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from plimsoll.api.meta import CATEGORY, GROUP, VERSION, Definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

Schema = dict[str, Any]

#: ``kubectl apply`` without ``--server-side`` keeps a copy in an annotation (limit 256 KiB).
SIZE_BUDGET = 150_000
OMIT = "x-plimsoll-omit"

_KEPT = frozenset(
    {
        "enum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
    }
)
_FORMATS = frozenset({"date-time", "date", "int32", "int64", "double", "byte"})
_DROPPED = frozenset(
    {"title", "examples", "deprecated", "discriminator", "propertyNames", "writeOnly", "readOnly"}
)


class SchemaError(Exception):
    """A model that no structural schema can express."""


def schema_of(model: type[BaseModel]) -> Schema:
    """The structural schema of a model.

    Raises:
        SchemaError: with the path of the field that cannot be expressed.
    """
    raw = model.model_json_schema(mode="validation", by_alias=True)
    return _Converter(raw.pop("$defs", {})).convert(raw, model.__name__, frozenset())


class _Converter:
    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def convert(self, node: Schema, path: str, inside: frozenset[str]) -> Schema:
        """One node; ``inside`` are the definitions that enclose it."""
        node, inside = self._resolve(node, path, inside)
        omitted = node.pop(OMIT, [])
        branches = node.pop("anyOf", None) or node.pop("oneOf", None)
        if branches is not None:
            return self._union(node, branches, path, inside)
        out: Schema = {}
        if text := node.get("description"):
            out["description"] = _reflow(text)
        out.update(self._typed(node, path, inside, omitted))
        for key, value in node.items():
            if key in _KEPT or key.startswith("x-kubernetes-"):
                out[key] = value
            elif key == "const":
                out["enum"] = [value]
            elif key in {"exclusiveMinimum", "exclusiveMaximum"}:
                out[key.replace("exclusiveM", "m")] = value
                out[key] = True
            elif key == "format" and value in _FORMATS:
                out["format"] = value
            elif key == "default" and _says_something(value):
                out["default"] = value
        return out

    def _resolve(
        self, node: Schema, path: str, inside: frozenset[str]
    ) -> tuple[Schema, frozenset[str]]:
        """Follow ``$ref`` and single ``allOf``; what stands beside a reference wins."""
        node = dict(node)
        while "$ref" in node or "allOf" in node:
            if "$ref" in node:
                name = node.pop("$ref").removeprefix("#/$defs/")
                if name in inside:
                    raise SchemaError(f"{path}: {name} contains itself")
                inside |= {name}
                node = {**self._definitions[name], **node}
            else:
                (only,) = node.pop("allOf")
                node = {**only, **node}
        return node, inside

    def _union(
        self, node: Schema, branches: list[Schema], path: str, inside: frozenset[str]
    ) -> Schema:
        real = [branch for branch in branches if branch.get("type") != "null"]
        if len(real) == 1:
            return self.convert({**self._resolve(real[0], path, inside)[0], **node}, path, inside)
        if {branch.get("type") for branch in real} == {"integer", "string"}:
            node["x-kubernetes-int-or-string"] = True
            return self.convert(node, path, inside)
        raise SchemaError(f"{path}: a union of {len(real)} types; use one optional field for each")

    def _typed(
        self, node: Schema, path: str, inside: frozenset[str], omitted: Sequence[str]
    ) -> Schema:
        if node.get("x-kubernetes-int-or-string"):
            return {}
        kind = node.get("type")
        if kind is None and "enum" in node:
            kind = "string"
        if kind is None and "const" in node:
            kind = "string"
        match kind:
            case "object":
                return self._object(node, path, inside, omitted)
            case "array":
                out: Schema = {
                    "type": "array",
                    "items": self.convert(node.get("items", {}), f"{path}[]", inside),
                }
                if "x-kubernetes-list-type" not in node:
                    out["x-kubernetes-list-type"] = "set" if node.get("uniqueItems") else "atomic"
                return out
            case "string" | "integer" | "number" | "boolean":
                return {"type": kind}
            case None:
                return {"x-kubernetes-preserve-unknown-fields": True}
            case _:
                raise SchemaError(f"{path}: type {kind!r}")

    def _object(
        self, node: Schema, path: str, inside: frozenset[str], omitted: Sequence[str]
    ) -> Schema:
        out: Schema = {"type": "object"}
        here = {name for name in omitted if "." not in name}
        properties = node.get("properties", {})
        if missing := here - properties.keys():
            raise SchemaError(f"{path}: omits {', '.join(sorted(missing))}, which is not there")
        if properties:
            out["properties"] = {}
        for name, child in sorted(properties.items()):
            if name in here:
                continue
            below = [o.partition(".")[2] for o in omitted if o.startswith(f"{name}.")]
            place = f"{path}.{name}"
            out["properties"][name] = self.convert(
                {**child, OMIT: below} if below else child, place, inside
            )
        if required := [name for name in node.get("required", []) if name not in here]:
            out["required"] = sorted(required)
        extra = node.get("additionalProperties")
        if isinstance(extra, dict):
            out["additionalProperties"] = self.convert(extra, f"{path}.*", inside)
        elif extra is True:
            out["x-kubernetes-preserve-unknown-fields"] = True
        return out


def _says_something(default: Any) -> bool:
    """Whether the API server should write a default into objects; empty ones are noise."""
    return bool(default) and not isinstance(default, dict)


def _reflow(text: str) -> str:
    """Docstring text as ``kubectl explain`` shows it: a line per paragraph, plain quotes."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(p.split()) for p in paragraphs).replace("``", "`")


def crd(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    columns = []
    for column in definition.columns:
        entry: dict[str, Any] = {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.path,
        }
        if column.description:
            entry["description"] = column.description
        if column.wide:
            entry["priority"] = 1
        columns.append(entry)
    names: dict[str, Any] = {
        "categories": [CATEGORY],
        "kind": definition.kind,
        "listKind": f"{definition.kind}List",
        "plural": definition.plural,
        "singular": definition.kind.lower(),
    }
    if definition.short_names:
        names["shortNames"] = list(definition.short_names)
    spec, status = schema_of(definition.spec), schema_of(definition.status)
    schema = {
        "description": _reflow(definition.description),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": definition.crd_name},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced" if definition.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: a CRD is read by people too."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never."""
        del data
        return True


def render(definition: Definition) -> str:
    """The CRD as the YAML text of ``crds/PLURAL.yaml``."""
    head = "# Made from the models by `python -m plimsoll.api.crd --out crds/`. Do not edit.\n"
    body: str = yaml.dump(
        crd(definition), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )
    return head + body


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every CRD into a directory."""
    from plimsoll.api.kinds import DEFINITIONS  # noqa: PLC0415  # the kinds import this module's users

    parser = argparse.ArgumentParser(prog="python -m plimsoll.api.crd", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write into")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    for definition in DEFINITIONS:
        path = out / f"{definition.plural}.yaml"
        path.write_text(render(definition))
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
