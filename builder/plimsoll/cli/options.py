"""Options that several commands share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

insecure_option = click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    metavar="HOST",
    help="Speak plain HTTP to this registry (with its port), as to those on this machine and to "
    "those in $PLIMSOLL_INSECURE_REGISTRIES.",
)


class UsageError(Error):
    """Options that do not go together."""

    reason = "Usage"


def open_registry(insecure: tuple[str, ...]) -> Registry:
    """A client with the logins of docker and podman."""
    from plimsoll.oci.auth import Credentials  # noqa: PLC0415  start-up time
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
    from plimsoll.oci.registry import Registry  # noqa: PLC0415

    return Registry(Credentials.default(), insecure=insecure_registries(insecure))


def parse_image(text: str) -> Reference:
    """An image as a person writes it."""
    from plimsoll.oci.reference import Reference  # noqa: PLC0415  start-up time

    return Reference.parse(text)


def parse_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` options as a mapping.

    Raises:
        UsageError: if one has no ``=``, or a key comes twice.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in result:
            raise UsageError(
                f"{pair!r} is no annotation or comes twice", hint="write it as KEY=VALUE"
            )
        result[key] = value
    return result


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file.

    Raises:
        UsageError: if it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_file(path, what))
    except ValueError as error:
        raise UsageError(f"{what} {path} is no JSON: {error}") from None


def read_file(path: Path, what: str) -> bytes:
    """The content of a file.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None


def annotation_option(help_text: str) -> Callable[[Any], Any]:
    """``-a KEY=VALUE``, any number of times."""
    return click.option(
        "--annotation", "-a", "annotations", multiple=True, metavar="KEY=VALUE", help=help_text
    )
