"""Values of an image configuration that only the builder can judge, before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from plimsoll.apk.version import Constraint
from plimsoll.arch import Arch
from plimsoll.builder.certificates import only_one
from plimsoll.builder.repository import parse_repository
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.imagecontents import NamedContent

T = TypeVar("T")
Place = tuple[str | int, ...]


def mistakes(config: ImageConfiguration) -> Iterator[tuple[Place, Error]]:
    """Everything wrong: keys and indexes that lead there, and why."""
    contents = config.contents
    yield from _each(("archs",), config.archs, _architecture)
    yield from _each(("contents", "packages"), contents.packages, Constraint.parse)
    for name in ("repositories", "build_repositories"):
        yield from _each(("contents", name), getattr(contents, name), parse_repository)
    yield from _each(("contents", "runtime_keyring"), contents.runtime_keyring, _key)
    yield from _each(("certificates", "additional"), config.certificates.additional, only_one)


def _each(
    place: Place, items: Iterable[T], check: Callable[[T], object]
) -> Iterator[tuple[Place, Error]]:
    for number, item in enumerate(items):
        try:
            check(item)
        except Error as error:
            yield (*place, number), error


def _architecture(name: str) -> None:
    if name != "all":
        Arch.parse(name)


def _key(item: NamedContent) -> None:
    from plimsoll.apk.keys import load_public_key  # noqa: PLC0415  (few images have any)

    load_public_key(item.content.encode(), item.name)
