"""Every reader of strangers' words on its corpus, and on mutations of it for a moment."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from fuzz_targets import TARGETS
from plimsoll.errors import Error

CORPUS = Path(__file__).parent / "corpus"
_MUTATIONS = 150
#: No input of this size may take longer; the whole corpus of a target takes far less.
_SECONDS = 5.0


def run(name: str, data: bytes) -> None:
    """One input; what is no error of ours fails the test."""
    started = time.monotonic()
    with contextlib.suppress(Error):
        TARGETS[name](data)
    assert time.monotonic() - started < _SECONDS


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name):
    assert inputs(name)
    for path in inputs(name):
        run(name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name):
    """The same ones each time, so that a failure can be looked at again."""
    seeds = [path.read_bytes() for path in inputs(name)]
    chance = random.Random(name)
    for _ in range(_MUTATIONS):
        data = mutated(chance.choice(seeds), chance.choice(seeds), chance)
        try:
            run(name, data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise


def mutated(one: bytes, other: bytes, chance: random.Random) -> bytes:
    """A little different from a seed: bytes changed, cut, repeated, taken from another."""
    data = bytearray(one)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(0, 16))
        match chance.randint(0, 5):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << chance.randint(0, 7)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * chance.randint(1, 8)
            case 3:
                data[at:end] = chance.choice([b"\0", b"\xff" * 4, b"9" * 12, b"..", b"/", b"\n\n"])
            case 4:
                place = chance.randint(0, len(other))
                data[at:end] = other[place : place + chance.randint(0, 64)]
            case _:
                del data[at:]
    return bytes(data)
