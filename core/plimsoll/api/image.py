"""The image configuration: apko's YAML format, plus what its users ask for and do not have.

Keys are written as apko writes them (some with dashes, some with underscores). The models hold
shape and the rules that need no file system; includes, repositories and packages are resolved by
the builder.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from plimsoll.api.base import Section
from plimsoll.api.meta import Duration

_FILE_NAME = re.compile(r"[a-zA-Z0-9_-]+[a-zA-Z0-9_.-]*")
_MAX_ID = 2**32 - 2


def _text(value: Any) -> Any:
    """Read an unquoted number or boolean as the text that was written, as apko does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return getattr(value, "raw", None) or str(value)
    return value


Text = Annotated[str, BeforeValidator(_text)]
"""A string; an unquoted YAML scalar of another type counts as its own text."""

Unquoted = Annotated[Text, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""A ``Text`` that is so often a number that the custom resource takes unquoted ones too."""


def _octal(value: Any) -> Any:
    """Read ``"0o755"``: what YAML 1.1 loaders make of YAML 1.2's octal numbers."""
    if isinstance(value, str) and re.fullmatch(r"0o[0-7]{1,5}", value):
        return int(value, 8)
    return value


Mode = Annotated[int, Field(ge=0, le=0o7777), BeforeValidator(_octal)]
"""Permission bits with setuid, setgid and sticky."""

Id = Annotated[int, Field(ge=0, le=_MAX_ID)]
"""A numeric user or group id."""


def _name(value: str, what: str, taken: set[str]) -> None:
    if not value:
        raise ValueError(f"{what} has no name")
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(
            f"{what} has the invalid name {value!r}: use letters, digits, '-', '_' and, "
            "but not first, '.'"
        )
    if value in taken:
        raise ValueError(f"{what} name {value!r} is a duplicate")
    taken.add(value)


def _plain(value: Any) -> Any:
    return value


class _Section(Section):
    """A mapping of the configuration: keys as declared."""

    model_config = ConfigDict(alias_generator=_plain)


class NamedContent(_Section):
    """A file given inline: its name and its text."""

    name: Text = ""
    """File name; letters, digits, ``-``, ``_`` and (not first) ``.``."""

    content: Text = ""
    """The file's text."""


class BaseImage(_Section):
    """An image to build on top of: its packages count as installed, its entrypoint stays."""

    image: Text = Field(min_length=1)
    """The base image: a reference to a registry; on a workstation also an OCI layout or a
    ``.tar`` file."""

    apkindex: Text = ""
    """Not needed: what the base image holds is read from its own package database."""


class Contents(_Section):
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

    runtime_keyring: list[NamedContent] = []
    """Public keys installed into ``/etc/apk/keys`` of the image; not trusted by the build."""

    baseimage: BaseImage | None = None
    """Image to build on top of."""

    @field_validator("runtime_keyring")
    @classmethod
    def _check_keys(cls, keys: list[NamedContent]) -> list[NamedContent]:
        taken: set[str] = set()
        for key in keys:
            _name(key.name, "runtime keyring entry", taken)
            if not key.content.strip():
                raise ValueError(f"runtime keyring entry {key.name!r} has no content")
        return keys


class Entrypoint(_Section):
    """What the container runs."""

    type: Literal["", "service-bundle"] = ""
    """``service-bundle`` runs ``services`` under s6."""

    command: Text = ""
    """Command line, split as a shell would."""

    shell_fragment: Text = Field(default="", alias="shell-fragment")
    """Shell text run by ``/bin/sh -c``; wins over ``command``."""

    services: dict[str, Text] = {}
    """Service name → command line, for ``service-bundle``."""


class Healthcheck(_Section):
    """How Docker finds out whether the container works. Kubernetes has probes of its own."""

    command: Text = ""
    """Command line, split as a shell would; exit status 0 is healthy."""

    shell_fragment: Text = Field(default="", alias="shell-fragment")
    """Shell text, run by the image's shell; in place of ``command``."""

    interval: Duration = "30s"
    """Time between two checks."""

    timeout: Duration = "30s"
    """How long one check may take."""

    start_period: Duration = Field(default="0s", alias="start-period")
    """How long failures do not count after the start."""

    retries: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many failures in a row make the container unhealthy."""

    @model_validator(mode="after")
    def _check(self) -> Healthcheck:
        if bool(self.command) == bool(self.shell_fragment):
            raise ValueError("a healthcheck needs one of command, shell-fragment")
        return self


class User(_Section):
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
        if re.search(r"[:\n/\x00]", self.username + self.shell.replace("/", "")):
            raise ValueError(f"user {self.username!r} holds a character that passwd cannot hold")
        if re.search(r"[:\n\x00]", self.homedir):
            raise ValueError(f"homedir of user {self.username!r} holds ':' or a line break")
        if self.uid == 0:
            raise ValueError(
                f"user {self.username!r} has uid 0 or none: to run as root, use 'run-as: 0'"
            )
        return self


class Group(_Section):
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
        if re.search(r"[:\n\x00]", self.groupname):
            raise ValueError(f"group {self.groupname!r} holds ':' or a line break")
        return self


class Accounts(_Section):
    """Users, groups, and who the container runs as."""

    run_as: Unquoted = Field(default="", alias="run-as")
    """User the container runs as: a name from ``users`` or a number."""

    users: list[User] = []
    """Users to create."""

    groups: list[Group] = []
    """Groups to create."""


class Path(_Section):
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

    recursive: bool = False
    """Apply owner and mode to everything below; of use with ``directory`` and ``permissions``."""

    content: Text = ""
    """Text of a ``file``."""

    @model_validator(mode="after")
    def _check(self) -> Path:
        if self.type in {"hardlink", "symlink"} and not self.source:
            raise ValueError(f"path {self.path!r}: a {self.type} needs a source")
        if self.content and self.type != "file":
            raise ValueError(f"path {self.path!r}: content is for type: file")
        return self


class Layering(_Section):
    """How the image is split into layers; empty means one layer."""

    strategy: Literal["", "origin", "package"] = ""
    """``origin``: packages built from one source share a layer; ``package``: one each."""

    budget: Annotated[int, Field(ge=0)] = 0
    """At most this many layers of packages; what is left over shares the last one."""

    @model_validator(mode="after")
    def _check(self) -> Layering:
        if self.strategy and self.budget < 1:
            raise ValueError(f"layering strategy {self.strategy!r} needs a budget of 1 or more")
        return self


class Certificates(_Section):
    """Certificates to trust beside those of the packages."""

    additional: list[NamedContent] = []
    """Each content is exactly one PEM certificate."""

    providers: list[Text] = []
    """Virtual packages; certificates of packages that provide one of them are trusted."""

    @field_validator("additional")
    @classmethod
    def _check_names(cls, certificates: list[NamedContent]) -> list[NamedContent]:
        taken: set[str] = set()
        for certificate in certificates:
            _name(certificate.name, "configured additional certificate", taken)
            if not certificate.content.strip():
                raise ValueError(f"additional certificate {certificate.name!r} has no content")
        return certificates


class ImageConfiguration(_Section):
    """An image configuration."""

    include: Text = ""
    """Local file whose values this one extends. Resolved by the command line only."""

    contents: Contents = Contents()
    """Where packages come from and which are wanted."""

    entrypoint: Entrypoint = Entrypoint()
    """What the container runs."""

    cmd: Text = ""
    """Default arguments, split as a shell would."""

    healthcheck: Healthcheck | None = None
    """How Docker finds out whether the container works."""

    stop_signal: Text = Field(default="", alias="stop-signal")
    """Signal that stops the container, for example ``SIGTERM``."""

    work_dir: Text = Field(default="", alias="work-dir")
    """Directory the container starts in."""

    accounts: Accounts = Accounts()
    """Users, groups, and who the container runs as."""

    archs: list[Text] = []
    """Architectures, for example ``amd64``, ``arm64``; all if empty."""

    environment: dict[str, Unquoted] = {}
    """Environment variables of the container."""

    paths: list[Path] = []
    """Changes to the file tree, applied in order."""

    vcs_url: Text = Field(default="", alias="vcs-url")
    """Where this configuration lives: ``URL@COMMIT``."""

    annotations: dict[str, Text] = {}
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
                raise ValueError(f"{key!r} cannot be a name in {info.field_name}")
        return values

    @model_validator(mode="after")
    def _check_base(self) -> ImageConfiguration:
        if self.contents.baseimage is None:
            return self
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
        if wrong := [name for name, value in given.items() if value]:
            raise ValueError(f"with a base image, {', '.join(wrong)} cannot be set")
        return self
