"""Registries at the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from plimsoll.oci.registry import Registry

insecure_option = click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Speak plain HTTP to this registry, as to those on this machine and to those in "
    "$PLIMSOLL_INSECURE_REGISTRIES.",
)


def open_registry(insecure: tuple[str, ...]) -> Registry:
    """A client with the logins of docker and podman."""
    from plimsoll.oci.auth import Credentials  # noqa: PLC0415  (start-up time)
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
    from plimsoll.oci.registry import Registry  # noqa: PLC0415

    return Registry(Credentials.default(), insecure=insecure_registries(insecure))
