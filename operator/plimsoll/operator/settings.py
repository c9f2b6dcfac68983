"""What the operator is told by its environment."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "PLIMSOLL_"


class SettingsError(Error):
    """A setting is missing or wrong."""

    reason = "InvalidSettings"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How the Jobs of all builds run.

    Attributes:
        image: our own image, by digest if possible (``PLIMSOLL_IMAGE``).
        pull_policy: of that image (``PLIMSOLL_IMAGE_PULL_POLICY``).
        pull_secrets: names of Secrets to pull it with (``PLIMSOLL_IMAGE_PULL_SECRETS``).
        insecure_registries: hosts with port that are spoken to over plain HTTP
            (``PLIMSOLL_INSECURE_REGISTRIES``).
        trusted_hosts: hosts of package repositories and registries at addresses that are refused
            otherwise: loopback, link-local (``PLIMSOLL_TRUSTED_HOSTS``).
        builder_id: SLSA ``builder.id``, made of version and ``PLIMSOLL_CLUSTER_NAME``.
        build_account: ServiceAccount of all Jobs but the sealing one; made where it is missing
            (``PLIMSOLL_BUILD_SERVICE_ACCOUNT``).
        seal_account: ServiceAccount of the sealing Job (``PLIMSOLL_SEAL_SERVICE_ACCOUNT``).
        priority_class: of Jobs that name none themselves (``PLIMSOLL_JOB_PRIORITY_CLASS``).
    """

    image: str
    builder_id: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    build_account: str = "plimsoll-build"
    seal_account: str = "plimsoll-seal"
    priority_class: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings.

    Attributes:
        jobs: how Jobs run.
        namespaces: to watch (``PLIMSOLL_NAMESPACES``); empty: the whole cluster.
        port: of probes and metrics (``PLIMSOLL_HTTP_PORT``).
        most_builds: images, and packages for one architecture, that are built at the same time
            (``PLIMSOLL_MAX_BUILDS``); 0: any number.
        most_builds_in_namespace: the same in each namespace
            (``PLIMSOLL_MAX_BUILDS_PER_NAMESPACE``).
        workers: objects reconciled at the same time (``PLIMSOLL_WORKERS``).
        resync: seconds after which an object is looked at with no event
            (``PLIMSOLL_RESYNC_SECONDS``).
        log_level: ``debug``, ``info``, ``warning`` or ``error`` (``PLIMSOLL_LOG_LEVEL``).
    """

    jobs: JobSettings
    namespaces: tuple[str, ...] = ()
    port: int = 8080
    most_builds: int = 0
    most_builds_in_namespace: int = 0
    workers: int = 4
    resync: float = 600.0
    log_level: str = "info"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: with the name of the variable.
        """
        env = os.environ if environ is None else environ

        def text(name: str, default: str = "") -> str:
            return env.get(PREFIX + name, "").strip() or default

        def words(name: str) -> tuple[str, ...]:
            return tuple(w for w in text(name).replace(",", " ").split() if w)

        def number(name: str, default: int, least: int = 1) -> int:
            value = text(name, str(default))
            if not value.isdigit() or not least <= int(value) < 1_000_000:
                raise SettingsError(
                    f"{PREFIX}{name} is {value!r}", hint=f"give a whole number from {least} on"
                )
            return int(value)

        if not text("IMAGE"):
            raise SettingsError(
                f"{PREFIX}IMAGE is not set",
                hint="name the image that the build Jobs run, which is the operator's own",
            )
        level = text("LOG_LEVEL", "info").lower()
        if level not in {"debug", "info", "warning", "error"}:
            raise SettingsError(
                f"{PREFIX}LOG_LEVEL is {level!r}", hint="use debug, info, warning or error"
            )
        return cls(
            jobs=JobSettings(
                image=text("IMAGE"),
                pull_policy=text("IMAGE_PULL_POLICY", "IfNotPresent"),
                pull_secrets=words("IMAGE_PULL_SECRETS"),
                insecure_registries=words("INSECURE_REGISTRIES"),
                trusted_hosts=words("TRUSTED_HOSTS"),
                builder_id=builder_id(text("CLUSTER_NAME", "default")),
                build_account=text("BUILD_SERVICE_ACCOUNT", "plimsoll-build"),
                seal_account=text("SEAL_SERVICE_ACCOUNT", "plimsoll-seal"),
                priority_class=text("JOB_PRIORITY_CLASS"),
            ),
            namespaces=words("NAMESPACES"),
            port=number("HTTP_PORT", 8080),
            most_builds=number("MAX_BUILDS", 0, 0),
            most_builds_in_namespace=number("MAX_BUILDS_PER_NAMESPACE", 0, 0),
            workers=number("WORKERS", 4),
            resync=float(number("RESYNC_SECONDS", 600)),
            log_level=level,
        )


def builder_id(cluster: str) -> str:
    """SLSA ``builder.id``: this version of the operator in this cluster."""
    return f"https://plimsoll.dev/operator/v{importlib.metadata.version('plimsoll')}/{cluster}"
