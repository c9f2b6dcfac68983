"""Configurations that must be built again when a shared package changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.version import Constraint, InvalidConstraintError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.builder.package.model import PackageConfiguration, Subpackage
    from plimsoll.builder.package.packagemodel import Package
    from plimsoll.builder.package.stepmodel import Step


def offered(config: PackageConfiguration) -> set[str]:
    """Names under which the packages of a configuration can be asked for."""
    parts = _parts(config)
    names = {part.name for part in parts}
    for part in parts:
        names |= set(_names(part.dependencies.provides))
    return names


def needed(config: PackageConfiguration) -> set[str]:
    """Names that a configuration asks for: to be built, and to run."""
    names = set(_names(config.environment.contents.packages))
    for part in _parts(config):
        names |= set(_names(part.dependencies.runtime))
    names |= set(_names(_needs(config.pipeline)))
    for subpackage in config.subpackages:
        names |= set(_names(_needs(subpackage.pipeline)))
    return names


def _parts(config: PackageConfiguration) -> list[Package | Subpackage]:
    return [config.package, *config.subpackages]


def _needs(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield from step.needs.packages
        yield from _needs(step.pipeline)


def _names(items: Iterable[str]) -> Iterator[str]:
    for item in items:
        try:
            constraint = Constraint.read(item)
        except InvalidConstraintError:
            continue  # with variables that only a build knows
        if not constraint.negated:
            yield constraint.name
