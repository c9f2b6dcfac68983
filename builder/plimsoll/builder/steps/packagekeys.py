"""The signing keys of a repository of our own: folders that Secrets are mounted as."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import PackageKeysResult
from plimsoll.apk.keys import SigningKey
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class SigningKeyError(Error):
    """A folder that holds no signing key, or several."""

    reason = "InvalidSigningKey"


def signing_key(folder: Path) -> SigningKey:
    """The key of a folder: its only file ``*.rsa``; ``team.rsa`` signs as ``team.rsa.pub``.

    Raises:
        SigningKeyError: there is none, or more than one.
        KeyFormatError: it cannot be read.
    """
    files = sorted(folder.glob("*.rsa"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise SigningKeyError(
            f"the signing Secret mounted at {folder} must have one entry *.rsa; it has {found}",
            hint="give it exactly one: an RSA private key as PEM",
        )
    try:
        return SigningKey.from_file(files[0])
    except OSError as error:
        raise SigningKeyError(f"{files[0]} cannot be read: {error.strerror}") from error


def package_keys(folder: Path, previous: Sequence[Path] = ()) -> PackageKeysResult:
    """The public keys of the current and all previous signing keys.

    Raises:
        SigningKeyError: a folder holds no key, or two keys have one name.
        KeyFormatError: a key cannot be read.
    """
    current = signing_key(folder)
    keys = {current.name: current.public_pem().decode()}
    for each in previous:
        key = signing_key(each)
        pem = key.public_pem().decode()
        if keys.setdefault(key.name, pem) != pem:
            raise SigningKeyError(
                f"two signing keys are called {key.name}",
                hint="the entry of a Secret names its key: call the new one differently",
            )
    return PackageKeysResult(current=current.name, keys=keys)
