"""APK versions and dependency constraints: grammar, order and matching.

A version is ``N(.N)*[a-z]?(_alpha|_beta|_pre|_rc)N?(_cvs|_svn|_git|_hg|_p)N?(-rN)?``.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)"
    r"(?:_(?P<pre>alpha|beta|pre|rc)(?P<pre_number>[0-9]*))?"
    r"(?:_(?P<post>cvs|svn|git|hg|p)(?P<post_number>[0-9]*))?"
    r"(?:-r(?P<revision>[0-9]+))?",
    re.ASCII,
)
_CONSTRAINT = re.compile(
    r"(?P<name>[^@=><~\s!][^@=><~\s]*)(?:(?P<operator>[=><~]+)(?P<version>[^@\s]+))?"
    r"(?:@(?P<pin>[a-zA-Z0-9]+))?",
    re.ASCII,
)
_PRE = {"alpha": 0, "beta": 1, "pre": 2, "rc": 3, None: 4}
_POST = {None: 0, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}

#: Longer texts are refused before they are parsed: no real version comes near it.
MAX_VERSION_LENGTH = 512
#: The same for a whole dependency.
MAX_CONSTRAINT_LENGTH = 4096


class InvalidVersionError(Error):
    """A text that is no APK version."""

    reason = "InvalidVersion"


class InvalidConstraintError(Error):
    """A text that is no dependency."""

    reason = "InvalidConstraint"


_Key = tuple[tuple[int, ...], str, int, int, int, int, int]


@functools.total_ordering
class Version:
    """One version, ordered as ``apk`` orders them.

    Two texts that mean the same place in the order (``1`` and ``1-r0``) are equal.

    Attributes:
        text: as it was written.
        numbers: the dotted numbers.
        letter: ``""`` or one lower-case letter.
        pre: ``alpha``, ``beta``, ``pre``, ``rc`` or ``None``; ``pre_number`` is 0 if absent.
        post: ``cvs``, ``svn``, ``git``, ``hg``, ``p`` or ``None``; ``post_number`` likewise.
        revision: the number after ``-r``, or ``None`` where there is none (it sorts as 0).
    """

    __slots__ = (
        "_key",
        "letter",
        "numbers",
        "post",
        "post_number",
        "pre",
        "pre_number",
        "revision",
        "text",
    )

    text: str
    numbers: tuple[int, ...]
    letter: str
    pre: str | None
    pre_number: int
    post: str | None
    post_number: int
    revision: int | None

    def __init__(self, text: str) -> None:
        match = _VERSION.fullmatch(text) if len(text) <= MAX_VERSION_LENGTH else None
        if match is None:
            raise InvalidVersionError(
                f"{text[:80]!r} is not an APK version",
                hint="write numbers with dots, an optional letter, _alpha/_beta/_pre/_rc, "
                "_cvs/_svn/_git/_hg/_p and -rN, such as 1.2.3a_rc1-r0",
            )
        self.text = text
        self.numbers = tuple(map(int, match["numbers"].split(".")))
        self.letter = match["letter"]
        self.pre = match["pre"]
        self.pre_number = int(match["pre_number"] or 0)
        self.post = match["post"]
        self.post_number = int(match["post_number"] or 0)
        self.revision = None if match["revision"] is None else int(match["revision"])
        self._key: _Key = (
            self.numbers,
            self.letter,
            _PRE[self.pre],
            self.pre_number,
            _POST[self.post],
            self.post_number,
            self.revision or 0,
        )

    @classmethod
    def parse(cls, text: str) -> Version:
        """Parse ``text``, remembering recent results.

        Raises:
            InvalidVersionError: ``text`` does not follow the grammar.
        """
        return _parse_version(text)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Version({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def has_prefix(self, prefix: Version) -> bool:
        """Whether ``~prefix`` matches this version.

        The numbers of ``prefix`` must begin this version's; what else ``prefix`` says (letter,
        suffixes, revision) must be the same here, with no further number between.
        """
        wanted = prefix.numbers
        if self.numbers[: len(wanted)] != wanted:
            return False
        details = bool(prefix.letter or prefix.pre or prefix.post or prefix.revision is not None)
        if len(self.numbers) > len(wanted):
            return not details
        return (
            (not prefix.letter or prefix.letter == self.letter)
            and (not prefix.pre or (prefix.pre, prefix.pre_number) == (self.pre, self.pre_number))
            and (
                not prefix.post
                or (prefix.post, prefix.post_number) == (self.post, self.post_number)
            )
            and (prefix.revision is None or prefix.revision == (self.revision or 0))
        )


@functools.lru_cache(maxsize=65536)
def _parse_version(text: str) -> Version:
    return Version(text)


class Operator(Enum):
    """How a constraint compares; ``ANY`` is a bare name."""

    ANY = ""
    EQUAL = "="
    GREATER = ">"
    LESS = "<"
    GREATER_EQUAL = ">="
    LESS_EQUAL = "<="
    PREFIX = "~"


_OPERATORS = {o.value: o for o in Operator if o.value} | {"=~": Operator.PREFIX}
_MATCH: dict[Operator, Callable[[Version, Version], bool]] = {
    Operator.EQUAL: lambda have, want: have == want,
    Operator.GREATER: lambda have, want: have > want,
    Operator.LESS: lambda have, want: have < want,
    Operator.GREATER_EQUAL: lambda have, want: have >= want,
    Operator.LESS_EQUAL: lambda have, want: have <= want,
    Operator.PREFIX: Version.has_prefix,
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """One item of a world, of ``depends``, ``provides``, ``install_if`` or ``replaces``.

    Attributes:
        name: a package name or a virtual one (``so:…``, ``cmd:…``, ``/bin/sh``).
        operator: how to compare.
        version: what to compare with; ``None`` if ``operator`` is ``ANY`` or, from ``read``, if
            ``version_text`` is no version.
        pin: the tag of the repository (``@tag``), or ``""``.
        negated: ``!name``: a conflict.
        version_text: the version as written, ``""`` for a bare name.
    """

    name: str
    operator: Operator = Operator.ANY
    version: Version | None = None
    pin: str = ""
    negated: bool = False
    version_text: str = ""

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Parse ``[!]name[operator version][@pin]``, remembering recent results.

        ``so:NAME=V`` without ``-rN`` is read as version ``0.V``, so that every real package
        version sorts above a bare library version.

        Raises:
            InvalidConstraintError: the text has no such form, or the operator is unknown.
            InvalidVersionError: what stands behind the operator is no version.
        """
        constraint = _parse_constraint(text)
        if constraint.version_text and constraint.version is None:
            Version(constraint.version_text)  # raises, and says why
        return constraint

    @classmethod
    def read(cls, text: str) -> Constraint:
        """Parse what a repository says: like ``parse``, but an odd version is kept as text.

        Real indexes hold some (``pc:librtmp=v2.4``, ``opensmtpd=6.8.0p2-r4``); one of them must
        not make the rest unusable. Such a constraint is met by exactly the same text.

        Raises:
            InvalidConstraintError: the text has no such form, or the operator is unknown.
        """
        return _parse_constraint(text)

    def matches(self, version: Version) -> bool:
        """Whether ``version`` satisfies operator and version; name, pin and ``!`` are not seen."""
        if self.operator is Operator.ANY:
            return True
        return self.version is not None and _MATCH[self.operator](version, self.version)

    def accepts(self, version_text: str) -> bool:
        """Like ``matches`` for a version as text, which may be odd: equal texts match then."""
        if self.operator is Operator.ANY:
            return True
        if self.version is not None and (version := try_version(version_text)) is not None:
            return _MATCH[self.operator](version, self.version)
        return self.version_text == version_text and "=" in self.operator.value

    def __str__(self) -> str:
        return (
            f"{'!' * self.negated}{self.name}{self.operator.value}{self.version_text}"
            f"{'@' * bool(self.pin)}{self.pin}"
        )


