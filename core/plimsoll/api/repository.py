"""Where packages come from: repositories, and the keys that may sign them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import ObjectName, cel, listed_by

Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s@]+$")]
"""An http or https URL without user and password."""


class RepositoryKey(StrictModel):
    """A public key that may sign a repository, inline or by URL."""

    model_config = cel(
        ("has(self.data) != has(self.url)", "expected exactly one of data, url"),
    )

    name: Annotated[
        str,
        StringConstraints(
            min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_@][A-Za-z0-9_.@+-]*$"
        ),
    ]
    """File name of the key, as signatures name it: ``example-4a6a0840.rsa.pub``."""

    data: Annotated[str, StringConstraints(max_length=8192)] | None = None
    """The key as PEM text."""

    url: Annotated[str, StringConstraints(max_length=2048, pattern=r"^https://\S+$")] | None = None
    """An https URL that serves the key."""


Keys = Annotated[
    list[RepositoryKey], Field(min_length=1, max_length=16, json_schema_extra=listed_by("name"))
]


class RepositoryUse(StrictModel):
    """A repository to take packages from: a PackageRepo, or a URL with its keys."""

    model_config = cel(
        ("has(self.name) != has(self.url)", "expected exactly one of name, url"),
        ("!has(self.keys) || has(self.url)", "keys go with url; a PackageRepo has its own"),
        ("!has(self.url) || has(self.keys)", "a url needs keys that verify its index"),
    )

    name: ObjectName | None = None
    """Name of a PackageRepo of the same namespace. Images are planned again when it changes."""

    url: Url | None = None
    """Base URL of a repository, without the architecture."""

    keys: Keys | None = None
    """Keys of which one must have signed the index."""
