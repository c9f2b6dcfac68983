"""Git repositories as sources, and who must have signed what is taken from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plimsoll.api.authority import Identity
from plimsoll.api.base import Model, StrictModel
from plimsoll.api.meta import LocalReference, cel, listed_by

GitUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s@]+$")]
"""URL of a repository: https or http, without a login."""

RefName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^-\s~^:?*\[\\][^\s~^:?*\[\\]*$"),
]
"""Name of a branch or tag."""

CommitId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
"""All 40 hexadecimal digits of a commit."""

Signature = Literal["ssh", "openpgp", "gitsign"]
"""How something was signed: an SSH key, an OpenPGP key, a short-lived certificate."""


class Person(StrictModel):
    """Somebody who may sign, and by what they are known."""

    model_config = cel(
        (
            "[has(self.sshKeys), has(self.openpgpKeys), has(self.identities)].exists(x, x)",
            "needs at least one of identities, openpgpKeys, sshKeys",
        ),
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Who it is; stands in SBOM and provenance of what they signed."""

    ssh_keys: (
        Annotated[
            list[Annotated[str, StringConstraints(max_length=8192)]],
            Field(min_length=1, max_length=16),
        ]
        | None
    ) = None
    """Public keys of SSH: ``ssh-ed25519 AAAA…``."""

    openpgp_keys: Annotated[str, StringConstraints(max_length=131072)] | None = None
    """Public keys of OpenPGP, armored."""

    identities: Annotated[list[Identity], Field(min_length=1, max_length=4)] | None = None
    """Issuers and subjects of certificates, for gitsign; needs ``trustedRoot``."""


class RequireSigned(StrictModel):
    """Who must have signed a commit or tag; anything else is refused."""

    model_config = cel(
        (
            "has(self.people) || has(self.allowedSigners)",
            "needs at least one of allowedSigners, people",
        ),
    )

    object: Literal["any", "commit", "tag"] = "any"
    """What must be signed: the commit, the annotated tag by which it was found, or either."""

    people: (
        Annotated[
            list[Person],
            Field(min_length=1, max_length=16, json_schema_extra=listed_by("name")),
        ]
        | None
    ) = None
    """People of whom one must have signed."""

    allowed_signers: Annotated[str, StringConstraints(max_length=262144)] | None = None
    """Text of a file of allowed signers as ``ssh-keygen`` reads it (``gpg.ssh.allowedSignersFile``
    of Git). Everybody in it may sign."""

    trusted_root: Annotated[str, StringConstraints(max_length=524288)] | None = None
    """Text of a Sigstore ``trusted_root.json``: whose certificates and logs are believed."""

    insecure_ignore_sct: bool = Field(default=False, alias="insecureIgnoreSCT")
    """Accept certificates without proof that they are in a certificate transparency log."""


class SignedSource(StrictModel):
    """A rule about sources that packages are built from."""

    repository: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    """URL of repositories; ``*`` stands for anything but ``/``, ``**`` for anything."""

    require_signed: RequireSigned
    """Who must have signed the commit or tag that is built."""


class GitReference(StrictModel):
    """What to take: the default branch where nothing is given."""

    model_config = cel(
        (
            "[has(self.branch), has(self.tag), has(self.commit)].filter(x, x).size() <= 1",
            "expected at most one of branch, commit, tag",
        ),
    )

    branch: RefName | None = None
    """A branch; its newest commit is followed."""

    tag: RefName | None = None
    """A tag."""

    commit: CommitId | None = None
    """A commit by its full number."""


class GitSource(StrictModel):
    """Files in a Git repository."""

    url: GitUrl
    """URL of the repository."""

    ref: GitReference = GitReference()
    """What to take."""

    path: Annotated[
        str, StringConstraints(max_length=1024, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")
    ] = ""
    """Folder in it; empty for the top."""

    secret_ref: LocalReference | None = None
    """Secret with ``username`` and ``password`` (``kubernetes.io/basic-auth``), or with a file
    ``.netrc`` or ``.git-credentials``, whose entries are for single hosts."""

    require_signed: RequireSigned | None = None
    """Who must have signed the commit or tag."""


class VerifiedSigner(Model):
    """Who signed something, as far as it is proven."""

    name: str
    """The person, or the principal of the allowed signer."""

    signature: Signature
    """How it was signed."""

    key: str
    """Fingerprint of the key (``SHA256:…`` for SSH, hexadecimal for OpenPGP), or issuer and
    subject of the certificate."""

    object: Literal["commit", "tag"]
    """What was signed."""

    id: str
    """Number of the signed object."""

    commit: str
    """The commit that it speaks for."""
