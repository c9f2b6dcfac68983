"""The reference pages of the documentation, made from what runs: ``python -m docs_reference``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs_reference import api, commands, errors, settings

if TYPE_CHECKING:
    from collections.abc import Callable

#: File below ``docs/reference`` → what makes its text.
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.render,
    "api.md": api.render,
    "errors.md": errors.render,
    "settings.md": settings.render,
}
