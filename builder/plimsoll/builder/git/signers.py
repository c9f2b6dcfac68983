"""Who may sign, and whether one of them did: a commit, or the tag that leads to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from plimsoll.api.gitsource import Person, RequireSigned, Signature, VerifiedSigner
from plimsoll.builder.git import openpgp
from plimsoll.builder.git.allowedsigners import (
    AllowedSigner,
    read_allowed_signers,
    read_key,
    signer_of,
)
from plimsoll.builder.git.errors import GitError, NotSignedError
from plimsoll.builder.git.sshsig import fingerprint, read_signature, verify_signature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysequoia import Cert

    from plimsoll.builder.git.objects import GitObject
    from plimsoll.signing.identities import AnyIdentity
    from plimsoll.signing.keyless import KeylessAuthority

#: What Git signs for (``ssh-keygen -Y sign -n git``).
NAMESPACE = "git"


@dataclass(frozen=True, slots=True)
class Signers:
    """All who may sign, with their keys read.

    Construct it with ``of``.
    """

    what: str = "any"
    ssh: tuple[AllowedSigner, ...] = ()
    openpgp_keys: dict[str, Cert] = field(default_factory=dict)
    openpgp_names: dict[str, str] = field(default_factory=dict)
    authority: KeylessAuthority | None = None
    identities: tuple[tuple[str, AnyIdentity], ...] = ()

    @classmethod
    def of(cls, required: RequireSigned) -> Self:
        """Read what a person wrote.

        Raises:
            GitError: a key is none, or nobody is named.
            Error: a trust root or an identity is none.
        """
        ssh = read_allowed_signers(required.allowed_signers or "")
        keys: dict[str, Cert] = {}
        names: dict[str, str] = {}
        people = required.people or []
        for person in people:
            ssh += _ssh_keys(person)
            for cert in (
                openpgp.read_keys(person.openpgp_keys, person.name) if (person.openpgp_keys) else ()
            ):
                keys[cert.fingerprint.lower()] = cert
                names[cert.fingerprint.lower()] = person.name
        identities, authority = _keyless(required, people)
        if not ssh and not keys and authority is None:
            raise GitError(
                "nobody is named who may sign", hint="name people, or give allowed signers"
            )
        return cls(required.object, tuple(ssh), keys, names, authority, identities)

    def verify(self, signed: GitObject, commit: str) -> VerifiedSigner:
        """Who signed a commit or tag.

        Args:
            signed: the object.
            commit: that it speaks for.

        Raises:
            NotSignedError: nobody who may, saying why.
        """
        what = f"the {signed.kind} {signed.name or signed.id[:12]}"
        if not signed.signature:
            raise NotSignedError(f"{what} is not signed")
        try:
            kind, name, key = self._judge(signed)
        except NotSignedError as error:
            raise NotSignedError(f"{what}: {error.message}", hint=error.hint) from None
        return VerifiedSigner(
            name=name, signature=kind, key=key, object=signed.kind, id=signed.id, commit=commit
        )

    def _judge(self, signed: GitObject) -> tuple[Signature, str, str]:
        armored, message = signed.signature, signed.payload
        if armored.startswith(b"-----BEGIN SSH "):
            signature = read_signature(armored)
            # Whose key it is first: a stranger's, of whatever size, is not worth the arithmetic.
            name = signer_of(signature.key, self.ssh, NAMESPACE, signed.time)
            verify_signature(signature, message, NAMESPACE)
            return "ssh", name, fingerprint(signature.key)
        if armored.startswith(b"-----BEGIN PGP SIGNATURE"):
            found = openpgp.verify(armored, message, self.openpgp_keys)
            return "openpgp", self.openpgp_names[found], found
        if armored.startswith(b"-----BEGIN SIGNED MESSAGE"):
            return self._certificate(armored, message)
        raise NotSignedError("its signature is of an unknown kind")

    def _certificate(self, armored: bytes, message: bytes) -> tuple[Signature, str, str]:
        if self.authority is None:
            raise NotSignedError("it is signed by a certificate, and no identity is named")
        from plimsoll.builder.git import gitsign  # noqa: PLC0415  (start-up time)

        identity = gitsign.verify(armored, message, self.authority)
        name = next((name for name, rule in self.identities if rule(identity)), identity.subject)
        return "gitsign", name, identity.id


def require(
    signers: Signers, commit: GitObject, tag: GitObject | None, name: str
) -> VerifiedSigner:
    """Demand a signature on a commit, or on the tag by which it was found.

    Args:
        signers: who may sign.
        commit: what is going to be used.
        tag: the annotated tag by which it was found, if it was.
        name: of that tag as it was asked for. A tag with another name inside was moved here from
            elsewhere, and proves nothing.

    Raises:
        NotSignedError: nobody who may has signed, saying why for each.
    """
    reasons: list[NotSignedError] = []
    if signers.what != "commit":
        try:
            return _require_tag(signers, commit, tag, name)
        except NotSignedError as error:
            reasons.append(error)
    if signers.what != "tag":
        try:
            return signers.verify(commit, commit.id)
        except NotSignedError as error:
            reasons.append(error)
    message = "; ".join(error.message for error in reasons)
    hint = next((error.hint for error in reasons if error.hint), None)
    raise NotSignedError(message, hint=hint or "only a signature of a named person counts")


def _require_tag(
    signers: Signers, commit: GitObject, tag: GitObject | None, name: str
) -> VerifiedSigner:
    if tag is None:
        raise NotSignedError(f"{name or 'it'} is no annotated tag")
    if tag.name != name:
        raise NotSignedError(
            f"the tag {name} holds the signed tag {tag.name[:100]}",
            hint="somebody gave a tag another name; ask upstream",
        )
    if tag.target != commit.id:
        raise NotSignedError(f"the tag {name} is of another commit")
    return signers.verify(tag, commit.id)


def _ssh_keys(person: Person) -> Iterable[AllowedSigner]:
    for text in person.ssh_keys or []:
        try:
            yield AllowedSigner((person.name,), read_key(text))
        except ValueError as error:
            raise GitError(
                f"a key of {person.name}: {error}", hint="write the line of the .pub file"
            ) from None


def _keyless(
    required: RequireSigned, people: list[Person]
) -> tuple[tuple[tuple[str, AnyIdentity], ...], KeylessAuthority | None]:
    named = [person for person in people if person.identities]
    if not named:
        return (), None
    if not required.trusted_root:
        raise GitError(
            "identities of certificates need a trusted root",
            hint="give trustedRoot: the text of Sigstore's trusted_root.json",
        )
    from plimsoll.signing.identities import AnyIdentity, IdentityRule  # noqa: PLC0415  start-up
    from plimsoll.signing.keyless import KeylessAuthority, Witnesses  # noqa: PLC0415
    from plimsoll.signing.trustroot import TrustRoot  # noqa: PLC0415

    rules = tuple(
        (
            person.name,
            AnyIdentity.of(
                [
                    IdentityRule.of(
                        subject=one.subject,
                        subject_pattern=one.subject_reg_exp,
                        issuer=one.issuer,
                        issuer_pattern=one.issuer_reg_exp,
                    )
                    for one in person.identities or []
                ]
            ),
        )
        for person in named
    )
    every = AnyIdentity(tuple(rule for _, one in rules for rule in one.rules))
    root = TrustRoot.parse(required.trusted_root.encode())
    authority = KeylessAuthority(
        witnesses=Witnesses(root=root),
        identity=every,
        require_sct=not required.insecure_ignore_sct,
    )
    return rules, authority
