"""What an image configuration takes in: packages, keys, certificates, a base image."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from plimsoll.api.base import PlainSection, misplaced
from plimsoll.api.scalars import Text

_FILE_NAME = re.compile(r"[a-zA-Z0-9_-]+[a-zA-Z0-9_.-]*")


class NamedContent(PlainSection):
    """A file given inline: its name and its text."""

    name: Text = ""
    """File name; letters, digits, ``-``, ``_`` and (not first) ``.``."""

    content: Text = ""
    """The file's text."""


class _Checked:
    """Checks names and contents of a list; ``what`` its items are."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, items: list[NamedContent]) -> list[NamedContent]:
        taken: set[str] = set()
        for number, item in enumerate(items):
            name = item.name
            if not name:
                raise misplaced(f"{self._what} has no name", number)
            if not _FILE_NAME.fullmatch(name):
                raise misplaced(
                    f"{self._what} has the invalid name {name!r}: use letters, digits, '-', '_' "
                    "and, but not first, '.'",
                    *(number, "name"),
                )
            if name in taken:
                raise misplaced(f"{self._what} name {name!r} is a duplicate", number, "name")
            if not item.content.strip():
                raise misplaced(f"{self._what} {name!r} has no content", number)
            taken.add(name)
        return items


class BaseImage(PlainSection):
    """An image to build on top of: its packages count as installed, its entrypoint stays."""

    image: Text = Field(min_length=1)
    """The base image: a reference to a registry; on a workstation also an OCI layout or a
    ``.tar`` file."""

    apkindex: Text = ""
    """Not needed: what the base image holds is read from its own package database."""


class Contents(PlainSection):
    """Where packages come from and which are wanted."""

    keyring: list[Text] = []
    """Public keys that may sign repositories: paths or URLs."""

    repositories: list[Text] = []
    """Package repositories for the build, also written into the image: a path, a URL, or
    ``@tag URL``."""

    build_repositories: list[Text] = []
    """Repositories for the build only."""

    runtime_repositories: list[Text] = []
    """Repositories written into the image only."""

    packages: list[Text] = []
    """Wanted packages, each with an optional constraint: ``name``, ``name=1.2``, ``name~1``,
    ``name@tag``, ``!name``."""

    runtime_keyring: Annotated[
        list[NamedContent], AfterValidator(_Checked("runtime keyring entry"))
    ] = []
    """Public keys installed into ``/etc/apk/keys`` of the image; not trusted by the build."""

    baseimage: BaseImage | None = None
    """Image to build on top of."""


class Certificates(PlainSection):
    """Certificates to trust beside those of the packages."""

    additional: Annotated[
        list[NamedContent], AfterValidator(_Checked("configured additional certificate"))
    ] = []
    """Each content is exactly one PEM certificate."""

    providers: list[Text] = []
    """Virtual packages; certificates of packages that provide one of them are trusted."""
