"""The configuration document of an image on a base image: that of the base, with more layers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plimsoll.builder.ociimage import AUTHOR, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.builder.layer import Layer

#: Annotations of the image-spec that name the base image.
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"


def created_on(base: Mapping[str, Any]) -> int:
    """When a base image was made, in seconds since the epoch; 0 if it does not say."""
    try:
        return max(0, int(datetime.fromisoformat(str(base.get("created"))).timestamp()))
    except (ValueError, OverflowError):
        return 0


def config_on(
    base: Mapping[str, Any],
    layers: Sequence[Layer],
    *,
    created: int,
    labels: Mapping[str, str],
) -> bytes:
    """The configuration document.

    What the container runs, and as whom, stays as the base image has it.

    Args:
        base: the document of the base image.
        layers: those on top of it, bottom first.
        created: seconds since the epoch.
        labels: added to those of the base image.
    """
    when = timestamp(created)
    before: list[str] = base["rootfs"]["diff_ids"]
    runtime = base.get("config")
    runtime = dict(runtime) if isinstance(runtime, dict) else {}
    own = runtime.get("Labels")
    joint = {**(own if isinstance(own, dict) else {}), **labels}
    runtime["Labels"] = dict(sorted(joint.items()))
    history = base.get("history")
    items = history if isinstance(history, list) else []
    known = [dict(item) for item in items if isinstance(item, dict)]
    # Docker wants one item for each layer, and not every builder writes them.
    missing = len(before) - sum(not item.get("empty_layer") for item in known)
    known += [{"created": when, "created_by": "base image"} for _ in range(missing)]
    entry = {"author": AUTHOR, "created": when, "created_by": AUTHOR}
    value = {
        **base,
        "created": when,
        "config": runtime,
        "history": [*known, *(entry for _ in layers)],
        "rootfs": {
            "type": "layers",
            "diff_ids": [*before, *(f"sha256:{layer.diff_id}" for layer in layers)],
        },
    }
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
