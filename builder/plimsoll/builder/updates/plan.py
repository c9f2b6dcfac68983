"""What to ask for a configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.builder.package.edit import steps
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.substitute import replace_known
from plimsoll.builder.package.variables import as_text
from plimsoll.builder.updates.model import Query, Request, Service
from plimsoll.builder.updates.versions import rules_of

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.builder.package.load import Loaded
    from plimsoll.builder.package.update import Update

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}", re.ASCII)


def plan(loaded: Loaded, file: Path) -> Request:
    """What a package wants to know.

    Args:
        loaded: its configuration.
        file: the file of that.

    Raises:
        PackageConfigError: the ``update`` section makes no sense.
    """
    package, update = loaded.config.package, loaded.config.update
    try:
        reason = _silence(loaded)
        query = None if reason else _query(update, loaded)
        rules = rules_of(update)
    except PackageConfigError as error:
        place = loaded.document.place(("update",))
        raise PackageConfigError(f"{place}: {error.message}", hint=error.hint) from None
    return Request(
        file=file,
        package=package.name,
        version=package.version,
        query=query,
        rules=rules,
        reason=reason,
        sequential=update.require_sequential,
        shared=update.shared,
        manual=update.manual,
        period=update.schedule.period if update.schedule else "",
    )


def _silence(loaded: Loaded) -> str:
    """Why nothing is asked, or nothing."""
    update = loaded.config.update
    value = loaded.document.value
    if isinstance(value, dict) and "update" not in value:
        return "it has no 'update'"
    if not update.enabled:
        return update.exclude_reason.strip() or "updates are not enabled"
    chosen = [
        name
        for name in ("release_monitor", "github", "git", "oci", "crane")
        if getattr(update, name) is not None
    ]
    if len(chosen) > 1:
        names = ", ".join(name.replace("_", "-") for name in chosen)
        raise PackageConfigError(f"update names several places: {names}", hint="keep one of them")
    if not chosen:
        if update.manual:
            return "a person makes its updates"
        return "update is enabled, but names no place to look at"
    return ""


def _query(update: Update, loaded: Loaded) -> Query:
    if update.release_monitor is not None:
        number = as_text(update.release_monitor.identifier)
        if not re.fullmatch(r"[0-9]{1,9}", number):
            raise PackageConfigError(
                f"{number[:60]!r} is no project of release-monitoring.org",
                hint="identifier is the number in the project's address",
            )
        return Query(Service.RELEASE_MONITOR, number)
    if update.github is not None:
        name = update.github.identifier
        if not _IDENTIFIER.fullmatch(name):
            raise PackageConfigError(
                f"{name[:140]!r} is no repository on GitHub", hint="write OWNER/REPOSITORY"
            )
        prefix = update.github.tag_filter_prefix or update.github.tag_filter
        if not update.github.use_tag:
            return Query(Service.GITHUB_RELEASES, name)
        return Query(Service.GITHUB_TAGS, name, prefix, update.github.tag_filter_contains)
    if update.git is not None:
        return Query(
            Service.GIT,
            _repository(loaded),
            update.git.tag_filter_prefix or update.git.tag_filter,
        )
    image = update.oci or update.crane
    return Query(Service.OCI, image.identifier if image else "")


def _repository(loaded: Loaded) -> str:
    """The URL of the first ``git-checkout``.

    Raises:
        PackageConfigError: there is none, or none that can be asked.
    """
    value = loaded.document.value
    for _, step in steps(value):
        if step["uses"] == "git-checkout":
            given = step.get("with")
            text = as_text(given.get("repository")) if isinstance(given, dict) else ""
            url = replace_known(text, loaded.variables)
            if urlsplit(url).scheme not in {"http", "https"}:
                raise PackageConfigError(
                    f"the repository {url[:200]!r} cannot be asked for its tags",
                    hint="use its https URL, or another place for updates",
                )
            return url
    raise PackageConfigError(
        "update.git looks at the repository of the first git-checkout, and there is none",
        hint="use github or release-monitor, or check the source out with git",
    )
