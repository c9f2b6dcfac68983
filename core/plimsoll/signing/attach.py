"""Putting signatures and attestations beside an image in its registry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest
from plimsoll.oci.registry import Artifact
from plimsoll.oci.strictjson import dump
from plimsoll.signing.bundle import BUNDLE_V03, Bundle
from plimsoll.signing.dsse import Envelope
from plimsoll.signing.encoding import b64encode
from plimsoll.signing.errors import InvalidEvidenceError
from plimsoll.signing.evidence import CONTENT_HINT, CREATED, PREDICATE_HINT
from plimsoll.signing.legacy import (
    DSSE_ENVELOPE,
    PREDICATE_TYPE,
    SIGNATURE,
    SIMPLE_SIGNING,
    legacy_tag,
)
from plimsoll.signing.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry


async def attach_bundle(
    registry: Registry,
    repository: Reference,
    subject: Descriptor,
    bundle: Bundle,
    *,
    created: datetime | None = None,
) -> Descriptor:
    """Attach a bundle as cosign 3 does: an artifact that refers to the image.

    Args:
        registry: the client.
        repository: of the image.
        subject: the image's manifest or index.
        bundle: of a statement about it.
        created: goes into an annotation; give the same time again (that of the build) and the
            same bundle is attached once, however often this is called. Default: now.

    Returns:
        The artifact's manifest.
    """
    if not isinstance(bundle.content, Envelope):
        raise InvalidEvidenceError("only bundles of statements are attached to images")
    statement = Statement.parse(bundle.content.payload)
    if statement.subject_of(subject.digest) is None:
        raise InvalidEvidenceError(f"the bundle does not speak of {subject.digest}")
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    return await registry.attach(
        repository,
        subject,
        artifact_type=BUNDLE_V03,
        layers=[Artifact(BUNDLE_V03, bundle.to_json())],
        annotations={
            CREATED: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            CONTENT_HINT: "dsse-envelope",
            PREDICATE_HINT: statement.predicate_type,
        },
    )


async def attach_legacy_signature(
    registry: Registry, repository: Reference, digest: str, payload: bytes, signature: bytes
) -> Descriptor:
    """Add a simple signature to the tag ``sha256-<hex>.sig``.

    Args:
        registry: the client.
        repository: of the image.
        digest: of the image.
        payload: and ``signature``: see ``plimsoll.signing.sign.sign_legacy``.
        signature: over ``payload``.
    """
    annotations = {SIGNATURE: b64encode(signature)}
    target = repository.with_tag(legacy_tag(digest, "sig"))
    return await _append(registry, target, payload, SIMPLE_SIGNING, annotations)


async def attach_legacy_attestation(
    registry: Registry, repository: Reference, digest: str, bundle: Bundle
) -> Descriptor:
    """Add the envelope of a bundle to the tag ``sha256-<hex>.att``."""
    if not isinstance(bundle.content, Envelope):
        raise InvalidEvidenceError("only bundles of statements are attached to images")
    envelope = bundle.content
    kind = Statement.parse(envelope.payload).predicate_type
    # cosign finds no signature in an envelope of which it does not know the annotation.
    annotations = {SIGNATURE: "", PREDICATE_TYPE: kind}
    target = repository.with_tag(legacy_tag(digest, "att"))
    return await _append(registry, target, dump(envelope.to_dict()), DSSE_ENVELOPE, annotations)


async def _append(
    registry: Registry,
    target: Reference,
    data: bytes,
    media_type: str,
    annotations: Mapping[str, str],
) -> Descriptor:
    pushed = await registry.push_blob(target, data, media_type)
    layer = Descriptor(
        media_type=media_type, digest=pushed.digest, size=pushed.size, annotations=annotations
    )
    try:
        descriptor, found = await registry.get_manifest(target)
        layers = Manifest.parse(found, descriptor.media_type, what=str(target)).layers
    except ImageNotFoundError:
        layers = ()
    if any(_same(layer, one) for one in layers):
        return descriptor
    layers = (*layers, layer)
    # Clients of that age want an image: a config that lists the layers.
    config = {
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "config": {},
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
    }
    config_descriptor = await registry.push_blob(
        target, json.dumps(config, separators=(",", ":")).encode(), OCI_CONFIG
    )
    manifest = Manifest(config=config_descriptor, layers=layers)
    return await registry.push_manifest(target, manifest.to_bytes(), OCI_MANIFEST)


def _same(one: Descriptor, other: Descriptor) -> bool:
    return one.digest == other.digest and dict(one.annotations) == dict(other.annotations)
