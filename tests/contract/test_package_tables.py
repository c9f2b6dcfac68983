"""Small tables of rules: conditions, substitution, inputs, steps, CPE."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from plimsoll.builder.package import inputs
from plimsoll.builder.package.condition import evaluate
from plimsoll.builder.package.cpe import Cpe
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.regex import replace
from plimsoll.builder.package.stepmodel import Input, Step
from plimsoll.builder.package.substitute import replace_all, unknown
from shared_data import DATA


def _table():
    file = DATA / "melange/tables.json"
    return json.loads(file.read_text()) if file.exists() else {}


TABLE = _table()
pytestmark = pytest.mark.skipif(not TABLE, reason="conformance data is not here")


def _rows(name):
    section = TABLE.get(name, [])
    return section["cases"] if isinstance(section, dict) else section


def _lookup(variables):
    def lookup(name):
        if name not in variables:
            raise unknown(name, variables)
        return variables[name]

    return lookup


@pytest.mark.parametrize("case", _rows("condition"), ids=lambda c: c["expression"])
def test_condition(case):
    lookup = _lookup(TABLE["condition"]["variables"])
    assert evaluate(case["expression"], lookup) is case["expect"]


@pytest.mark.parametrize("case", _rows("substitution"), ids=lambda c: c["text"])
def test_substitution(case):
    lookup = _lookup(TABLE["substitution"]["variables"])
    if "error_contains" in case:
        with pytest.raises(PackageConfigError, match=case["error_contains"]):
            replace_all(case["text"], lookup)
    else:
        assert replace_all(case["text"], lookup) == case["expect"]


@pytest.mark.parametrize("case", _rows("var_transform"), ids=lambda c: c["match"])
def test_var_transform(case):
    assert replace(case["match"], case["replace"], case["version"]) == case["expect"]


@pytest.mark.parametrize("case", _rows("pipeline_inputs"), ids=lambda c: c["name"])
def test_pipeline_inputs(case):
    given = case["with"]
    inherited = {k[len("${{inputs.") : -2]: v for k, v in given.items() if k.startswith("${{")}
    own = {k: v for k, v in given.items() if not k.startswith("${{")}
    for ordered in (own, dict(reversed(own.items()))):
        values = inputs.resolve(ordered, inherited, {})
        assert {f"${{{{inputs.{k}}}}}": v for k, v in values.items()} == case["expect"]


@pytest.mark.parametrize("case", _rows("validate_inputs"), ids=str)
def test_validate_inputs(case):
    declared = {name: Input(**about) for name, about in case["inputs"].items()}
    if "error" in case:
        with pytest.raises(PackageConfigError) as caught:
            inputs.complete(case["with"], declared, "p")
        assert case["error"] in caught.value.message
    else:
        assert inputs.complete(case["with"], declared, "p") == case["with"]
        inputs.resolve(case["with"], {}, {})


@pytest.mark.parametrize("case", _rows("steps"), ids=lambda c: c["name"])
def test_steps(case):
    def check():
        for step in case["pipeline"]:
            Step.model_validate(step, by_alias=True, by_name=False)

    if case["valid"]:
        check()
    else:
        with pytest.raises(ValidationError):
            check()


@pytest.mark.parametrize("case", _rows("cpe"), ids=lambda c: c["name"])
def test_cpe(case):
    if case["valid"]:
        assert Cpe.model_validate(case["cpe"]).bind("1") == "cpe:2.3:a:b:c:1:*:*:*:*:*:*:*"
    else:
        with pytest.raises(ValidationError):
            Cpe.model_validate(case["cpe"])
