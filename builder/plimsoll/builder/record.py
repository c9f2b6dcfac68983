"""The image's record of its own configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.api.image import ImageConfiguration

#: Where the record lies in an image.
PATH = "etc/plimsoll.json"
#: Where the reference writes it.
COMPAT_PATH = "etc/apko.json"

_ORDER = (
    "contents",
    "entrypoint",
    "cmd",
    "healthcheck",
    "stop-signal",
    "work-dir",
    "accounts",
    "archs",
    "environment",
    "paths",
    "vcs-url",
    "annotations",
    "volumes",
    "layering",
    "compression",
    "certificates",
)
_CONTENTS = (
    "build_repositories",
    "runtime_repositories",
    "repositories",
    "keyring",
    "packages",
    "runtime_keyring",
    "baseimage",
)

_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def locked(
    config: ImageConfiguration, arch: str, packages: list[str], annotations: dict[str, str]
) -> ImageConfiguration:
    """The configuration of one architecture with every package at its version.

    Args:
        config: the configuration.
        arch: OCI name.
        packages: ``name=version``.
        annotations: all annotations of the image.
    """
    contents = config.contents.model_copy(update={"packages": sorted(packages)})
    return config.model_copy(
        update={"contents": contents, "archs": [arch], "annotations": annotations, "include": ""}
    )


def public(config: ImageConfiguration) -> ImageConfiguration:
    """The configuration without what means nothing outside the build.

    That is repositories for the build only, and paths of the machine it ran on.
    """
    contents = config.contents
    update: dict[str, Any] = {
        name: [text for text in getattr(contents, name) if "://" in text and "file://" not in text]
        for name in ("keyring", "repositories")
    }
    update["build_repositories"] = []
    # Manifest and SBOM name the base image by digest.
    update["baseimage"] = None
    return config.model_copy(update={"contents": contents.model_copy(update=update)})


def dump(config: ImageConfiguration, *, exact: bool = False) -> bytes:
    """The record as compact JSON: what was set, in a fixed order.

    Args:
        config: the configuration.
        exact: write it as Go's encoder does, which takes care of HTML and leaves no section out.
    """
    values = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    values["contents"] = {
        key: values["contents"][key] for key in _CONTENTS if key in values.get("contents", {})
    }
    values.setdefault("accounts", {})
    if exact:
        values.setdefault("entrypoint", {})
    if services := values.get("entrypoint", {}).get("services"):
        values["entrypoint"]["services"] = dict(sorted(services.items()))
    for name in ("environment", "annotations"):
        if name in values:
            values[name] = dict(sorted(values[name].items()))
    ordered: dict[str, Any] = {key: values[key] for key in _ORDER if key in values}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False) + "\n"
    return (text.translate(_HTML) if exact else text).encode()
