"""The package configuration: steps and pipelines."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from plimsoll.api.scalars import Text
from plimsoll.builder.package.section import Section, Strings

_HEX = {"expected-sha256": 64, "expected-sha512": 128, "expected-commit": 40}


def check_hash(key: str, value: str) -> None:
    """Whether a value that is a digest by its name has that length; raises ``ValueError``."""
    length = _HEX.get(key)
    if (
        length
        and value
        and "${{" not in value
        and not re.fullmatch(rf"[0-9a-f]{{{length}}}", value)
    ):
        raise ValueError(f"{key} has {length} hexadecimal digits, {value[:140]!r} has not")


class Input(Section):
    """One input of a pipeline."""

    description: Text = ""
    """What it is for."""

    default: Text = ""
    """Its value where none is given."""

    required: bool = False
    """Whether a value must be given."""


class Needs(Section):
    """What a pipeline needs to run."""

    packages: list[Text] = []
    """Packages that join the guest."""


class Assertions(Section):
    """What must hold after a pipeline."""

    required_steps: Annotated[int, Field(ge=0)] = 0
    """At least so many of its steps must have run."""


class Step(Section):
    """A step of a build: a script, a pipeline by name, or steps."""

    if_: Text = Field(default="", alias="if")
    """Condition under which the step runs."""

    name: Text = ""
    """What a person calls it."""

    uses: Text = ""
    """Name of a pipeline to run."""

    with_: Strings = Field(default={}, alias="with")
    """Values for the pipeline's inputs."""

    runs: Text = ""
    """Shell text."""

    pipeline: list[Step] = []
    """Steps within this one."""

    inputs: dict[str, Input | None] = {}
    """Inputs that the steps within may use."""

    needs: Needs = Needs()
    """What it needs to run."""

    label: Text = ""
    """A name to stop or resume at."""

    assertions: Assertions = Assertions()
    """What must hold afterwards."""

    working_directory: Text = ""
    """Directory it runs in; relative to the workspace."""

    environment: Strings = {}
    """Environment variables of it and the steps within."""

    @model_validator(mode="after")
    def _check(self) -> Step:
        if self.uses and self.runs:
            raise ValueError("a step has either 'uses' or 'runs', this one has both")
        if self.with_ and not self.uses:
            raise ValueError("'with' gives inputs to a pipeline, and there is no 'uses'")
        for key, value in self.with_.items():
            check_hash(key, value)
        for key in self.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                raise ValueError(f"{key!r} cannot be the name of an environment variable")
        return self


class FileStep(Step):
    """A step of a pipeline in a file of its own, which may say more about itself."""

    description: Text = ""
    """What it does."""

    pipeline: list[FileStep] = []  # type: ignore[assignment]  # read only, so covariance is safe
    """Steps within this one."""


class PipelineFile(FileStep):
    """A pipeline in a file of its own."""
