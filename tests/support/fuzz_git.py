"""What reads the words of Git servers, of those who sign commits, and of upstreams."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

from plimsoll.api.gitsource import RequireSigned
from plimsoll.builder.git.allowedsigners import read_allowed_signers
from plimsoll.builder.git.logentry import fields
from plimsoll.builder.git.objects import object_id, parse_object
from plimsoll.builder.git.pack import PackReader
from plimsoll.builder.git.refs import read_advertisement, read_ls_refs, read_plain
from plimsoll.builder.git.signers import Signers, require
from plimsoll.builder.git.sshsig import read_signature, verify_signature
from plimsoll.builder.updates.versions import Rules, normalise
from plimsoll.errors import Error
from shared_data import DATA

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzQ6FrdT7xU7wX6MkeCXbGwDPHLkyHN3r2zHW1VEsPW"
_ROOT = DATA / "sigstore/trust/public-good.trusted_root.json"


def references(data: bytes) -> None:
    """Lists of references, in all their forms."""
    for read in (read_advertisement, read_ls_refs, read_plain):
        try:
            read(data)
        except Error:
            continue


def pack(data: bytes) -> None:
    """The answer that holds a pack, in small pieces."""
    reader = PackReader(io.BytesIO(), 1 << 20)
    for at in range(0, len(data), 50):
        reader.feed(data[at : at + 50])
    reader.finish()


@cache
def _signers() -> Signers:
    value: dict[str, object] = {"allowedSigners": f"ada {_KEY}"}
    if _ROOT.exists():
        rule = {"issuerRegExp": ".", "subjectRegExp": "."}
        value["people"] = [{"name": "Ada", "identities": [rule]}]
        value["trustedRoot"] = _ROOT.read_text()
    return Signers.of(RequireSigned.model_validate(value))


def commit(data: bytes) -> None:
    """A commit with whatever signature, judged."""
    require(_signers(), parse_object("commit", data, object_id("commit", data)), None, "")


def tag(data: bytes) -> None:
    """A tag with whatever signature, judged."""
    found = parse_object("tag", data, object_id("tag", data))
    _signers().verify(found, found.target)


def ssh_signature(data: bytes) -> None:
    """An SSH signature whose key is believed for once."""
    verify_signature(read_signature(data), b"message", "git")


def allowed_signers(data: bytes) -> None:
    """A file of allowed signers."""
    read_allowed_signers(data.decode(errors="replace"))


def log_entry(data: bytes) -> None:
    """Fields of a serialised message."""
    fields(data)


def upstream_version(data: bytes) -> None:
    """What upstream calls a version."""
    text = data.decode(errors="replace")
    Rules(strip_prefix="v", strip_suffix="-ga", separator="_", prerelease=True).version(text)
    found = normalise(text)
    assert found is None or normalise(found.text) in {found, None}


TARGETS: dict[str, Callable[[bytes], None]] = {
    "git-allowed-signers": allowed_signers,
    "git-commit": commit,
    "git-log-entry": log_entry,
    "git-pack": pack,
    "git-references": references,
    "git-ssh-signature": ssh_signature,
    "git-tag": tag,
    "upstream-version": upstream_version,
}
