from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "hostile-input.md"


def test_every_case_has_a_test_that_exists():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cases = [row for row in rows if "::" in row]
    assert len(cases) >= 30
    for row in cases:
        for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", row.rpartition(" | ")[2]):
            text = (TESTS / file).read_text()
            assert re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), row


def test_the_limits_are_those_of_the_command():
    from plimsoll.builder.cli.build import build  # noqa: PLC0415  (of this test alone)

    options = {name: option for option in build.params for name in option.opts}
    for name, default in re.findall(r"\| `(--max-[\w-]+)` \| (\d+ \w+) \|", PAGE.read_text()):
        assert str(options[name].default) == default.replace(" ", "")
