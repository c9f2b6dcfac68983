"""From what upstream calls a version to an APK version, and which of many is the one to take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plimsoll.apk.version import Version, try_version
from plimsoll.builder.package.regex import compile_pattern, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.builder.package.update import Update
    from plimsoll.builder.updates.model import Candidate

#: Longest name that is looked at.
MAX_NAME: Final = 256

#: ``1.2-rc.3``, ``1.2b1``, ``1.2.dev4``: numbers, then a word, then perhaps a number.
_WORDED = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)[-._~]?(?P<word>[A-Za-z]+)[-._]?(?P<number>[0-9]*)", re.ASCII
)
_PRE: Final = {
    "alpha": "alpha",
    "a": "alpha",
    "beta": "beta",
    "b": "beta",
    "pre": "pre",
    "preview": "pre",
    "prerelease": "pre",
    "rc": "rc",
    "cr": "rc",
    "c": "rc",
}
_POST: Final = {"p": "p", "pl": "p", "patch": "p", "post": "p"}
#: Words of versions that are not for the public and have no place in the grammar.
_UNSTABLE = re.compile(r"(?i)(?:^|[^a-z])(?:dev|snapshot|nightly|canary|unstable)(?:[^a-z]|$)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts of an answer, and how a name becomes a version.

    Attributes:
        ignore: expressions over upstream's names.
        transforms: pattern and replacement, in order.
        separator: what stands between parts; becomes a dot.
        prerelease: whether versions before a release count.
    """

    strip_prefix: str = ""
    strip_suffix: str = ""
    filter_prefix: str = ""
    filter_contains: str = ""
    separator: str = ""
    ignore: tuple[Any, ...] = ()
    transforms: tuple[tuple[str, str], ...] = ()
    prerelease: bool = False

    def version(self, name: str) -> Version | None:
        """The version that a name stands for; ``None`` where it does not count or is none."""
        if len(name) > MAX_NAME or not name.startswith(self.filter_prefix):
            return None
        if self.filter_contains not in name or any(p.search(name) for p in self.ignore):
            return None
        text = name.removeprefix(self.strip_prefix)
        if self.strip_suffix:
            text = text.removesuffix(self.strip_suffix)
        for pattern, template in self.transforms:
            text = replace(pattern, template, text)
        if self.separator:
            text = text.replace(self.separator, ".")
        found = normalise(text)
        if found is None or (found.pre and not self.prerelease):
            return None
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """A version, and the candidate that it comes from."""

    version: Version
    candidate: Candidate


def rules_of(update: Update) -> Rules:
    """The rules of an ``update`` section.

    Raises:
        PackageConfigError: an expression is none.
    """
    source: Any = (
        update.release_monitor or update.github or update.git or update.oci or update.crane
    )

    def given(*names: str) -> str:
        return next((value for name in names if (value := getattr(source, name, ""))), "")

    for transform in update.version_transform:
        compile_pattern(transform.match)
    return Rules(
        strip_prefix=given("strip_prefix"),
        strip_suffix=given("strip_suffix"),
        filter_prefix=given("tag_filter_prefix", "tag_filter", "version_filter_prefix"),
        filter_contains=given("tag_filter_contains", "version_filter_contains"),
        separator=update.version_separator,
        ignore=tuple(map(compile_pattern, update.ignore_regex_patterns)),
        transforms=tuple((t.match, t.replace) for t in update.version_transform),
        prerelease=update.enable_prerelease_tags,
    )


def normalise(text: str) -> Version | None:
    """The APK version that a text means, or ``None``.

    A leading ``v`` falls away; ``-rc.1``, ``rc1`` and ``b2`` become ``_rc1`` and ``_beta2``,
    ``p1`` and ``.post1`` become ``_p1``. Texts that mean no version of their own (``1.2-3``,
    ``1.2+build``, ``1.2-SNAPSHOT``) are none: a guess would be wrong for some.
    """
    text = text.strip()
    if len(text) > MAX_NAME:
        return None
    if re.match(r"[vV][0-9]", text):
        text = text[1:]
    if _UNSTABLE.search(text):
        return None
    match = _WORDED.fullmatch(text)
    if match is not None:
        word, number = match["word"].lower(), match["number"]
        if word in _PRE and (number or len(word) > 1):
            return try_version(f"{match['numbers']}_{_PRE[word]}{number}")
        if word in _POST and (number or len(word) > 1):
            return try_version(f"{match['numbers']}_{_POST[word]}{number}")
    found = try_version(text)
    return None if found is None or found.revision is not None else found


def choose(
    candidates: Iterable[Candidate], rules: Rules, current: Version | None
) -> tuple[Choice, Choice] | None:
    """The next and the newest of all versions above the current one.

    Args:
        candidates: what upstream has.
        rules: what counts of it.
        current: what there is; ``None`` lets every version count.

    Returns:
        ``None`` where nothing is above.
    """
    found: dict[Version, Choice] = {}
    for candidate in candidates:
        if candidate.prerelease and not rules.prerelease:
            continue
        version = rules.version(candidate.name)
        if version is not None and (current is None or version > current):
            found.setdefault(version, Choice(version, candidate))
    if not found:
        return None
    return found[min(found)], found[max(found)]


def known(candidates: Sequence[Candidate], rules: Rules) -> int:
    """How many candidates count."""
    return sum(rules.version(candidate.name) is not None for candidate in candidates)
