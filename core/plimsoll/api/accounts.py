"""Users and groups of an image."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from plimsoll.api.base import PlainSection, misplaced
from plimsoll.api.scalars import Id, Text, Unquoted

_UNFIT = re.compile(r"[:\n\r\x00]")


class User(PlainSection):
    """A user to create."""

    username: Text = ""
    """Login name."""

    uid: Id = 0
    """Numeric user id; not 0."""

    gid: Id | None = None
    """Primary group; the same number as ``uid`` if not given."""

    shell: Text = ""
    """Login shell; ``/bin/sh`` if not given."""

    homedir: Text = ""
    """Home directory; ``/home/USERNAME`` if not given."""

    @model_validator(mode="after")
    def _check(self) -> User:
        if not self.username:
            raise ValueError(f"user with uid {self.uid} has no username")
        if "/" in self.username:
            raise misplaced(f"{self.username!r} cannot be a user: it holds '/'", "username")
        for name in ("username", "shell", "homedir"):
            if _UNFIT.search(getattr(self, name)):
                raise misplaced("it holds ':' or a line break, which passwd cannot hold", name)
        if self.uid == 0:
            raise ValueError(
                f"user {self.username!r} has uid 0 or none: to run as root, use 'run-as: 0'"
            )
        return self


class Group(PlainSection):
    """A group to create."""

    groupname: Text = ""
    """Name of the group."""

    gid: Id = 0
    """Numeric group id."""

    members: list[Text] = []
    """Names of its members."""

    @model_validator(mode="after")
    def _check(self) -> Group:
        if not self.groupname:
            raise ValueError(f"group with gid {self.gid} has no groupname")
        if _UNFIT.search(self.groupname):
            raise misplaced("it holds ':' or a line break, which group cannot hold", "groupname")
        for number, member in enumerate(self.members):
            if not member or "," in member or _UNFIT.search(member):
                raise misplaced(f"{member!r} cannot be the name of a user", "members", number)
        return self


class Accounts(PlainSection):
    """Users, groups, and who the container runs as."""

    run_as: Unquoted = Field(default="", alias="run-as")
    """User the container runs as: a name from ``users`` or a number."""

    users: list[User] = []
    """Users to create."""

    groups: list[Group] = []
    """Groups to create."""
