"""Debian versions as APK versions, and Debian's own order (deb-version(7))."""

from __future__ import annotations

import functools
import re

_UPSTREAM = re.compile(r"([0-9]+(?:\.[0-9]+)*)([a-z]?(?![a-z]))?(.*)", re.DOTALL)
_PRE = {"alpha": "alpha", "beta": "beta", "pre": "pre", "rc": "rc", "a": "alpha", "b": "beta"}
_STABLE = re.compile(r"([+~])deb([0-9]+)u([0-9]+)")


def apk_version(debian: str) -> str:
    """Map ``[epoch:]upstream[-revision]`` to ``N.N…[a][_rcN][_pN]-rN``.

    The epoch is dropped: it repairs the order of versions of different years, and a repository
    made here holds one version of each package. ``~rc1`` becomes ``_rc1``; what else follows the
    numbers of the upstream version becomes one number behind ``_p`` (``_git`` if it says so), or
    behind ``_pre`` after a ``~``. The revision ``9+deb12u10`` becomes ``-r9012010``, so that
    security updates sort as they should.
    """
    upstream, _, revision = (
        debian.partition(":")[2].rpartition("-") if ":" in debian else (debian.rpartition("-"))
    )
    if not upstream:
        upstream, revision = revision, "0"
    match = _UPSTREAM.match(upstream)
    if match is None:
        # No leading number at all: keep the digits, they are what orders such versions.
        match = _UPSTREAM.match(f"0.{_digits(upstream)}")
    assert match is not None
    numbers = ".".join(str(int(n)) if len(n) > 1 else n for n in match[1].split("."))
    return f"{numbers}{match[2] or ''}{_suffix(match[3])}-r{_revision(revision)}"


def _suffix(rest: str) -> str:
    if not rest:
        return ""
    if rest[0] == "~" or (m := re.match(r"[.+-]?(alpha|beta|rc|pre)", rest)):
        m = re.match(r"[~.+-]?([a-z]*)\.?([0-9]*)(.*)", rest, re.DOTALL)
        assert m is not None
        word = _PRE.get(m[1], "pre")
        number = m[2] if m[1] in _PRE else _digits(rest)
        tail = _digits(m[3]) if m[1] in _PRE else ""
        return f"_{word}{number}" + (f"_p{tail}" if tail else "")
    word = "git" if "git" in rest else "p"
    return f"_{word}{_digits(rest)}"


def _digits(text: str) -> str:
    """All digits, at most 18 of them: enough for a date and a commit's beginning."""
    return re.sub(r"[^0-9]", "", text)[:18]


def _revision(text: str) -> int:
    """``major * 10^6 + 1000 * release + update``; a ``~`` puts it below the bare ``major``."""
    offset = 0
    for sign, release, update in _STABLE.findall(text):
        offset += (int(release) * 1000 + int(update)) - (500_000 if sign == "~" else 0)
    rest = _STABLE.sub("", text)
    numbers = [int(n) for n in re.findall(r"[0-9]+", rest)[:3]] or [0]
    minor = sum(n * factor for n, factor in zip(numbers[1:], (100_000, 1), strict=False))
    return max(0, numbers[0] * 1_000_000 + offset + minor)


def _order(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part_key(text: str) -> list[tuple[tuple[int, ...], int]]:
    """Alternating non-digit and digit runs, comparable as a list."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", text)
    return [
        ((*(_order(c) for c in word), 0), int(number or 0))
        for word, number in pairs
        if word + number
    ]


@functools.cache
def debian_key(version: str) -> tuple[int, object, object]:
    """A key that sorts versions as dpkg does."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    if not upstream:
        upstream, revision = rest, "0"
    end = ((0,), 0)
    return int(epoch), [*_part_key(upstream), end], [*_part_key(revision), end]
