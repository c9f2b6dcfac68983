"""Guests without workspaces: composed once, found again while nothing that they consist of changes.

Which image belongs to which lock is known from the signed state, never from a tag: who can write
to the registry cannot slip in a guest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.arch import Arch
from plimsoll.builder.package.runner import RunnerError
from plimsoll.builder.package.script import SHELLS
from plimsoll.builder.publish import push_image
from plimsoll.builder.remembered import image_key
from plimsoll.builder.steps.packagescript import PROGRAM
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.steps.packagecommon import Storage

SHELL = "dev.plimsoll.guest.shell"
_MAX_CONFIG = 4 << 20


@dataclass(frozen=True, slots=True)
class BaseGuest:
    """A guest in the registry.

    Attributes:
        key: hash of all that it was made from.
        digest: of its manifest.
        config: its configuration document.
    """

    key: str
    digest: str
    config: bytes
    manifest: Manifest

    @property
    def shell(self) -> list[str]:
        """What runs a program in it."""
        return self.manifest.annotations[SHELL].split()


async def base_guest(  # noqa: PLR0913, PLR0917  (what it is made of, and where)
    engine: Engine,
    storage: Storage,
    config: ImageConfiguration,
    lock: Lock,
    arch: Arch,
    known: Mapping[str, str],
) -> BaseGuest:
    """Find a guest in the registry, or compose and push it.

    Args:
        engine: composes it.
        storage: where it goes.
        config: its configuration.
        lock: its packages.
        arch: architecture.
        known: key → digest of guests that were made before.

    Raises:
        RunnerError: it has no shell.
        Error: a package cannot be had or trusted, or the registry fails.
    """
    key = image_key(config, lock, arch, "guest", {}, engine.settings)
    if key in known:
        found = await _pull(storage, key, known[key])
        if found is not None:
            engine.events.say("the guest is there already")
            return found
    notes = {SHELL: " ".join(await _shell(engine, lock))}

    async def once() -> BaseGuest:
        image = await engine.build(config, lock, arch, name="guest", annotations=notes)
        pushed = await push_image(storage.registry, storage.repository, image, engine.store)
        manifest = Manifest.parse(image.manifest, OCI_MANIFEST, what="the guest")
        return BaseGuest(key, pushed.digest, image.config, manifest)

    return await engine.repairing(once)


async def _pull(storage: Storage, key: str, digest: str) -> BaseGuest | None:
    target = storage.repository.with_digest(digest)
    try:
        descriptor, data = await storage.registry.get_manifest(target)
    except ImageNotFoundError:
        return None
    manifest = Manifest.parse(data, descriptor.media_type, what=str(target))
    config = await storage.blob(manifest.config, _MAX_CONFIG)
    return BaseGuest(key, digest, config, manifest)


async def _shell(engine: Engine, lock: Lock) -> Sequence[str]:
    """What runs a program in a guest: the first shell that it has."""
    packages = await engine.packages(lock)
    found = {entry.path for package in packages.values() for entry in package.entries}
    for shell in SHELLS:
        path = shell[0].strip("/")
        if path in found or f"usr/{path}" in found:
            return shell
    raise RunnerError(
        "the guest has no shell", hint="add busybox or bash to environment.contents.packages"
    )


async def push_with_layer(  # noqa: PLR0913  (what it is made of)
    storage: Storage,
    base: BaseGuest,
    layer: Layer,
    blob: Descriptor,
    user: int,
    *,
    node: str = "",
) -> Descriptor:
    """Push a guest with one more layer, whose program it runs; by digest.

    Args:
        storage: where to.
        base: the guest.
        layer: on top.
        blob: that layer in the registry.
        user: who runs the program.
        node: architecture of the nodes that run it by emulation; empty for its own.

    Raises:
        RegistryError: the registry does not take it.
    """
    document: dict[str, Any] = json.loads(base.config)
    if node:
        # Container runtimes refuse what says that it is for others.
        document["architecture"] = Arch.parse(node).architecture
        document.pop("variant", None)
    document["rootfs"]["diff_ids"].append(f"sha256:{layer.diff_id}")
    document["history"].append(document["history"][-1])
    run = document["config"]
    run |= {"Entrypoint": [*base.shell, PROGRAM], "User": f"{user}:{user}", "WorkingDir": "/"}
    run.pop("Cmd", None)
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    config = await storage.registry.push_blob(storage.repository, text, OCI_CONFIG)
    manifest = Manifest(config=config, layers=(*base.manifest.layers, blob)).to_bytes()
    target = storage.repository.with_digest(digest_of(manifest))
    return await storage.registry.push_manifest(target, manifest, OCI_MANIFEST)
