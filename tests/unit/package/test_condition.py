from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.builder.package.condition import bind, evaluate
from plimsoll.builder.package.errors import ConditionError, SubstitutionError
from plimsoll.builder.package.substitute import unknown

VALUES = {"a.b": "x", "quote": 'it\'s "q" \\'}


def _lookup(name):
    if name not in VALUES:
        raise unknown(name, VALUES)
    return VALUES[name]


@pytest.mark.parametrize(
    "expression",
    [
        "a", "'a'", "'a' ==", "== 'a'", "'a' == 'a' &&", "('a' == 'a'", "'a' == 'a')", "!'a'",
        "'a' = 'a'", "'a == 'b'", "'a' == 'a' 'b'", "'a' & 'b'", "true", "${{a.b", "()",
    ],
)  # fmt: skip
def test_what_is_no_condition(expression):
    with pytest.raises(ConditionError, match="is not valid"):
        evaluate(expression, _lookup)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("", True),
        ("  \n", True),
        # Both operators bind alike: (true || true) && false.
        ("'a' == 'a' || 'a' == 'a' && 'a' == 'b'", False),
        ("'a' == 'a' || ('a' == 'a' && 'a' == 'b')", True),
        ("'${{a.b}}' == 'x'", True),
        ("'-${{a.b}}-' == \"-x-\"", True),
        ("${{quote}} == 'it\\'s \"q\" \\\\'", True),
        ("((('a' == 'a')))", True),
    ],
)
def test_conditions(expression, holds):
    assert evaluate(expression, _lookup) is holds


def test_unknown_variables_are_named():
    with pytest.raises(SubstitutionError, match=r"'a.c' is not defined.*did you mean 'a.b'"):
        evaluate("${{a.c}} == 'x'", _lookup)


def test_depth_and_length_are_bounded():
    with pytest.raises(ConditionError, match="too many parentheses"):
        evaluate("(" * 1000 + "'a' == 'a'" + ")" * 1000, _lookup)
    with pytest.raises(ConditionError, match="too long"):
        evaluate("'a' == '" + "a" * 100_000 + "'", _lookup)


@given(st.text(), st.text())
def test_bound_variables_mean_what_variables_mean(value, other):
    def lookup(name):
        return {"v": value, "w": other}[name]

    for expression in ("${{v}} == ${{w}}", "${{ v }} == ${{w}} || '' != ''"):
        bound = bind(expression, {"v": value})
        if "${{" not in value:
            assert evaluate(bound, lookup) == (value == other)
