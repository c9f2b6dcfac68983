"""The package configuration: what a package is, needs and offers."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from plimsoll.api.scalars import Text
from plimsoll.builder.package.cpe import Cpe
from plimsoll.builder.package.section import Section, Strings

NAME = re.compile(r"[a-zA-Z\d][a-zA-Z\d+_.-]*", re.ASCII)
_DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+(?:\.\d+)?s)?")

SCRIPTLETS = (
    "pre-install",
    "post-install",
    "pre-deinstall",
    "post-deinstall",
    "pre-upgrade",
    "post-upgrade",
)


def check_name(value: str) -> str:
    """The name of a package; raises ``ValueError``."""
    if not NAME.fullmatch(value) or len(value) > 200:
        raise ValueError(
            f"{value!r} cannot be the name of a package: letters, digits, '+', '_', '.' and '-', "
            "and a letter or digit first"
        )
    return value


def read_seconds(value: Any) -> Any:
    """Read seconds, or a duration such as ``1h30m``."""
    text = str(value)
    if isinstance(value, str) and text and _DURATION.fullmatch(text):
        units = {"h": 3600.0, "m": 60.0, "s": 1.0}
        return int(sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)([hms])", text)))
    return value


Seconds = Annotated[int, Field(ge=0), BeforeValidator(read_seconds)]
"""A time span: a number of seconds, or ``1h30m``."""


class Copyright(Section):
    """Under which licence something is."""

    paths: list[Text] = []
    """Files it is about; all if empty."""

    attestation: Text = ""
    """Text of the notice."""

    license: Text = ""
    """An SPDX licence, or a name of one that SPDX does not list."""

    license_path: Text = ""
    """File with the licence's text, relative to the workspace."""

    detection_override: Text = ""
    """What the licence is, where the detection errs."""


class Dependencies(Section):
    """What a package needs and offers."""

    runtime: list[Text] = []
    """Packages that must be installed with it."""

    provides: list[Text] = []
    """Other names it goes by."""

    replaces: list[Text] = []
    """Packages whose files it may take over."""

    provider_priority: Annotated[int, Field(ge=0)] = 0
    """Which provider of a name wins: the higher one."""

    replaces_priority: Annotated[int, Field(ge=0)] = 0
    """Who wins where two packages replace each other's files."""

    @field_validator("runtime", "provides", "replaces")
    @classmethod
    def _check(cls, items: list[str]) -> list[str]:
        for item in items:
            if not item.strip() or "\n" in item:
                raise ValueError(f"{item!r} is no package")
        return items


class PackageOptions(Section):
    """What the dependency scan leaves out."""

    no_provides: bool = False
    """The package offers nothing but what is written here."""

    no_depends: bool = False
    """The package needs nothing but what is written here."""

    no_commands: bool = False
    """Its commands are not offered as ``cmd:``."""

    no_versioned_shlib_deps: bool = False
    """Libraries it needs are not bound to the version it was built with."""


class Trigger(Section):
    """A script that runs when files of other packages change."""

    script: Text = ""
    """With its ``#!`` line."""

    paths: list[Text] = []
    """Directories (globs) that are watched."""


class Scriptlets(Section):
    """Scripts that run when the package is installed, upgraded or removed."""

    trigger: Trigger = Trigger()
    """Runs when files change in watched directories."""

    pre_install: Text = ""
    """Before the first installation."""

    post_install: Text = ""
    """After the first installation."""

    pre_deinstall: Text = ""
    """Before removal."""

    post_deinstall: Text = ""
    """After removal."""

    pre_upgrade: Text = ""
    """Before an upgrade."""

    post_upgrade: Text = ""
    """After an upgrade."""


class Checks(Section):
    """Which linters do not count."""

    disabled: list[Text] = []
    """Findings of these linters are warnings."""


class Capability(Section):
    """File capabilities of one path."""

    path: Text = Field(min_length=1)
    """The file in the package."""

    add: Strings = {}
    """Capability, or several with commas → sets, for example ``+ep``."""

    reason: Text = ""
    """Why it is needed."""


class Resources(Section):
    """What a build asks for."""

    cpu: Text = ""
    """Number of CPUs."""

    cpumodel: Text = ""
    """Model of CPU."""

    memory: Text = ""
    """Memory, for example ``8Gi``."""

    disk: Text = ""
    """Disk, for example ``50Gi``."""


class Package(Section):
    """The package itself."""

    name: Text
    """Its name."""

    version: Text = Field(min_length=1)
    """Its version without epoch."""

    epoch: Annotated[int, Field(ge=0)] = 0
    """Counts the builds of one version."""

    description: Text = ""
    """One line for people."""

    annotations: Strings = {}
    """Free notes."""

    url: Text = ""
    """Home page."""

    commit: Text = ""
    """Commit of the configuration."""

    timeout: Seconds = 0
    """How long the build may take."""

    target_architecture: list[Text] = []
    """Architectures it is for; all if empty."""

    copyright: list[Copyright] = []
    """Licences."""

    dependencies: Dependencies = Dependencies()
    """What it needs and offers."""

    options: PackageOptions = PackageOptions()
    """What the dependency scan leaves out."""

    scriptlets: Scriptlets = Scriptlets()
    """Scripts of the package."""

    checks: Checks = Checks()
    """Which linters do not count."""

    cpe: Cpe = Cpe()
    """Its name in vulnerability databases."""

    setcap: list[Capability] = []
    """File capabilities."""

    resources: Resources = Resources()
    """What its build asks for."""

    test_resources: Resources = Resources()
    """What its tests ask for."""

    @property
    def full_version(self) -> str:
        """Version and epoch: ``1.2.3-r0``."""
        return f"{self.version}-r{self.epoch}"

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        return check_name(value)

    @field_validator("version")
    @classmethod
    def _check_version(cls, value: str) -> str:
        if re.search(r"[\s/]", value):
            raise ValueError(f"{value!r} cannot be a version")
        return value
