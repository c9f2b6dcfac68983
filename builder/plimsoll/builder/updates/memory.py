"""What is remembered between two looks: when it was, and answers with their entity tags."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from plimsoll.builder.store import storage_errors

_VERSION: Final = 1
_MAX_FILE: Final = 64 << 20
_PERIODS: Final = {
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=30),
}
#: A job that runs at the same hour every day must not miss its day by seconds.
_SLACK: Final = timedelta(hours=1)


class Memory:
    """A file of what was found; a file that is no such one counts as empty.

    Args:
        path: ``None`` forgets everything.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._looked: dict[str, str] = {}
        self._answers: dict[str, Any] = {}
        self._used: set[str] = set()
        if path is not None:
            self._read(path)

    def due(self, package: str, period: str, now: datetime) -> bool:
        """Whether it is time to look again."""
        if period not in _PERIODS or package not in self._looked:
            return True
        with suppress(ValueError, TypeError):
            last = datetime.fromisoformat(self._looked[package])
            return last > now or now - last >= _PERIODS[period] - _SLACK
        return True

    def looked(self, package: str, now: datetime) -> None:
        """Remember that it was looked for a package."""
        self._looked[package] = now.astimezone(UTC).isoformat(timespec="seconds")

    def answer(self, url: str) -> tuple[str, Any]:
        """Entity tag and content of the last answer; ``("", None)`` where there is none."""
        self._used.add(url)
        kept = self._answers.get(url)
        if isinstance(kept, dict) and isinstance(kept.get("etag"), str):
            content = kept.get("content")
            if isinstance(content, list) and all(_is_candidate(item) for item in content):
                return kept["etag"], content
        return "", None

    def remember(self, url: str, etag: str, content: Any) -> None:
        """Keep an answer that has an entity tag."""
        if etag:
            self._answers[url] = {"etag": etag, "content": content}

    def save(self) -> None:
        """Write the file.

        Raises:
            StorageError: it cannot be written.
        """
        if self._path is None:
            return
        value = {"version": _VERSION, "looked": self._looked, "answers": self._answers}
        with storage_errors(f"writing {self._path}"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, prefix=".updates-", delete=False
            ) as file:
                json.dump(value, file)
            Path(file.name).replace(self._path)

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                value = json.loads(file.read(_MAX_FILE))
        except (OSError, ValueError, RecursionError):
            return
        if not isinstance(value, dict) or value.get("version") != _VERSION:
            return
        looked, answers = value.get("looked"), value.get("answers")
        self._looked = looked if isinstance(looked, dict) else {}
        self._answers = answers if isinstance(answers, dict) else {}


def _is_candidate(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 3
        and isinstance(item[0], str)
        and isinstance(item[1], str)
        and isinstance(item[2], bool)
    )
