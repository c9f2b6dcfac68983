"""Inputs of pipelines: given, inherited, defaulted, checked."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.stepmodel import check_hash
from plimsoll.builder.package.substitute import replace_all, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.builder.package.stepmodel import Input

_PREFIX = "inputs."


def complete(
    given: Mapping[str, str], declared: Mapping[str, Input | None], pipeline: str
) -> dict[str, str]:
    """What a pipeline gets: what is given, else its defaults. An empty value counts as not given.

    Raises:
        PackageConfigError: an input is required and missing, or given and not declared.
    """
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
            raise PackageConfigError(
                f"the pipeline {pipeline} has no input {name!r}",
                hint=f"did you mean {near[0]!r}?"
                if near
                else f"its inputs are: {', '.join(sorted(declared)) or 'none'}",
            )
    result = {}
    for name, about in declared.items():
        value = given.get(name) or (about.default if about else "")
        if about and about.required and not value:
            raise PackageConfigError(
                f'required input "{name}" for pipeline is missing: {pipeline}',
                hint=f"give it under 'with:': {about.description.strip().splitlines()[0]}"
                if about.description.strip()
                else "give it under 'with:'",
            )
        result[name] = value
    return result


def resolve(
    own: Mapping[str, str], inherited: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    """Values of all inputs that steps within a pipeline see.

    A value may refer to inputs: to one of the same pipeline, else to one of the pipeline around
    it; to itself by name means the one around it.

    Args:
        own: inputs of the pipeline, as ``complete`` gives them.
        inherited: inputs of the pipeline around it.
        known: other variables.

    Returns:
        Name → value, inherited ones included.

    Raises:
        PackageConfigError: inputs refer to each other in a circle, or to what is not defined.
    """
    resolver = _Resolver(own, inherited, known)
    values = {name: resolver.value(name, ()) for name in own}
    for name, value in values.items():
        check_hash(name, value)
    return {**inherited, **values}


class _Resolver:
    def __init__(
        self, own: Mapping[str, str], inherited: Mapping[str, str], known: Mapping[str, str]
    ) -> None:
        self._own = own
        self._inherited = inherited
        self._known = known
        self._done: dict[str, str] = {}

    def value(self, name: str, users: tuple[str, ...]) -> str:
        if name not in self._done:
            if name in users:
                circle = " → ".join((*users[users.index(name) :], name))
                raise PackageConfigError(
                    f"inputs refer to each other in a circle: {circle}",
                    hint="rename one of them in the pipeline around",
                )
            text = self._own[name]
            self._done[name] = replace_all(text, lambda v: self._look(v, (*users, name)))
        return self._done[name]

    def _look(self, variable: str, users: tuple[str, ...]) -> str:
        if not variable.startswith(_PREFIX):
            if variable in self._known:
                return self._known[variable]
            raise unknown(variable, self._known)
        name = variable.removeprefix(_PREFIX)
        if name in self._own and name != users[-1]:
            return self.value(name, users)
        if name in self._inherited:
            return self._inherited[name]
        raise unknown(variable, [f"{_PREFIX}{n}" for n in (*self._own, *self._inherited)])
