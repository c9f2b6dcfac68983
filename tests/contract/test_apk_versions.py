"""The reference's tables of version order, version parts, dependencies and choice."""

import json

import pytest

from plimsoll.apk.version import Constraint, InvalidVersionError, Version
from shared_data import shared


def rows(name):
    try:
        text = (shared("version") / name).read_text()
    except pytest.skip.Exception:
        return []
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def test_order():
    table = rows("compare.tsv")
    assert len(table) > 400 or shared("version")
    wrong = []
    for left, operator, right in table:
        a, b = Version(left), Version(right)
        actual = "<" if a < b else ">" if a > b else "="
        if actual != operator:
            wrong.append((left, operator, right, actual))
    assert not wrong


@pytest.mark.parametrize("row", rows("parse.tsv"), ids=lambda row: row[0])
def test_parts(row):
    if row[1] == "INVALID":
        with pytest.raises(InvalidVersionError, match="is not an APK version"):
            Version(row[0])
        return
    version = Version(row[0])
    assert ".".join(map(str, version.numbers)) == row[1]
    assert version.letter == row[2]
    assert (version.pre or "") == row[3]
    assert version.pre_number == int(row[4])
    assert (version.revision or 0) == int(row[5])


@pytest.mark.parametrize("row", rows("dependency-strings.tsv"), ids=lambda row: row[0])
def test_dependency(row):
    text, name, version, operator, pin = (*row, "", "", "", "")[:5]
    constraint = Constraint.parse(text)
    assert constraint.name == name
    assert constraint.version_text == version
    assert constraint.operator.value == operator.replace("any", "")
    assert constraint.pin == pin
    assert Constraint.read(text) == constraint


def test_choice():
    data = json.loads((shared("version") / "choose.json").read_text())
    for case in data["cases"]:
        constraint = Constraint.parse(f"pkg{case['request']}")
        possible = [
            Version(p["version"])
            for p in data["available"]
            if constraint.matches(Version(p["version"]))
            and p.get("pin") in {None, case["pin"], "pinA" if case["installed"] else None}
        ]
        chosen = (
            case["installed"]
            if case["installed"] and constraint.matches(Version(case["installed"]))
            else max(possible, default=None)
        )
        assert (None if chosen is None else str(chosen)) == case["expect"], case
