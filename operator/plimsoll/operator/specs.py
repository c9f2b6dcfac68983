"""What can be wrong with a spec, or with what it refers to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.arch import Arch
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError


class InvalidSpecError(Error):
    """The spec, or the configuration it names, must be changed."""

    reason = "InvalidSpec"


class MissingError(Error):
    """Something that the spec refers to is not there, or not ready; it may still come.

    Attributes:
        expected: it is on its way, so nobody needs a warning.
    """

    retryable = True

    def __init__(self, reason: str, message: str, hint: str, *, expected: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.expected = expected


def explain(error: ValidationError) -> str:
    """The faults that a model found, each with its field, in one line."""
    faults = []
    for detail in error.errors(include_url=False)[:5]:
        field = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            text = "unknown field"
        faults.append(f"{field}: {text}" if field else text)
    return "; ".join(faults)


def parse_archs(names: Sequence[str]) -> tuple[Arch, ...]:
    """Architectures by their names, each once.

    Raises:
        InvalidSpecError: there is none of such a name.
    """
    found: dict[Arch, None] = {}
    for name in names:
        if name == "host":
            raise InvalidSpecError(
                "architecture host means nothing in a cluster", hint="name the architectures"
            )
        try:
            found[Arch.parse(name)] = None
        except Error as error:
            raise InvalidSpecError(error.message, hint=error.hint) from None
    return tuple(sorted(found, key=lambda arch: arch.oci))
