from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from plimsoll.api.base import Model
from plimsoll.api.crd import SIZE_BUDGET, SchemaError, crd, main, render, schema_of
from plimsoll.api.kinds import DEFINITIONS
from plimsoll.api.meta import cel, listed_by

CRDS = Path(__file__).parents[3] / "crds"
KINDS = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)


def walk(node, path=""):
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from walk(node[key], f"{path}[]")


def schema(definition):
    return crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@KINDS
def test_the_committed_crd_is_the_generated_one(definition):
    path = CRDS / f"{definition.plural}.yaml"
    assert path.read_text() == render(definition), "run: python -m plimsoll.api.crd --out crds/"


def test_there_is_no_other_crd():
    assert {p.name for p in CRDS.iterdir()} == {f"{d.plural}.yaml" for d in DEFINITIONS}


@KINDS
def test_size_fits_into_an_annotation(definition):
    assert len(render(definition)) < SIZE_BUDGET


@KINDS
def test_every_node_has_one_type(definition):
    for path, node in walk(schema(definition)):
        kinds = [
            "type" in node,
            node.get("x-kubernetes-int-or-string", False),
            node.get("x-kubernetes-preserve-unknown-fields", False),
        ]
        assert sum(map(bool, kinds)) == 1, path
        assert not {"$ref", "anyOf", "allOf", "oneOf", "title", "const"} & node.keys(), path


@KINDS
def test_every_field_of_the_spec_is_documented(definition):
    undocumented = {
        path
        for path, node in walk(schema(definition)["properties"]["spec"], "spec")
        if not path.endswith("[]") and not node.get("description")
    }
    assert undocumented == set()


@KINDS
def test_rules_apply_to_bounded_values_only(definition):
    """The cost budget of CEL counts what could be there."""
    for path, node in walk(schema(definition)):
        if node.get("type") == "array" and any(
            "x-kubernetes-validations" in child for _, child in walk(node["items"])
        ):
            assert "maxItems" in node, path


def test_yaml_has_no_anchors():
    for definition in DEFINITIONS:
        text = render(definition)
        assert yaml.safe_load(text)["metadata"]["name"] == definition.crd_name
        assert " &id" not in text


class Inner(Model):
    """An inner thing."""

    name: str
    """Its ``name``, said
    over two lines.

    And more."""


class Outer(Model):
    model_config = cel(("has(self.maybe)", "must be there"))

    maybe: Inner | None = None
    """Perhaps."""

    choice: Literal["a", "b"] = "a"
    only: Literal["x"] = "x"
    port: int | str = 0
    above: Annotated[float, Field(gt=0)] = 1.5
    unique: set[str] = Field(default_factory=set)
    by_name: Annotated[list[Inner], Field(json_schema_extra=listed_by("name"))]
    labels: dict[str, str]
    empty: str = ""
    full: tuple[str, ...] = ("a",)


def test_schema_rules():
    got = schema_of(Outer)
    properties = got["properties"]
    assert got["x-kubernetes-validations"] == [
        {"rule": "has(self.maybe)", "message": "must be there"}
    ]
    assert properties["maybe"] == {
        "description": "Perhaps.",
        "type": "object",
        "properties": {
            "name": {
                "description": "Its `name`, said over two lines.\n\nAnd more.",
                "type": "string",
            }
        },
        "required": ["name"],
    }
    assert properties["choice"] == {"type": "string", "enum": ["a", "b"], "default": "a"}
    assert properties["only"] == {"type": "string", "enum": ["x"], "default": "x"}
    assert properties["port"] == {"x-kubernetes-int-or-string": True}
    assert properties["above"] == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "default": 1.5,
    }
    assert properties["unique"]["x-kubernetes-list-type"] == "set"
    assert properties["byName"]["x-kubernetes-list-map-keys"] == ["name"]
    assert properties["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert "default" not in properties["empty"]
    assert properties["full"]["default"] == ["a"]


class Tree(Model):
    children: list["Tree"]


class Either(Model):
    value: Inner | str = ""


class Picky(Model):
    inner: Annotated[Inner, Field(json_schema_extra={"x-plimsoll-omit": ["nam"]})]


@pytest.mark.parametrize(
    ("model", "text"),
    [(Tree, "contains itself"), (Either, "union of 2"), (Picky, "omits nam")],
)
def test_what_cannot_be_said_is_an_error(model, text):
    with pytest.raises(SchemaError, match=text):
        schema_of(model)


def test_command_writes_what_is_committed(tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    for path in CRDS.iterdir():
        assert (tmp_path / path.name).read_text() == path.read_text()
    assert "imagebuilds.yaml" in capsys.readouterr().out
