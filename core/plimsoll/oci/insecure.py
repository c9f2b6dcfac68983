"""Which registries are spoken to without TLS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "PLIMSOLL_INSECURE_REGISTRIES"


def insecure_registries(
    named: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Registries (host:port) without TLS: those named, and those of the environment.

    ``PLIMSOLL_INSECURE_REGISTRIES`` lists them with commas or spaces. Loopback needs no entry.
    """
    env = os.environ if environ is None else environ
    return frozenset([*named, *env.get(VARIABLE, "").replace(",", " ").split()])
