"""Licences: what is declared against what the sources say."""

import pytest

from plimsoll.builder.licence_check import Declared, check_licences, declared_expression
from plimsoll.builder.licencefiles import is_licence_file
from plimsoll.builder.licencetexts import recognise
from plimsoll.builder.sca.tree import DirectoryTree

_AS_IS = """
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
MIT = f"""Copyright (c) Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal in the Software
without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
{_AS_IS}"""
ISC = """Copyright (c) 2020, Somebody Else

Permission to use, copy, modify, and/or distribute this software for any purpose with or without
fee is hereby granted, provided that the above copyright notice and this permission notice appear
in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS
SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE
AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.
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
    (tmp_path / "sub/COPYING").write_text(ISC)
    (tmp_path / "sub/NOTICE").write_text("thanks")
    tree = DirectoryTree(tmp_path)
    assert messages([Declared("MIT AND ISC")], tree) == []
    assert messages([Declared("MIT")], tree) == [
        ("sub/COPYING", "reads like ISC, which is not declared")
    ]
    named = [Declared("Zlib", "LICENSE"), Declared("ISC")]
    assert messages(named, tree) == [
        ("LICENSE", "reads like MIT, which is not declared for it (Zlib)")
    ]
    overridden = [Declared("Zlib", "LICENSE", "MIT"), Declared("ISC")]
    assert messages(overridden, tree) == []
    assert messages([Declared("MIT", "gone"), Declared("ISC")], tree)[0] == (
        "gone",
        "is named as license-path, and does not exist",
    )


def test_texts_that_differ_a_little():
    changed = MIT.replace("Somebody", "The Authors of Something, 1999-2024").upper()
    assert recognise(changed.replace("\n", "\n// ")) == {"MIT"}
    assert recognise(f"{MIT}\n{'-' * 70}\n{ISC}") == {"MIT", "ISC"}
    assert recognise("A licence of my own: do as I do.") == frozenset()


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
