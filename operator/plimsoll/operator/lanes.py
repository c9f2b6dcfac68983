"""The images of one build, each on its way, and what is to be done for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.api.steps import VariantPlan

if TYPE_CHECKING:
    from plimsoll.api.imagebuildstatus import Build, Lane
    from plimsoll.api.steps import StepName
    from plimsoll.arch import Arch


@dataclass(frozen=True, slots=True)
class Task:
    """What one Job does.

    Attributes:
        variant: name of the variant; empty for the image that is none.
        arch: architecture, where a step is for one.
    """

    step: StepName
    variant: str = ""
    arch: Arch | None = None

    @property
    def name(self) -> str:
        """The step with its variant and architecture: ``assemble-dev-arm64``."""
        return "-".join(
            part for part in (self.step, self.variant, self.arch and self.arch.slug) if part
        )

    def job_name(self, build: Build) -> str:
        """Name of the Job: variants by their number, as a name has 63 characters at most."""
        names = ["", *(variant.name for variant in build.variants)]
        number = names.index(self.variant) if self.variant in names else 0
        parts = (build.id, self.step, number and f"v{number}", self.arch and self.arch.slug)
        return "-".join(str(part) for part in parts if part)


def lane_of(build: Build, variant: str) -> Lane:
    """How far one image of a build is."""
    return next((each for each in build.variants if each.name == variant), build)


def with_lane(build: Build, variant: str, **update: object) -> Build:
    """The build with one image further on."""
    if not variant:
        return build.model_copy(update=update)
    variants = [
        each.model_copy(update=update) if each.name == variant else each for each in build.variants
    ]
    return build.model_copy(update={"variants": variants})


def plan_of(build: Build, variant: str) -> VariantPlan | None:
    """What the plan found for one image."""
    if build.plan is None:
        return None
    plan = build.plan
    own = VariantPlan(name="", lock=plan.lock, packages=plan.packages, tags=plan.tags)
    return next((each for each in (own, *plan.variants) if each.name == variant), None)
