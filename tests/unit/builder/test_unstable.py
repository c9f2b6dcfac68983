"""Sorting compared with what Go's ``sort.Slice`` (1.26) did to the same numbers."""

from __future__ import annotations

import hashlib

import pytest

from plimsoll.builder.unstable import sort_unstable

#: Length, number of different keys, how they lie; start of the SHA-256 of the places afterwards.
ROWS = """
12 2 0 2e39524a
12 2 2 8279ab66
12 7 0 ade899f2
12 7 2 8279ab66
12 100000 0 a5f599e7
12 100000 2 8279ab66
13 2 0 e2232e38
13 2 2 ac6a0f89
13 7 0 93b1e2bc
13 7 2 ac6a0f89
13 100000 0 99c77ee1
13 100000 2 ac6a0f89
20 2 0 d3abcf42
20 2 2 d0d42ed7
20 7 0 b556811c
20 7 2 d0d42ed7
20 100000 0 e06b04f2
20 100000 2 d0d42ed7
50 2 0 6560b94f
50 2 2 3a5603d2
50 7 0 f6ed103c
50 7 2 3a5603d2
50 100000 0 13ea5d54
50 100000 2 3a5603d2
100 2 0 e2fb49c7
100 2 2 185958f2
100 7 0 e4adb5cc
100 7 2 185958f2
100 100000 0 26fc66f9
100 100000 2 185958f2
1000 2 0 21e6a22b
1000 2 2 a273d0cd
1000 7 0 d7f0a666
1000 7 2 a273d0cd
1000 100000 0 71655655
1000 100000 2 a273d0cd
"""


def numbers(length, keys, pattern):
    state = length * 31 + keys * 7 + pattern
    for at in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (
            (state >> 33) % keys,
            at % keys,
            (length - at) * keys // length,
            at * keys // length,
        )[pattern]


@pytest.mark.parametrize("row", ROWS.split("\n")[1:-1])
def test_the_same_steps(row):
    *shape, expected = row.split()
    items = list(zip(numbers(*map(int, shape)), range(int(shape[0])), strict=True))
    sort_unstable(items, lambda one, other: other[0] < one[0])
    assert [key for key, _ in items] == sorted((key for key, _ in items), reverse=True)
    places = "".join(f"{place} " for _, place in items)
    assert hashlib.sha256(places.encode()).hexdigest()[:8] == expected


def test_hard_cases_end():
    organ = [*range(3000), *range(3000, 0, -1)] * 3
    items = list(organ)
    sort_unstable(items, int.__lt__)
    assert items == sorted(organ)
