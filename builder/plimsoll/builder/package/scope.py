"""What a step sees: variables, inputs, directory, environment; and the places of errors."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import HOME
from plimsoll.builder.package.substitute import replace_all, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.builder.package.stepmodel import Step
    from plimsoll.yaml12 import Document, Path

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a step stands.

    Attributes:
        document: the file, for places.
        known: variables that all steps share.
        inputs: inputs of the pipelines around it.
        directory: where it runs.
        environment: variables on top of the guest's.
        users: pipelines around it, the outermost first.
        fetches: whether one of them fetches sources.
        name: what a person calls the innermost.
    """

    document: Document
    known: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    directory: str = HOME
    environment: Mapping[str, str] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    fetches: bool = False
    name: str = ""

    def lookup(self, name: str) -> str:
        """Value of a variable; raises ``SubstitutionError``."""
        if name.startswith("inputs."):
            if (found := self.inputs.get(name[7:])) is not None:
                return found
            raise unknown(name, [f"inputs.{n}" for n in self.inputs])
        if name in self.known:
            return self.known[name]
        raise unknown(name, self.known)

    def text(self, text: str) -> str:
        """A text with every variable replaced; raises ``SubstitutionError``."""
        return replace_all(text, self.lookup)


def within(step: Step, scope: Scope) -> Scope:
    """The scope with a step's directory and environment."""
    if not (step.working_directory or step.environment):
        return scope
    directory = scope.directory
    if step.working_directory:
        directory = posixpath.normpath(posixpath.join(HOME, scope.text(step.working_directory)))
    environment = {name: scope.text(value) for name, value in step.environment.items()}
    return replace(scope, directory=directory, environment={**scope.environment, **environment})


def replaced(model: T, scope: Scope) -> T:
    """The model with every variable in its texts replaced."""
    if "${{" not in model.model_dump_json():
        return model
    value = _texts(model.model_dump(by_alias=True, exclude_unset=True), scope)
    try:
        return type(model).model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"]))
        raise PackageConfigError(f"{where}: {detail['msg']}") from None


def _texts(value: Any, scope: Scope) -> Any:
    if isinstance(value, str):
        return scope.text(value)
    if isinstance(value, dict):
        return {key: _texts(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item, scope) for item in value]
    return value


class PlacedError(PackageConfigError):
    """An error that says its place already."""


@contextmanager
def at(document: Document, path: Path, key: str = "") -> Iterator[None]:
    """Say where in a file an error is."""
    try:
        yield
    except PlacedError:
        raise
    except PackageConfigError as error:
        place = document.place((*path, key) if key else path)
        raise PlacedError(f"{place}: {error.message}", hint=error.hint) from None


@contextmanager
def used_at(document: Document, path: Path) -> Iterator[None]:
    """Say who uses the pipeline that an error is in."""
    try:
        yield
    except PackageConfigError as error:
        place = document.place((*path, "uses"))
        raise PlacedError(f"{error.message}\n  used at {place}", hint=error.hint) from None