@functools.lru_cache(maxsize=65536)
def try_version(text: str) -> Version | None:
    """The version, or ``None`` where the text is none."""
    try:
        return Version(text)
    except InvalidVersionError:
        return None


@functools.lru_cache(maxsize=65536)
def _parse_constraint(text: str) -> Constraint:
    negated = text.startswith("!")
    match = (
        _CONSTRAINT.fullmatch(text, int(negated)) if len(text) <= MAX_CONSTRAINT_LENGTH else None
    )
    if match is None:
        raise InvalidConstraintError(
            f"{text[:120]!r} is not a package name with an optional version",
            hint="write name, name=1.2.3-r0, name>=1.2, name~1.2 or name=1.2@tag",
        )
    name, pin = match["name"], match["pin"] or ""
    if not match["operator"]:
        return Constraint(name, pin=pin, negated=negated)
    operator = _OPERATORS.get(match["operator"])
    if operator is None:
        raise InvalidConstraintError(
            f"{text[:120]!r} has the unknown operator {match['operator'][:20]!r}",
            hint="use one of = > < >= <= ~ =~",
        )
    version_text = match["version"]
    version = try_version(version_text)
    if version is not None and version.revision is None and name.startswith("so:"):
        version_text = f"0.{version_text}"
        version = try_version(version_text)
    return Constraint(name, operator, version, pin, negated, version_text)
