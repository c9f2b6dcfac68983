"""Licences: what is declared against what the sources say."""

import pytest

from plimsoll.builder.licence_check import Declared, check_licences, declared_expression
from plimsoll.builder.licencefiles import is_licence_file
from plimsoll.builder.licencetexts import recognise
from plimsoll.builder.sca.tree import DirectoryTree

MIT = """Copyright (c) Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software, to deal in the Software without restriction, including without
limitation the rights to use, copy... The above copyright notice and this permission
notice shall be included in all copies.
"""


def messages(declared, tree=None):
    return [(f.path, f.message) for f in check_licences(declared, tree)]


@pytest.mark.parametrize(
    ("licence", "part"),
    [
        ("Apache2.0", "did you mean Apache-2.0?"),
        ("Whatever", "SPDX lists no licence 'Whatever'"),
        ("MIT OR", "is no SPDX expression"),
        ("MIT Apache-2.0", "is no SPDX expression"),
    ],
)
def test_expressions_that_are_wrong(licence, part):
    ((path, message),) = messages([Declared(licence)])
    assert path == ""
    assert part in message


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "GPL-2.0-or-later WITH Classpath-exception-2.0",
        "LicenseRef-own",
        "(MIT OR ISC) AND X11",
    ],
)
def test_expressions_that_are_right(licence):
    assert messages([Declared(licence)]) == []


def test_nothing_declared():
    assert "no licence is declared" in messages([])[0][1]
    assert "no licence is declared" in messages([Declared(" ")])[0][1]


def test_alternatives_keep_their_meaning_together():
    assert declared_expression(["MIT OR ISC", "Zlib"]) == "(MIT OR ISC) AND Zlib"


def test_texts(tmp_path):
    (tmp_path / "LICENSE").write_text(MIT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/COPYING").write_text("GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007")
    (tmp_path / "sub/NOTICE").write_text("thanks")
    tree = DirectoryTree(tmp_path)
    assert messages([Declared("MIT AND GPL-3.0-or-later")], tree) == []
    assert messages([Declared("MIT")], tree) == [
        ("sub/COPYING", "reads like GPL-3.0, which is not declared")
    ]
    named = [Declared("ISC", "LICENSE"), Declared("GPL-3.0-only")]
    assert messages(named, tree) == [
        ("LICENSE", "reads like MIT, which is not declared for it (ISC)")
    ]
    overridden = [Declared("ISC", "LICENSE", "MIT"), Declared("GPL-3.0-only")]
    assert messages(overridden, tree) == []
    assert messages([Declared("MIT", "gone"), Declared("GPL-3.0-only")], tree)[0] == (
        "gone",
        "is named as license-path, and does not exist",
    )


def test_tags():
    text = "// SPDX-License-Identifier: (MIT OR GPL-2.0-only) */"
    assert recognise(text) == {"MIT", "GPL-2.0"}
    assert recognise("SPDX-License-Identifier: Apache-2.0+") == {"Apache-2.0"}
    assert recognise("") == frozenset()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("LICENSE", True), ("a/COPYING.LESSER", True), ("LICENCE-MIT.txt", True),
        ("UNLICENSE", True), ("foo_LICENSE.txt", True), ("Copyright", True),
        ("license.go", False), ("licensing.md", False), ("README", False),
        ("license_test.py", False),
    ],
)  # fmt: skip
def test_names(path, expected):
    assert is_licence_file(path) is expected
