"""The images of a build: the image itself, its variants, and the tests of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagemerge import merge
from plimsoll.api.variantspec import DEFAULT
from plimsoll.operator.specs import InvalidSpecError, explain, parse_archs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from plimsoll.api.imagebuild import ImageBuildSpec
    from plimsoll.api.variantspec import ImageTest, Variant
    from plimsoll.arch import Arch


@dataclass(frozen=True, slots=True)
class VariantConfiguration:
    """What a variant shall be.

    Attributes:
        image: the whole configuration.
        tags: templates.
    """

    name: str
    image: ImageConfiguration
    tags: tuple[str, ...]


def variants_of(
    spec: ImageBuildSpec, image: ImageConfiguration
) -> tuple[VariantConfiguration, ...]:
    """The variants of an image.

    Raises:
        InvalidSpecError: one cannot be, and why.
    """
    return tuple(
        VariantConfiguration(
            name=variant.name,
            image=_image(variant, image),
            tags=tuple(variant.tags or (f"{tag}-{variant.name}" for tag in spec.output.tags)),
        )
        for variant in spec.variants
    )


def _image(variant: Variant, image: ImageConfiguration) -> ImageConfiguration:
    place = f"spec.variants {variant.name}"
    over = variant.overrides or ImageConfiguration()
    if over.include or over.archs:
        raise InvalidSpecError(
            f"{place}: overrides have no include and no archs", hint="leave them out"
        )
    merged = merge(image, over)
    packages = [*merged.contents.packages, *variant.packages]
    update = {
        "contents": merged.contents.model_copy(update={"packages": packages}),
        "vcs_url": over.vcs_url or image.vcs_url,
    }
    whole = merged.model_copy(update=update)
    try:
        return ImageConfiguration.model_validate(
            whole.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        )
    except ValidationError as error:
        raise InvalidSpecError(
            f"{place}: {explain(error)}", hint="correct packages or overrides"
        ) from None


def check_tests(spec: ImageBuildSpec) -> None:
    """Refuse tests that would never run.

    Raises:
        InvalidSpecError: with the test.
    """
    known = [DEFAULT, *(variant.name for variant in spec.variants)]
    for test in spec.tests:
        for name in test.variants:
            if name not in known:
                raise InvalidSpecError(
                    f"spec.tests {test.name}: there is no variant {name!r}",
                    hint=f"there are {', '.join(known)}",
                )
        parse_archs(test.archs)


def tests_of(spec: ImageBuildSpec, variant: str, arch: Arch) -> list[ImageTest]:
    """The tests of one image on one architecture; ``variant`` is empty for that which is none."""
    return [
        test
        for test in spec.tests
        if _among(variant or DEFAULT, test.variants)
        and (not test.archs or arch in parse_archs(test.archs))
    ]


def _among(name: str, names: Collection[str]) -> bool:
    return not names or name in names


def facts_of(
    spec: ImageBuildSpec, variants: Sequence[VariantConfiguration]
) -> dict[str, list[object]]:
    """What of it makes a difference to the images, or to whether they are good; for a hash."""
    facts: dict[str, list[object]] = {
        "variants": [
            {
                "name": each.name,
                "image": each.image.model_dump(mode="json", by_alias=True, exclude_defaults=True),
                "tags": list(each.tags),
            }
            for each in variants
        ],
        "tests": [test.model_dump(mode="json") for test in spec.tests],
        "verify": [spec.verify_reproducible] if spec.verify_reproducible else [],
    }
    # Without them the hash is that of a version which did not know them.
    return {name: value for name, value in facts.items() if value}
