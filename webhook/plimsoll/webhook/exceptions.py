"""Exceptions from policies: compiled when they change, in force until they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll.api.imageglob import Glob
from plimsoll.api.policycheck import PolicyInvalidError, describe, without_nulls
from plimsoll.api.policyexception import ImagePolicyExceptionSpec
from plimsoll.webhook.names import qualified

if TYPE_CHECKING:
    from plimsoll.oci.reference import Reference
    from plimsoll.webhook.policies import CompiledPolicy


@dataclass(frozen=True, slots=True)
class CompiledException:
    """One exception."""

    name: str
    """Namespace and name."""

    policies: frozenset[str]
    globs: tuple[Glob, ...]
    namespaces: frozenset[str]
    reason: str
    until: datetime

    def covers(
        self, policy: CompiledPolicy, reference: Reference, namespace: str, now: datetime
    ) -> bool:
        """Whether an image in a namespace need not satisfy a policy now.

        Only the full name counts, so that no tag beside a digest brings another image in.
        """
        return (
            now < self.until
            and not policy.namespace
            and policy.name in self.policies
            and namespace in self.namespaces
            and any(glob.matches(qualified(reference)) for glob in self.globs)
        )

    def told(self, image: str, policy: str) -> str:
        """The warning that comes with what it admits."""
        until = self.until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return (
            f'image {image} is excepted from policy "{policy}" by {self.name} until {until}: '
            f"{self.reason}"
        )


def compile_exception(namespace: str, name: str, spec: Any) -> CompiledException:
    """Compile the ``spec`` of an exception.

    Raises:
        PolicyInvalidError: with every fault found.
    """
    if not isinstance(spec, dict):
        raise PolicyInvalidError(["missing field(s): spec"])
    try:
        model = ImagePolicyExceptionSpec.model_validate(without_nulls(spec))
    except ValidationError as error:
        raise PolicyInvalidError(list(describe(error, "spec"))) from None
    problems: list[str] = []
    globs: list[Glob] = []
    for index, pattern in enumerate(model.images):
        try:
            globs.append(Glob(pattern.glob or ""))
        except ValueError:
            problems.append(f"invalid value: {pattern.glob}: spec.images[{index}].glob")
    if model.until.tzinfo is None:
        problems.append("invalid value: spec.until: no time zone")
    if problems:
        raise PolicyInvalidError(problems)
    return CompiledException(
        name=f"{namespace}/{name}",
        policies=frozenset(model.policies),
        globs=tuple(globs),
        namespaces=frozenset(model.namespaces or [namespace]),
        reason=model.reason,
        until=model.until,
    )
