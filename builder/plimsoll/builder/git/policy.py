"""Rules about who must have signed the sources of packages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError

from plimsoll.api.base import StrictModel
from plimsoll.api.gitsource import SignedSource
from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.signers import Signers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MAX_FILE = 4 << 20


class _Document(StrictModel):
    """The file of ``--signed-sources``."""

    sources: list[SignedSource] = Field(min_length=1, max_length=1000)


class SourcePolicy:
    """Who must have signed which repositories; the first rule that fits decides.

    Args:
        rules: in their order.

    Raises:
        GitError: a key of a rule is none.
    """

    def __init__(self, rules: Iterable[SignedSource] = ()) -> None:
        self._rules = [(_pattern(r.repository), Signers.of(r.require_signed)) for r in rules]

    def __bool__(self) -> bool:
        return bool(self._rules)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML file: ``sources``, a list of ``repository`` and ``requireSigned``.

        Raises:
            GitError: it is not that, with the place.
        """
        from plimsoll import yaml12  # noqa: PLC0415  (only with a file)

        try:
            with path.open("rb") as file:
                text = file.read(_MAX_FILE).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise GitError(f"{path} cannot be read: {error}") from None
        document = yaml12.load(text, str(path))
        try:
            found = _Document.model_validate(document.value)
        except ValidationError as error:
            first = error.errors()[0]
            place = document.place(tuple(first["loc"]))
            raise GitError(f"{place}: {first['msg']}", hint="see the page on signed sources") from (
                None
            )
        return cls(found.sources)

    def signers(self, repository: str) -> Signers | None:
        """Who must have signed a repository; ``None`` where nobody must."""
        url = repository.removesuffix("/").removesuffix(".git")
        for pattern, signers in self._rules:
            if pattern.fullmatch(url) or pattern.fullmatch(repository):
                return signers
        return None


def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", glob.removesuffix("/").removesuffix(".git"))
    return re.compile(
        "".join(
            ("[^/]*" if part == "*" else ".*") if part.startswith("*") else re.escape(part)
            for part in parts
        ),
        re.DOTALL,
    )
