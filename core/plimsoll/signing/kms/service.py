"""What a key management service is to us, and which ones there are.

A reference is a URI as cosign has it: ``hashivault://KEY``. The scheme chooses the service. That
of Vault and OpenBao comes with us; a package adds another by an entry point of the group
``plimsoll.kms``, whose name is the scheme and whose object is a ``Factory``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from plimsoll.signing.bundle import Bundle, Material
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.errors import SigningError, SigningServiceError
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.kms.names import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.http import Http
    from plimsoll.signing.keys import PublicKey

GROUP: Final = "plimsoll.kms"
_SETTING: Final = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_SETTING_LIMIT: Final = 64 << 10


class KmsError(SigningError):
    """A reference that names no key that can be used."""

    reason = "KmsKeyUnusable"


class KmsHandle(Protocol):
    """One key of a service."""

    async def public_keys(self) -> bytes:
        """The versions of the key that verify, as PEM blocks, that which signs first.

        Raises:
            KmsError: there is no such key, or it is of a kind that nobody can verify with.
            SigningServiceError: the service refuses or fails.
        """

    async def sign(self, data: bytes) -> bytes:
        """The signature over ``data``, as ``PublicKey.verifies`` takes it; raises as above."""


class Factory(Protocol):
    """Makes handles for the references of one scheme."""

    def __call__(self, reference: str, http: Http, environ: Mapping[str, str]) -> KmsHandle:
        """The handle of a key; asks nobody yet.

        Args:
            reference: the whole URI.
            http: for requests.
            environ: has addresses and credentials.

        Raises:
            KmsError: if the reference or the environment is of no use.
        """


def open_kms(reference: str, http: Http, environ: Mapping[str, str] | None = None) -> KmsHandle:
    """The key that a reference names.

    Raises:
        KmsError: if nothing here speaks to such a service, or the reference is malformed.
    """
    scheme = reference.partition("://")[0]
    found = os.environ if environ is None else environ
    if scheme == "hashivault":
        from plimsoll.signing.kms.vault import vault_key  # noqa: PLC0415  for who uses it

        return vault_key(reference, http, found)
    for point in entry_points(group=GROUP, name=scheme):
        factory: Factory = point.load()
        return factory(reference, http, found)
    known = scheme in SCHEMES
    raise KmsError(
        f"nothing here speaks to the service of {reference[:100]!r}",
        hint=f"install a package with an entry point {scheme!r} of the group {GROUP!r}, or keep "
        "the key in Vault or OpenBao (hashivault://KEY)"
        if known
        else f"references begin with one of {', '.join(f'{one}://' for one in SCHEMES)}",
    )


def authorities_of(environ: Mapping[str, str] | None = None) -> Path | None:
    """File with the certificate authorities of the service (``VAULT_CACERT``), if one is named."""
    named = (os.environ if environ is None else environ).get("VAULT_CACERT")
    return Path(named) if named else None


def read_kms_folder(folder: Path) -> tuple[str, dict[str, str]]:
    """A reference and the settings for it, as the seal Job has them mounted.

    Settings are files named like environment variables. ``token`` is the ServiceAccount's.

    Raises:
        KmsError: if it cannot be read.
    """
    settings = {"VAULT_JWT_FILE": str(folder / "token")}
    try:
        for file in sorted(folder.iterdir()):
            if _SETTING.fullmatch(file.name) and file.is_file():
                text = file.read_text()[:_SETTING_LIMIT].strip()
                # Certificates are wanted as a file, and this is one.
                settings[file.name] = str(file) if text.startswith("-----BEGIN") else text
        return (folder / "kms_reference").read_text().strip(), settings
    except (OSError, UnicodeDecodeError) as error:
        raise KmsError(
            f"what signing with a key of a service needs cannot be read: {error}",
            hint="signing.kms names a Secret with the settings of the service",
        ) from None


@dataclass(frozen=True, slots=True)
class KmsStatements:
    """Signs statements with a key of a service; see ``StatementSigner``.

    Attributes:
        handle: the key.
        public: what verifies it; the first is that which signs.
    """

    handle: KmsHandle
    public: tuple[PublicKey, ...]

    @classmethod
    async def of(cls, handle: KmsHandle) -> KmsStatements:
        """Ask for the public keys; raises as ``KmsHandle.public_keys``."""
        return cls(handle, load_public_keys(await handle.public_keys()))

    async def sign_statement(self, statement: bytes) -> Bundle:
        """See ``StatementSigner``."""
        signature = await self.sign(pae(IN_TOTO, statement))
        return Bundle(
            content=Envelope(statement, IN_TOTO, (EnvelopeSignature(signature),)),
            material=Material(key_hint=self.public[0].hint),
        )

    async def sign(self, data: bytes) -> bytes:
        """The signature over data, verified before it is handed out."""
        signature = await self.handle.sign(data)
        if not self.public[0].verifies(signature, data):
            raise SigningServiceError("the service made a signature that its key does not verify")
        return signature

    async def made(self, bundle: Bundle) -> bool:
        """See ``StatementSigner``."""
        content = bundle.content
        return isinstance(content, Envelope) and any(
            key.verifies(one.sig, content.signed_bytes)
            for one in content.signatures
            for key in self.public
        )
