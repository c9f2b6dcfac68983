"""Which identities may sign: by text, or by pattern.

Patterns are those of RE2, as policy-controller's and cosign's are: matched in linear time whatever
a policy or a certificate says, and anywhere in the text unless anchored by ``^`` and ``$``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import re2  # type: ignore[import-untyped]

from plimsoll.signing.errors import InvalidIdentityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.signing.results import Identity

PATTERN_LIMIT: Final = 4096
_MEMORY: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class TextRule:
    """What a text must be: exactly this, or something that a pattern is found in."""

    exact: str | None = None
    pattern: Any = None

    def __call__(self, text: str) -> bool:
        """Whether it is; never so for an empty text."""
        if not text:
            return False
        if self.exact is not None:
            return text == self.exact
        return self.pattern.search(text) is not None

    @classmethod
    def of(cls, what: str, exact: str | None, pattern: str | None) -> TextRule:
        """Make the rule from exactly one of both.

        Raises:
            InvalidIdentityError: if none or both are given, or the pattern is none.
        """
        if bool(exact) == bool(pattern):
            raise InvalidIdentityError(
                f"the {what} needs either a text or a pattern, not {'both' if exact else 'none'}"
            )
        return cls(exact=exact) if exact else cls(pattern=_compile(what, pattern or ""))


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """An issuer and a subject; both must match."""

    subject: TextRule
    issuer: TextRule

    def __call__(self, identity: Identity) -> bool:
        """Whether a proven identity is one that this rule means."""
        return (
            identity.kind == "certificate"
            and self.issuer(identity.issuer)
            and self.subject(identity.subject)
        )

    @classmethod
    def of(
        cls,
        *,
        subject: str | None = None,
        subject_pattern: str | None = None,
        issuer: str | None = None,
        issuer_pattern: str | None = None,
    ) -> IdentityRule:
        """Make a rule; raises ``InvalidIdentityError``."""
        return cls(
            TextRule.of("subject", subject, subject_pattern),
            TextRule.of("issuer", issuer, issuer_pattern),
        )


@dataclass(frozen=True, slots=True)
class AnyIdentity:
    """Any of several rules."""

    rules: tuple[IdentityRule, ...]

    @classmethod
    def of(cls, rules: Sequence[IdentityRule]) -> AnyIdentity:
        """Put rules together; raises ``InvalidIdentityError`` if there is none."""
        if not rules:
            raise InvalidIdentityError(
                "a keyless authority needs the identities that may sign",
                hint="anybody can get a certificate; give an issuer and a subject",
            )
        return cls(tuple(rules))

    def __call__(self, identity: Identity) -> bool:
        """Whether any rule matches."""
        return any(rule(identity) for rule in self.rules)


def _compile(what: str, pattern: str) -> Any:
    if len(pattern) > PATTERN_LIMIT:
        raise InvalidIdentityError(f"the pattern of the {what} is over {PATTERN_LIMIT} characters")
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidIdentityError(
            f"the pattern of the {what} is no RE2 expression: {_text(error)}",
            hint="look-around and back-references do not exist in RE2",
        ) from None


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return (first.decode(errors="replace") if isinstance(first, bytes) else str(first))[:120]
