"""Finished images, remembered under what they were made from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from plimsoll.builder.layer import Layer
from plimsoll.builder.ociimage import ArchImage, fixed_time
from plimsoll.builder.store import storage_errors
from plimsoll.builder.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.settings import Settings
    from plimsoll.builder.store import Store

KIND = "images"
#: Part of every key under which finished images are remembered: what the engine makes of the
#: same input changes with it.
OUTPUT_FORMAT = 5


def image_key(  # noqa: PLR0913, PLR0917  (everything that an image is made from)
    config: ImageConfiguration,
    lock: Lock,
    arch: Arch,
    name: str,
    notes: Mapping[str, str],
    settings: Settings,
) -> str:
    """Under what a finished image is remembered: everything that it is made from."""
    from plimsoll.builder.sbom import tool  # noqa: PLC0415  (start-up time)

    value = [
        OUTPUT_FORMAT,
        tool(),
        config.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        [[p.name, p.version, p.checksum, p.datahash] for p in lock.packages(arch)],
        [[k.name, k.content] for k in lock.contents.keyring],
        arch.oci,
        name,
        dict(sorted(notes.items())),
        settings.compat,
        settings.build_date,
        fixed_time(),
        *([base.digest] if (base := lock.base(arch)) else []),
    ]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def remember(store: Store, key: str, image: ArchImage) -> None:
    """Keep what a finished image consists of, so that it need not be composed again."""
    value = {
        "config": image.config.decode(),
        "manifest": image.manifest.decode(),
        "sbom": image.sbom.decode(),
        "created": image.created,
        "packages": image.packages,
        "layers": [
            [x.diff_id, x.digest, x.size, x.media_type, [_keep(store, m) for m in x.members]]
            for x in image.layers
        ],
    }
    store.put_record(KIND, key, value)


def recall(store: Store, key: str, arch: Arch) -> ArchImage | None:
    """A finished image, if all that it consists of is still there."""
    value = store.get_record(KIND, key)
    if value is None:
        return None
    layers = []
    for diff_id, digest, size, media_type, parts in value["layers"]:
        members = tuple(Stored(store.root / path, n, sha) for path, n, sha in parts)
        for member in members:
            source = member.source
            if isinstance(source, bytes) or not source.is_file():
                return None
        layers.append(Layer(diff_id, digest, size, members, media_type))
    return ArchImage(
        arch=arch,
        config=value["config"].encode(),
        manifest=value["manifest"].encode(),
        layers=tuple(layers),
        sbom=value["sbom"].encode(),
        created=value["created"],
        packages=tuple((name, version) for name, version in value["packages"]),
    )


def _keep(store: Store, part: Stored) -> list[Any]:
    if isinstance(part.source, bytes):
        target = store.path("parts", part.checksum)
        if not target.exists():
            file = store.scratch() / "part"
            with storage_errors(f"writing to the cache {store.root}"):
                file.write_bytes(part.source)
                store.publish(file, target)
    else:
        target = part.source
    return [str(target.relative_to(store.root)), part.size, part.checksum]
