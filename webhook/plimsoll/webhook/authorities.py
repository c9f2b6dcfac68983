"""From an authority of a policy to one that verifies: keys, certificates, logs, timestamps.

Where a policy names no trust root, the default one is meant. Which logs and timestamp authorities
count is said by trust roots alone; the URLs in a policy are for people, and a policy that names
a private instance by its URL only is refused, as nobody said what its keys are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.errors import (
    InvalidIdentityError,
    InvalidKeyError,
    InvalidTrustRootError,
)
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.keyless import KeylessAuthority, LoggedKeyAuthority, Witnesses
from plimsoll.signing.keys import PublicKey, load_public_keys
from plimsoll.signing.trustroot import TrustRoot, authority_from_pem
from plimsoll.webhook.trust import DEFAULT, PUBLIC_HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.authority import Authority, CaCert, Key, Keyless, SecretRef
    from plimsoll.api.authority import Identity as Entry
    from plimsoll.signing.authority import Authority as Trusted
    from plimsoll.signing.results import Identity
    from plimsoll.webhook.trust import Trust


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of the webhook's own namespace that policies name.

    Attributes:
        namespace: the webhook's own.
        data: name → entries; ``None`` for a Secret that does not exist.
    """

    namespace: str
    data: Mapping[str, Mapping[str, bytes] | None]


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A public key of a key management service, or why there is none."""

    pem: bytes = b""
    fault: str = ""


@dataclass(slots=True)
class AuthorityCompiler:
    """Makes the authorities of one policy.

    Attributes:
        group: API group of the policy.
        secrets: for keys.
        trust: for trust roots.
        kms: reference → key.
        used: fingerprints of all that verdicts will rest on.
    """

    group: str
    secrets: Secrets
    trust: Trust
    kms: Mapping[str, KmsKey] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    def compile(self, authority: Authority) -> Trusted:
        """The authority that verifies.

        Raises:
            ValueError: what is wrong, to follow the authority's path.
        """
        if authority.keyless is not None:
            return self._keyless(authority, authority.keyless)
        keys = self._keys(authority.key)
        self.used += [key.fingerprint for key in keys]
        log, stamp = authority.ctlog, authority.rfc3161timestamp
        if log is None and stamp is None:
            return KeyAuthority(keys)
        return LoggedKeyAuthority(
            keys=KeyAuthority(keys), witnesses=self._witnesses(authority, TrustRoot())
        )

    def _keyless(self, authority: Authority, keyless: Keyless) -> KeylessAuthority:
        root = self._root(".keyless", keyless.trust_root_ref, keyless.url, keyless.ca_cert)
        if not root.certificate_authorities:
            raise ValueError(".keyless.trustRootRef: the trust root has no certificate authority")
        if not (root.ctlogs or keyless.insecure_ignore_sct):
            raise ValueError(
                ".keyless: the trust root has no certificate transparency log; add one, or set "
                "insecureIgnoreSCT"
            )
        rules: list[_Both] = []
        for index, one in enumerate(keyless.identities or []):
            try:
                rules.append(_Both(_rule(one, exact=True), _rule(one, exact=False)))
            except InvalidIdentityError as error:
                raise ValueError(f".keyless.identities[{index}]: {error.message}") from error
        return KeylessAuthority(
            witnesses=self._witnesses(authority, root),
            identity=_AnyOf(tuple(rules)),
            require_sct=not keyless.insecure_ignore_sct,
            hash_algorithm=keyless.ca_cert.hash_algorithm if keyless.ca_cert is not None else None,
        )

    def _witnesses(self, authority: Authority, root: TrustRoot) -> Witnesses:
        log, stamp = authority.ctlog, authority.rfc3161timestamp
        if log is not None and (log.trust_root_ref or not root.tlogs):
            root = replace(root, tlogs=self._root(".ctlog", log.trust_root_ref, log.url).tlogs)
        if log is not None and not root.tlogs:
            raise ValueError(".ctlog: the trust root has no transparency log")
        if stamp is not None:
            found = self._root(".rfc3161timestamp", stamp.trust_root_ref)
            if not found.timestamp_authorities:
                raise ValueError(".rfc3161timestamp: the trust root has no timestamp authority")
            root = replace(root, timestamp_authorities=found.timestamp_authorities)
        return Witnesses(
            root=root,
            log_entries=None if log is None else 1,
            timestamps=0 if stamp is None else 1,
        )

    def _root(
        self, path: str, name: str | None, url: str | None = None, ca_cert: CaCert | None = None
    ) -> TrustRoot:
        if ca_cert is not None:
            base = self._root(path, name) if name else TrustRoot()
            own = f"{path}.ca-cert"
            if ca_cert.kms is not None:
                raise ValueError(f"{own}.kms: no such service has certificates; give data")
            try:
                chain = authority_from_pem(self._pem(own, ca_cert).decode(errors="replace"))
            except InvalidTrustRootError as error:
                raise ValueError(f"{own}: {error.message}") from error
            return replace(base, certificate_authorities=(chain,))
        loaded = self.trust(self.group, name or DEFAULT)
        if loaded.root is None:
            what = f"TrustRoot {name}" if name else "the default trust root"
            raise ValueError(f"{path}.trustRootRef: {what}: {loaded.fault}")
        if not name and loaded.public and url and not _is_public(url):
            raise ValueError(
                f"{path}.url: nobody said whose keys {url} has; name a TrustRoot by trustRootRef"
            )
        self.used.append(loaded.fingerprint)
        return loaded.root

    def _keys(self, key: Key | None) -> tuple[PublicKey, ...]:
        if key is None:
            return ()
        path = ".key.kms" if key.kms else ".key.data"
        path = path if key.secret_ref is None else ".key.secretRef"
        try:
            return load_public_keys(self._pem(".key", key), hash_algorithm=key.hash_algorithm)
        except InvalidKeyError as error:
            raise ValueError(f"{path}: {error}") from error

    def _pem(self, path: str, key: Key | CaCert) -> bytes:
        if key.kms is not None:
            return self._from_kms(f"{path}.kms", key.kms)
        if key.secret_ref is None:
            return (key.data or "").encode()
        try:
            pem = _from_secret(key.secret_ref, self.secrets)
        except ValueError as error:
            raise ValueError(f"{path}.secretRef: {error}") from error
        self.used.append(pem.hex())
        return pem

    def _from_kms(self, path: str, reference: str) -> bytes:
        found = self.kms.get(reference)
        if found is None or not found.pem:
            why = found.fault if found is not None else "the key was not asked for"
            raise ValueError(f"{path}: {why}")
        self.used.append(found.pem.hex())
        return found.pem


@dataclass(frozen=True, slots=True)
class _Both:
    """An identity of a policy, whose texts and patterns must all hold."""

    texts: IdentityRule
    patterns: IdentityRule


@dataclass(frozen=True, slots=True)
class _AnyOf:
    rules: tuple[_Both, ...]

    def __call__(self, identity: Identity) -> bool:
        return any(rule.texts(identity) and rule.patterns(identity) for rule in self.rules)


def _rule(one: Entry, *, exact: bool) -> IdentityRule:
    """A rule; where a policy gives a text and a pattern, of the kind that is preferred."""
    subject = bool(one.subject) and (exact or not one.subject_reg_exp)
    issuer = bool(one.issuer) and (exact or not one.issuer_reg_exp)
    return IdentityRule.of(
        subject=one.subject if subject else None,
        subject_pattern=None if subject else one.subject_reg_exp,
        issuer=one.issuer if issuer else None,
        issuer_pattern=None if issuer else one.issuer_reg_exp,
    )


def _is_public(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return any(host == one or host.endswith(f".{one}") for one in PUBLIC_HOSTS)


def _from_secret(ref: SecretRef, secrets: Secrets) -> bytes:
    where = f"Secret {secrets.namespace}/{ref.name}"
    if ref.namespace not in {None, "", secrets.namespace}:
        raise ValueError(f"only Secrets of namespace {secrets.namespace} are read")
    entries = secrets.data.get(ref.name or "")
    if entries is None:
        raise ValueError(f"{where} does not exist")
    if "cosign.pub" in entries:
        return entries["cosign.pub"]
    if len(entries) != 1:
        raise ValueError(f"{where} has no entry cosign.pub")
    return next(iter(entries.values()))
