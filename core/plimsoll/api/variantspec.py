"""Variants of an image, and the tests that its images must pass."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.meta import cel

#: What tests call the image that is no variant.
DEFAULT = "default"

Tag = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_.$\{\}+-]+$"),
]
_Name = Annotated[
    str, StringConstraints(min_length=1, max_length=40, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
]
_Word = Annotated[str, StringConstraints(max_length=4096)]


class Variant(StrictModel):
    """Another image from the same configuration, with more in it."""

    model_config = cel(
        ("self.name != 'default'", "default is the name of the image that is no variant"),
        ("has(self.packages) || has(self.overrides)", "expected packages, overrides or both"),
    )

    name: _Name
    """Name of the variant: ``dev``, ``fips``."""

    packages: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(max_length=256)
    ] = []
    """Packages beside those of the image."""

    overrides: (
        Annotated[
            ImageConfiguration, Field(json_schema_extra={"x-plimsoll-omit": ["include", "archs"]})
        ]
        | None
    ) = None
    """What differs, as in a configuration that includes that of the image: values win, maps are
    joined key by key, lists are appended."""

    tags: Annotated[list[Tag], Field(min_length=1, max_length=32)] | None = None
    """Its tags, with the templates of ``output.tags``. Default: those of ``output.tags``, each with
    ``-`` and the name of the variant behind it."""


class ImageTest(StrictModel):
    """A command that every image must run with exit status 0 before any tag moves."""

    model_config = cel(
        ("has(self.command) || has(self.args)", "expected command, args or both"),
    )

    name: _Name
    """Name of the test."""

    command: Annotated[list[_Word], Field(min_length=1, max_length=256)] | None = None
    """Program and arguments, in place of the image's entry point. No shell is involved."""

    args: Annotated[list[_Word], Field(min_length=1, max_length=256)] | None = None
    """Arguments, in place of the image's default ones."""

    environment: Annotated[dict[str, _Word], Field(max_length=256)] = {}
    """Environment variables beside those of the image."""

    variants: Annotated[list[_Name], Field(max_length=9)] = []
    """Names of the variants to run it in; ``default`` is the image that is none. Default: all."""

    archs: Annotated[
        list[Annotated[str, StringConstraints(max_length=32)]], Field(max_length=16)
    ] = []
    """Architectures to run it on, by their OCI names. Default: all. Each needs a node."""
