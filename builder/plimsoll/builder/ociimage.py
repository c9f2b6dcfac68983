"""The OCI documents of an image: configuration, manifest, index (image-spec v1.1)."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plimsoll.builder.shellwords import split_words
from plimsoll.errors import Error
from plimsoll.oci.model import (
    OCI_CONFIG,
    Descriptor,
    Index,
    Manifest,
    Platform,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.layer import Layer

CREATED = "org.opencontainers.image.created"
_TITLE = "org.opencontainers.image.title"
_VENDOR = "org.opencontainers.image.vendor"
_SOURCE = "org.opencontainers.image.source"
_REVISION = "org.opencontainers.image.revision"
AUTHOR = "plimsoll"
#: The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
_LAST_TIME = 253_402_300_799
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}


class EntrypointError(Error):
    """A command line that cannot be split."""

    reason = "InvalidConfiguration"


@dataclass(frozen=True, slots=True)
class ArchImage:
    """The finished image of one architecture.

    Attributes:
        config: the configuration document.
        manifest: the manifest document.
        layers: bottom first.
        sbom: its SPDX document.
        created: seconds since the epoch.
        packages: (name, version) in install order.
    """

    arch: Arch
    config: bytes
    manifest: bytes
    layers: tuple[Layer, ...]
    sbom: bytes
    created: int
    packages: tuple[tuple[str, str], ...]

    @property
    def descriptor(self) -> Descriptor:
        """What an index says of it."""
        return Descriptor.of(
            self.manifest,
            "application/vnd.oci.image.manifest.v1+json",
            platform=Platform(architecture=self.arch.architecture, variant=self.arch.variant),
            artifact_type=OCI_CONFIG,
        )

    @property
    def size(self) -> int:
        """Bytes of the compressed layers together."""
        return sum(layer.size for layer in self.layers)


def timestamp(seconds: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def creation_time(build_times: Iterable[int], build_date: int = 0) -> int:
    """``SOURCE_DATE_EPOCH`` if it is set, else the newest package's build time.

    Args:
        build_times: of the packages, seconds since the epoch.
        build_date: the least it may be.

    Raises:
        EntrypointError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    fixed = fixed_time()
    return max([build_date, *build_times], default=0) if fixed is None else fixed


def fixed_time() -> int | None:
    """``SOURCE_DATE_EPOCH``, if it is set to something.

    Raises:
        EntrypointError: it is no time.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) > _LAST_TIME:
        raise EntrypointError(
            f"SOURCE_DATE_EPOCH is {text[:40]!r}",
            hint="set it to seconds since 1970, or unset it",
        )
    return int(text)


def image_config(  # noqa: PLR0913  (what goes into it)
    config: ImageConfiguration,
    arch: Arch,
    layers: Sequence[Layer],
    *,
    user: str,
    created: int,
    labels: Mapping[str, str],
    exact: bool = False,
) -> bytes:
    """The configuration document of one architecture.

    Args:
        config: the image configuration.
        arch: architecture.
        layers: bottom first.
        user: who the container runs as.
        created: seconds since the epoch.
        labels: all labels.
        exact: split command lines and write comments as the reference does.

    Raises:
        EntrypointError: a command line has an open quote.
    """
    when = timestamp(created)
    named = [labels[key] for key in (_TITLE, _VENDOR) if key in labels]
    comment = " by ".join(text for text in named if text or exact)
    if exact and len(named) != 2:
        comment = f"This is a {AUTHOR} single-layer image" if len(layers) == 1 else ""
    history = {"author": AUTHOR, "created": when, "created_by": AUTHOR, "comment": comment}
    value: dict[str, Any] = {
        "architecture": arch.architecture,
        "author": AUTHOR,
        "created": when,
        "history": [{k: v for k, v in history.items() if v} for _ in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{x.diff_id}" for x in layers]},
        "config": _runtime(config, user, labels, split_words if exact else shlex.split),
    }
    if arch.variant:
        value["variant"] = arch.variant
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def source_notes(vcs_url: str) -> dict[str, str]:
    """Annotations that the reference makes of ``URL@COMMIT``; it cuts at the first ``@``."""
    url, at, commit = vcs_url.partition("@")
    return {_SOURCE: url, _REVISION: commit} if at else {}


def _runtime(
    config: ImageConfiguration,
    user: str,
    labels: Mapping[str, str],
    split: Callable[[str], list[str]],
) -> dict[str, Any]:
    environment = _ENVIRONMENT | config.environment
    value: dict[str, Any] = {
        "Cmd": _split(split, config.cmd, "cmd"),
        "Entrypoint": _entrypoint(config, split),
        "Env": sorted(f"{key}={value}" for key, value in environment.items()),
        "Labels": dict(sorted(labels.items())),
        "User": user,
        "Volumes": {path: {} for path in sorted(config.volumes)},
        "WorkingDir": config.work_dir,
        "StopSignal": config.stop_signal,
        "Healthcheck": _healthcheck(config),
    }
    return {key: item for key, item in value.items() if item}


def _healthcheck(config: ImageConfiguration) -> dict[str, Any]:
    """Docker's addition to the configuration of images."""
    check = config.healthcheck
    if check is None:
        return {}
    from plimsoll.api.meta import parse_duration  # noqa: PLC0415  (start-up time; few have one)

    test = (
        ["CMD-SHELL", check.shell_fragment]
        if check.shell_fragment
        else ["CMD", *_split(shlex.split, check.command, "healthcheck.command")]
    )
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
    }
    nanoseconds = {
        key: int(parse_duration(text).total_seconds()) * 10**9 for key, text in times.items()
    }
    return {
        "Test": test,
        **{key: number for key, number in nanoseconds.items() if number},
        "Retries": check.retries,
    }


def _entrypoint(config: ImageConfiguration, split: Callable[[str], list[str]]) -> list[str]:
    entrypoint = config.entrypoint
    if entrypoint.type == "service-bundle":
        return ["/bin/s6-svscan", "/sv"]
    if entrypoint.shell_fragment:
        return ["/bin/sh", "-c", entrypoint.shell_fragment]
    return _split(split, entrypoint.command, "entrypoint.command")


def _split(split: Callable[[str], list[str]], text: str, where: str) -> list[str]:
    try:
        return split(text)
    except ValueError as error:
        raise EntrypointError(
            f"{where}: {text!r} cannot be split: {error}", hint="close the quote"
        ) from None


def image_manifest(config: bytes, layers: Sequence[Layer], annotations: Mapping[str, str]) -> bytes:
    """The manifest of one architecture."""
    return Manifest(
        config=Descriptor.of(config, OCI_CONFIG),
        layers=tuple(
            Descriptor(media_type=x.media_type, digest=f"sha256:{x.digest}", size=x.size)
            for x in layers
        ),
        annotations=dict(sorted(annotations.items())),
    ).to_bytes()


def image_index(images: Iterable[Descriptor], annotations: Mapping[str, str]) -> bytes:
    """The index over all architectures, sorted by their names."""
    ordered = sorted(images, key=lambda d: str(d.platform))
    return Index(manifests=tuple(ordered), annotations=dict(sorted(annotations.items()))).to_bytes()
