"""What the seal step signs with, as the source of a volume. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.api.signingspec import Document, Keyless, Kms, Signing

#: The shortest life that Kubernetes gives a token; the kubelet renews the file.
_TOKEN_SECONDS = 600
#: File with the reference of a key, as the seal step knows it.
KMS_REFERENCE = "kms_reference"


def inline_documents(signing: Signing | None) -> dict[str, str]:
    """What stands in the ImageBuild and is read as a file, by file name."""
    if signing is not None and signing.kms is not None:
        return {KMS_REFERENCE: signing.kms.key}
    if signing is None or signing.keyless is None:
        return {}
    documents = _documents(signing.keyless)
    return {name: one.inline for name, one in documents.items() if one.inline is not None}


def signing_source(signing: Signing, request: str) -> dict[str, Any]:
    """The key pair; or settings of a service, or of servers, and the token that says who signs.

    Args:
        signing: of the ImageBuild.
        request: ConfigMap that holds what ``inline_documents`` gave.
    """
    if signing.key_secret is not None:
        return {"secret": {"secretName": signing.key_secret.name, "defaultMode": 0o440}}
    if signing.kms is not None:
        return _kms_source(signing.kms, request)
    if signing.keyless is None:
        raise ValueError("nothing to sign with")
    sources: list[dict[str, Any]] = []
    for path, document in _documents(signing.keyless).items():
        place = document.config_map
        name, key = (place.name, place.key) if place else (request, path)
        sources.append({"configMap": {"name": name, "items": [{"key": key, "path": path}]}})
    token = {
        "audience": signing.keyless.audience,
        "expirationSeconds": _TOKEN_SECONDS,
        "path": "token",
    }
    sources.append({"serviceAccountToken": token})
    return {"projected": {"sources": sources, "defaultMode": 0o440}}


def signing_option(signing: Signing) -> str:
    """The option of the seal step that takes the folder."""
    if signing.kms is not None:
        return "--kms"
    return "--key" if signing.keyless is None else "--keyless"


def _kms_source(kms: Kms, request: str) -> dict[str, Any]:
    token: dict[str, Any] = {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}
    if kms.audience is not None:
        token["audience"] = kms.audience
    reference = {"name": request, "items": [{"key": KMS_REFERENCE, "path": KMS_REFERENCE}]}
    sources = [
        {"configMap": reference},
        {"secret": {"name": kms.settings.name}},
        {"serviceAccountToken": token},
    ]
    return {"projected": {"sources": sources, "defaultMode": 0o440}}


def _documents(keyless: Keyless) -> dict[str, Document]:
    """By the file names that the seal step knows."""
    return {
        "signing_config.json": keyless.signing_config,
        "trusted_root.json": keyless.trusted_root,
    }
