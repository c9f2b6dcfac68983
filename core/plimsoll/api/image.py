"""The image configuration: apko's YAML format, plus what its users ask for and do not have.

Keys are written as apko writes them (some with dashes, some with underscores). The models hold
shape and the rules that need no file system; includes, repositories and packages are resolved by
the builder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, ValidationInfo, field_validator, model_validator

from plimsoll.api.accounts import Accounts
from plimsoll.api.base import PlainSection, misplaced
from plimsoll.api.imagecontents import Certificates, Contents
from plimsoll.api.imageprocess import Entrypoint, Healthcheck, Signal
from plimsoll.api.scalars import CommandLine, Flag, Id, Mode, Text, UnquotedValue, Value


class Path(PlainSection):
    """A change to the file tree, applied after all packages, in order."""

    path: Text = Field(min_length=1)
    """The path in the image."""

    type: Literal["directory", "empty-file", "file", "hardlink", "symlink", "permissions"]
    """What to make of it; ``permissions`` changes owner and mode of what is there."""

    uid: Id | None = None
    """Numeric id of the owner."""

    gid: Id | None = None
    """With neither ``uid`` nor ``gid`` the owner stays; with one the other is 0."""

    permissions: Mode = 0
    """Mode bits, for example ``0o755``; no permissions at all if not given."""

    source: Text = ""
    """What a ``hardlink`` or ``symlink`` points to."""

    recursive: Flag = False
    """Apply owner and mode to everything below; of use with ``directory`` and ``permissions``."""

    content: Text = ""
    """Text of a ``file``."""

    @model_validator(mode="after")
    def _check(self) -> Path:
        if self.type in {"hardlink", "symlink"} and not self.source:
            raise ValueError(f"path {self.path!r}: a {self.type} needs a source")
        if self.content and self.type != "file":
            raise misplaced("content is for type: file", "content")
        if self.source and self.type == "file":
            raise misplaced("a file has content; source is for links", "source")
        return self


class Layering(PlainSection):
    """How the image is split into layers; empty means one layer."""

    strategy: Literal["", "origin", "package"] = ""
    """``origin``: packages built from one source share a layer; ``package``: one each."""

    budget: Annotated[int, Strict(), Field(ge=0)] = 0
    """At most this many layers of packages; what is left over shares the last one."""

    @model_validator(mode="after")
    def _check(self) -> Layering:
        if self.strategy and self.budget < 1:
            raise ValueError(f"layering strategy {self.strategy!r} needs a budget of 1 or more")
        return self


class ImageConfiguration(PlainSection):
    """An image configuration."""

    include: Text = ""
    """Local file whose values this one extends. Resolved by the command line only."""

    contents: Contents = Contents()
    """Where packages come from and which are wanted."""

    entrypoint: Entrypoint = Entrypoint()
    """What the container runs."""

    cmd: CommandLine = ""
    """Default arguments, split as a shell would."""

    healthcheck: Healthcheck | None = None
    """How Docker finds out whether the container works."""

    stop_signal: Signal = Field(default="", alias="stop-signal")
    """Signal that stops the container, for example ``SIGTERM``."""

    work_dir: Text = Field(default="", alias="work-dir")
    """Directory the container starts in."""

    accounts: Accounts = Accounts()
    """Users, groups, and who the container runs as."""

    archs: list[Text] = []
    """Architectures, for example ``amd64``, ``arm64``; all if empty."""

    environment: dict[str, UnquotedValue] = {}
    """Environment variables of the container."""

    paths: list[Path] = []
    """Changes to the file tree, applied in order."""

    vcs_url: Text = Field(default="", alias="vcs-url")
    """Where this configuration lives: ``URL@COMMIT``."""

    annotations: dict[str, Value] = {}
    """Annotations of manifest and index, and labels of the image."""

    volumes: list[Text] = []
    """Directories that hold data from outside the image."""

    layering: Layering | None = None
    """How the image is split into layers; one layer if not given."""

    compression: Literal["gzip", "zstd"] = "gzip"
    """How layers are compressed; ``zstd`` is faster and smaller and needs newer clients."""

    certificates: Certificates = Certificates()
    """Certificates to trust."""

    @field_validator("environment", "annotations")
    @classmethod
    def _check_keys(cls, values: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for key in values:
            if not key or (info.field_name == "environment" and ("=" in key or "\0" in key)):
                raise misplaced(f"{key!r} cannot be a name here", key)
        return values

    @field_validator("work_dir")
    @classmethod
    def _check_directory(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError(f"{value!r} does not begin with '/', so no container can start there")
        return value

    @model_validator(mode="after")
    def _check_base(self) -> ImageConfiguration:
        if wrong := self.refused_on_base():
            raise misplaced(f"{' and '.join(wrong)} cannot be set on a base image", wrong[0])
        return self

    def refused_on_base(self) -> list[str]:
        """What is set and cannot be on a base image; nothing where there is none."""
        if self.contents.baseimage is None:
            return []
        given = {
            "entrypoint": self.entrypoint != Entrypoint(),
            "healthcheck": self.healthcheck,
            "cmd": self.cmd,
            "stop-signal": self.stop_signal,
            "work-dir": self.work_dir,
            "accounts": self.accounts != Accounts(),
            "environment": self.environment,
            "paths": self.paths,
            "annotations": self.annotations,
        }
        return [name for name, value in given.items() if value]
