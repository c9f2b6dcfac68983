"""Trust roots as policies use them: read from TrustRoot objects, with a name for what is in them.

Everything here works without a network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from plimsoll.api.meta import GROUP
from plimsoll.api.trustroot import pem_of
from plimsoll.signing.errors import InvalidKeyError, InvalidTrustRootError
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.publicroot import embedded
from plimsoll.signing.trustroot import TrustRoot, authority_from_pem, log_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.trustroot import (
        CertificateAuthority,
        SigstoreKeys,
        TransparencyLogKey,
        TrustRootSpec,
    )
    from plimsoll.signing.trustroot import CertificateAuthority as Chain
    from plimsoll.signing.trustroot import LogKey

#: The name under which the default trust root is asked for.
DEFAULT = ""

#: Hosts of the public instance of Sigstore, which is believed where a policy names no trust root.
PUBLIC_HOSTS = ("sigstore.dev",)


@dataclass(frozen=True, slots=True)
class LoadedRoot:
    """A trust root, or why there is none."""

    root: TrustRoot | None = None
    fingerprint: str = ""
    """SHA-256 of what it was read from: a change of trust is a change of this."""

    fault: str = ""
    public: bool = False
    """Whether it is the public instance of Sigstore."""


class Trust(Protocol):
    """Finds trust roots."""

    def __call__(self, group: str, name: str) -> LoadedRoot:
        """The root that a policy of an API group calls by a name; ``DEFAULT`` for the default."""


@dataclass(frozen=True, slots=True)
class KnownRoots:
    """Roots that are all there.

    Attributes:
        roots: by API group and name.
        default: name of the one that is used where a policy names none; the public instance of
            Sigstore if empty.
    """

    roots: Mapping[tuple[str, str], LoadedRoot] = field(default_factory=dict)
    default: str = ""

    def __call__(self, group: str, name: str) -> LoadedRoot:
        """See ``Trust``."""
        wanted = name or self.default
        if not wanted:
            return self.roots.get((GROUP, DEFAULT)) or public_root()
        # Policies of policy-controller may name the roots of either group, their own first.
        for place in dict.fromkeys((group, GROUP)):
            found = self.roots.get((place, wanted))
            if found is not None:
                return found
        return LoadedRoot(fault=f"TrustRoot {wanted} does not exist")


def public_root() -> LoadedRoot:
    """The public instance of Sigstore, from the sigstore package."""
    try:
        data = embedded("trusted_root.json")
    except (OSError, ModuleNotFoundError) as error:
        return LoadedRoot(fault=f"the public trust root is not there: {error}")
    return parsed_root(data, public=True)


def parsed_root(data: bytes, *, public: bool = False) -> LoadedRoot:
    """A root from the bytes of ``trusted_root.json``."""
    try:
        root = TrustRoot.parse(data)
    except InvalidTrustRootError as error:
        return LoadedRoot(fault=error.message)
    return LoadedRoot(root, hashlib.sha256(data).hexdigest(), public=public)


def local_root(spec: TrustRootSpec) -> LoadedRoot:
    """A root whose spec says it all; blocking, as a TUF repository is checked too."""
    if spec.trusted_root is not None:
        return parsed_root(spec.trusted_root.encode())
    if spec.sigstore_keys is not None:
        try:
            root = _from_keys(spec.sigstore_keys)
        except (InvalidTrustRootError, InvalidKeyError, ValueError) as error:
            return LoadedRoot(fault=f"spec.sigstoreKeys: {error}")
        text = spec.sigstore_keys.model_dump_json()
        return LoadedRoot(root, hashlib.sha256(text.encode()).hexdigest())
    if spec.repository is not None:
        # TUF is slow to import and rarely wanted.
        from plimsoll.webhook.tuf import TufError, repository_target  # noqa: PLC0415

        try:
            return parsed_root(repository_target(spec.repository))
        except TufError as error:
            return LoadedRoot(fault=error.message)
    return LoadedRoot(fault="it was not fetched yet")


def _from_keys(keys: SigstoreKeys) -> TrustRoot:
    def authorities(listed: list[CertificateAuthority] | None) -> tuple[Chain, ...]:
        return tuple(authority_from_pem(pem_of(one.cert_chain or "")) for one in listed or [])

    return TrustRoot(
        certificate_authorities=authorities(keys.certificate_authorities),
        timestamp_authorities=authorities(keys.timestamp_authorities),
        tlogs=tuple(_log(one, f".tLogs[{i}]") for i, one in enumerate(keys.t_logs or [])),
        ctlogs=tuple(_log(one, f".ctLogs[{i}]") for i, one in enumerate(keys.ct_logs or [])),
    )


def _log(item: TransparencyLogKey, path: str) -> LogKey:
    if (item.hash_algorithm or "sha-256") != "sha-256":
        raise ValueError(f"{path[1:]}.hashAlgorithm: only sha-256 trees are known")
    (key,) = load_public_keys(pem_of(item.public_key or "").encode())
    return log_key(key.key, base_url=item.base_url or "")
