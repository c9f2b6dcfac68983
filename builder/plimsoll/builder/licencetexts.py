"""Recognising licences by their texts."""

from __future__ import annotations

import re

_SPACE = re.compile(r"[^a-z0-9]+")
_TAG = re.compile(r"SPDX-License-Identifier:\s*(.+)")
_PERMISSION = "permission is hereby granted free of charge to any person obtaining a copy"
_BSD = "redistribution and use in source and binary forms with or without modification"
_CLAUSE_3 = "may be used to endorse or promote products derived from this software"

#: SPDX name → phrases that its text has, and phrases that it has not. Texts are compared without
#: case, punctuation and line breaks.
_TEXTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Apache-2.0", ("apache license version 2 0", "terms and conditions for use reproduction"), ()),
    ("MIT", (_PERMISSION, "the above copyright notice and this permission notice shall be included",
             "without restriction including without limitation the rights to use"),
     ("except as contained in this notice", "advertising or otherwise to promote")),
    ("X11", (_PERMISSION, "except as contained in this notice"), ()),
    ("BSD-2-Clause", (_BSD, "redistributions in binary form must reproduce"),
     (_CLAUSE_3, "all advertising materials mentioning")),
    ("BSD-3-Clause", (_BSD, _CLAUSE_3), ("all advertising materials mentioning",)),
    ("BSD-4-Clause", (_BSD, _CLAUSE_3, "all advertising materials mentioning"), ()),
    ("ISC", ("permission to use copy modify and or distribute this software for any purpose",
             "provided that the above copyright notice"), ()),
    ("Zlib", ("this software is provided as is without any express or implied warranty",
              "altered source versions must be plainly marked as such"), ()),
    ("GPL-2.0", ("gnu general public license version 2 june 1991",), ()),
    ("GPL-3.0", ("gnu general public license version 3 29 june 2007",),
     ("this version of the gnu lesser general public license incorporates",)),
    ("LGPL-2.0", ("gnu library general public license version 2 june 1991",), ()),
    ("LGPL-2.1", ("gnu lesser general public license version 2 1 february 1999",), ()),
    ("LGPL-3.0", ("gnu lesser general public license version 3 29 june 2007",), ()),
    ("AGPL-3.0", ("gnu affero general public license version 3 19 november 2007",), ()),
    ("MPL-2.0", ("mozilla public license version 2 0", "covered software"), ()),
    ("MPL-1.1", ("mozilla public license version 1 1", "covered code"), ()),
    ("EPL-2.0", ("eclipse public license v 2 0",), ()),
    ("EPL-1.0", ("eclipse public license v 1 0",), ()),
    ("CC0-1.0", ("cc0 1 0 universal",), ()),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",), ()),
    ("BSL-1.0", ("boost software license version 1 0 august 17th 2003",), ()),
    ("PSF-2.0", ("psf license agreement for python", "python software foundation license"), ()),
    ("OpenSSL", ("openssl license", "openssl software foundation"), ()),
    ("Artistic-2.0", ("the artistic license 2 0",), ()),
    ("WTFPL", ("do what the fuck you want to public license",), ()),
    ("OFL-1.1", ("sil open font license version 1 1",), ()),
    ("BUSL-1.1", ("business source license 1 1",), ()),
    ("SSPL-1.0", ("server side public license version 1",), ()),
)  # fmt: skip

#: Bytes of a licence file that are read.
MAX_TEXT = 256 << 10


def recognise(text: str) -> frozenset[str]:
    """SPDX names of the licences whose texts, or tags, a file has; empty if it has none known.

    The GNU licences are named without ``-only`` or ``-or-later``: which of them is meant stands
    elsewhere than in their text.
    """
    plain = _SPACE.sub(" ", text.lower())
    found = {
        name
        for name, present, absent in _TEXTS
        if all(p in plain for p in present) and not any(p in plain for p in absent)
    }
    for match in _TAG.finditer(text):
        words = re.split(r"[()\s]+", match[1])
        found |= {base_name(w) for w in words if w and w not in {"AND", "OR", "WITH", "*/", "-->"}}
    return frozenset(found)


def base_name(name: str) -> str:
    """A licence without ``-only``, ``-or-later`` and ``+``."""
    return name.removesuffix("-only").removesuffix("-or-later").removesuffix("+")
