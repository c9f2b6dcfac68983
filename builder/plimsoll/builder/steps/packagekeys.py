"""The package-keys step: the public halves of signing keys, which the operator cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import PackageKeysResult
from plimsoll.builder.steps.packagepublish import read_signing_key
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class KeyNameError(Error):
    """Two signing keys of one name."""

    reason = "DuplicateKeyName"


def package_keys(folder: Path, previous: Sequence[Path] = ()) -> PackageKeysResult:
    """The public keys of the current and all previous signing keys.

    Args:
        folder: what the Secret of the current key is mounted as.
        previous: the same of previous keys.

    Raises:
        RequestError: a folder holds no key.
        KeyFormatError: a key cannot be read.
        KeyNameError: two keys have one name.
    """
    current = read_signing_key(folder)
    keys = {current.name: current.public_pem().decode()}
    for each in previous:
        key = read_signing_key(each)
        pem = key.public_pem().decode()
        if keys.setdefault(key.name, pem) != pem:
            raise KeyNameError(
                f"two signing keys are called {key.name}",
                hint="the entry of a Secret names its key: call the new one differently",
            )
    return PackageKeysResult(current=current.name, keys=keys)
