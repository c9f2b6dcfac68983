"""The package configuration: melange's YAML format.

The models hold shape and the rules that need nothing else. They describe a configuration after the
first phase of substitution (``load``); what only a build knows (``${{targets.destdir}}``) still
stands in its texts as it was written.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from plimsoll.api.image import ImageConfiguration
from plimsoll.api.scalars import Text
from plimsoll.builder.package.packagemodel import (
    Capability,
    Checks,
    Dependencies,
    Package,
    PackageOptions,
    Scriptlets,
    check_name,
)
from plimsoll.builder.package.section import Section, Strings
from plimsoll.builder.package.stepmodel import Step
from plimsoll.builder.package.update import Update


class Test(Section):
    """What is run to see that a package works."""

    environment: ImageConfiguration = ImageConfiguration()
    """The guest, beside the package itself."""

    pipeline: list[Step] = []
    """Steps."""


class Subpackage(Section):
    """Another package that the same build makes."""

    if_: Text = Field(default="", alias="if")
    """Condition under which it is made."""

    range: Text = ""
    """Name of data; one such package is made for each item."""

    name: Text
    """Its name."""

    pipeline: list[Step] = []
    """Steps that run after those of the package."""

    dependencies: Dependencies = Dependencies()
    """What it needs and offers."""

    options: PackageOptions = PackageOptions()
    """What the dependency scan leaves out."""

    scriptlets: Scriptlets = Scriptlets()
    """Its scripts."""

    description: Text = ""
    """One line for people."""

    annotations: Strings = {}
    """Free notes."""

    url: Text = ""
    """Home page."""

    commit: Text = ""
    """Commit of the configuration."""

    checks: Checks = Checks()
    """Which linters do not count."""

    test: Test | None = None
    """What is run to see that it works."""

    setcap: list[Capability] = []
    """File capabilities."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        # A name that only the build knows is checked when it is known.
        return value if "${{" in value else check_name(value)


class Data(Section):
    """Items for ``range``."""

    name: Text
    """How ranges call it."""

    items: Strings = {}
    """Key → value."""


class VarTransform(Section):
    """A variable made from a text by a regular expression."""

    from_: Text = Field(alias="from")
    """The text."""

    match: Text
    """An RE2 expression."""

    replace: Text = ""
    """What each match becomes; ``$1`` and ``${1}`` are its groups."""

    to: Text = Field(min_length=1)
    """Name of the variable."""


class OptionPackages(Section):
    """Changes to the guest's packages."""

    add: list[Text] = []
    """Packages to add."""

    remove: list[Text] = []
    """Packages to leave out."""


class OptionContents(Section):
    """Changes to the guest's contents."""

    packages: OptionPackages = OptionPackages()
    """Changes to its packages."""


class OptionEnvironment(Section):
    """Changes to the guest."""

    contents: OptionContents = OptionContents()
    """Changes to its contents."""


class BuildOption(Section):
    """A variation that ``--build-option`` turns on."""

    vars: Strings = {}
    """Variables it sets."""

    environment: OptionEnvironment = OptionEnvironment()
    """Changes to the guest."""


class Capabilities(Section):
    """Linux capabilities of the guest."""

    add: list[Text] = []
    """To add."""

    drop: list[Text] = []
    """To drop."""


class PackageConfiguration(Section):
    """A package configuration."""

    package: Package
    """The package itself."""

    environment: ImageConfiguration = ImageConfiguration()
    """The guest that the steps run in."""

    capabilities: Capabilities = Capabilities()
    """Linux capabilities of the guest."""

    pipeline: list[Step] = []
    """Steps that build the package."""

    subpackages: list[Subpackage] = []
    """Other packages of the same build."""

    data: list[Data] = []
    """Items for ``range``."""

    update: Update = Update()
    """Where new versions are to be found."""

    vars: Strings = {}
    """Variables."""

    var_transforms: list[VarTransform] = []
    """Variables made from others."""

    options: dict[str, BuildOption] = {}
    """Variations of the build."""

    test: Test | None = None
    """What is run to see that the package works."""
