"""Who may sign with which SSH key: the file of allowed signers (``ssh-keygen``, ALLOWED SIGNERS).

One entry a line: principals, options, key. A time without ``Z`` is taken as UTC, so that a file
means the same everywhere.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificateType

from plimsoll.builder.git.errors import GitError, NotSignedError
from plimsoll.builder.git.sshsig import certificate, fingerprint
from plimsoll.builder.git.wire import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.serialization.ssh import SSHCertificate

MAX_LINES: Final = 10_000
_KEY_TYPES: Final = re.compile(
    r"ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)
_TIMES: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_FIELD = re.compile(r'\s*((?:"(?:[^"\\]|\\.)*"|[^\s"])+)')


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """A key, and in whose name it may sign.

    Attributes:
        principals: patterns (``*``, ``?``, ``!``) of names.
        key: its blob.
        authority: whether it signs certificates, and nothing itself.
        namespaces: patterns of purposes; empty allows all.
        after: not before that.
        before: not from that on.
    """

    principals: tuple[str, ...]
    key: bytes
    authority: bool = False
    namespaces: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None


def read_allowed_signers(text: str) -> list[AllowedSigner]:
    """Read the text of a file.

    Raises:
        GitError: a line is none; it names the line, never a key.
    """
    found = []
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise GitError(f"more than {MAX_LINES} allowed signers")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(_line(line))
        except ValueError as error:
            raise GitError(
                f"line {number} of the allowed signers: {error}",
                hint='write: name@example.org namespaces="git" ssh-ed25519 AAAA…',
            ) from None
    return found


def read_key(text: str) -> bytes:
    """The blob of a public key as files show it: ``ssh-ed25519 AAAA… comment``.

    Raises:
        ValueError: it is none.
    """
    kind, _, rest = text.strip().partition(" ")
    if not _KEY_TYPES.fullmatch(kind):
        raise ValueError(f"{kind[:60]!r} is no kind of SSH key that may sign")
    try:
        blob = base64.b64decode((rest.split() or [""])[0], validate=True)
        named = Reader(blob, "the key").string()
    except (binascii.Error, NotSignedError):
        raise ValueError("the SSH key is cut off or misspelt") from None
    if named != kind.encode():
        raise ValueError(f"the SSH key is of another kind than {kind}")
    return blob


def signer_of(
    key: bytes, signers: Iterable[AllowedSigner], namespace: str, moment: datetime
) -> str:
    """In whose name a key, or the key of a certificate, signs.

    Args:
        key: its blob.
        signers: who may.
        namespace: the purpose.
        moment: when it was signed.

    Raises:
        NotSignedError: nobody's, saying why.
    """
    held = certificate(key)
    wanted = key if held is None else _blob(held)
    reason = f"the SSH key {fingerprint(key)} is of nobody who may sign"
    for signer in signers:
        if signer.key != wanted or signer.authority != (held is not None):
            continue
        if signer.namespaces and not _matches(namespace, signer.namespaces):
            reason = f"the SSH key {fingerprint(key)} is not for {namespace}"
        elif signer.after is not None and moment < signer.after:
            reason = f"the SSH key {fingerprint(key)} counted only later than {moment:%Y-%m-%d}"
        elif signer.before is not None and moment >= signer.before:
            reason = f"the SSH key {fingerprint(key)} had expired on {moment:%Y-%m-%d}"
        elif held is None:
            return signer.principals[0] if len(signer.principals) == 1 else _plain(signer)
        else:
            return _principal(held, signer, moment)
    raise NotSignedError(reason)


def _principal(held: SSHCertificate, signer: AllowedSigner, moment: datetime) -> str:
    seconds = int(moment.timestamp())
    if held.type is not SSHCertificateType.USER or held.critical_options:
        raise NotSignedError("the SSH certificate is not for people who sign")
    if not held.valid_after <= seconds < held.valid_before:
        raise NotSignedError(f"the SSH certificate is not valid on {moment:%Y-%m-%d}")
    for name in held.valid_principals:
        text = name.decode(errors="replace")
        if _matches(text, signer.principals):
            return text
    raise NotSignedError("the SSH certificate is for nobody who may sign")


def _blob(held: SSHCertificate) -> bytes:
    line = held.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _plain(signer: AllowedSigner) -> str:
    """The names of a signer without those that begin with ``!``."""
    return ",".join(name for name in signer.principals if not name.startswith("!"))


def _matches(text: str, patterns: Sequence[str]) -> bool:
    """OpenSSH's list of patterns: one that begins with ``!`` and matches decides against."""
    result = False
    for pattern in patterns:
        if _glob(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            result = True
    return result


def _glob(text: str, pattern: str) -> bool:
    """Whether a text is what a pattern of ``*`` and ``?`` means, in quadratic time at most."""
    at = star = mark = 0
    here = 0
    starred = False
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            starred, star, mark = True, at, here
            at += 1
        elif at < len(pattern) and pattern[at] in {"?", text[here]}:
            at, here = at + 1, here + 1
        elif starred:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def _line(line: str) -> AllowedSigner:
    fields = _FIELD.findall(line)
    if len(fields) < 3:
        raise ValueError("it needs principals and a key")
    principals = tuple(filter(None, _unquoted(fields[0]).split(",")))
    options: dict[str, str] = {}
    rest = fields[1:]
    if not _KEY_TYPES.fullmatch(rest[0]):
        options = _options(rest[0])
        rest = rest[1:]
    key = read_key(" ".join(rest[:2]))
    if not principals:
        raise ValueError("it needs principals")
    spaces = options.get("namespaces", "")
    if "namespaces" in options and not spaces:
        raise ValueError("namespaces is empty")
    return AllowedSigner(
        principals,
        key,
        "cert-authority" in options,
        tuple(filter(None, spaces.split(","))),
        _time(options["valid-after"]) if "valid-after" in options else None,
        _time(options["valid-before"]) if "valid-before" in options else None,
    )


def _options(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^",])+', text):
        name, equals, value = item.partition("=")
        name = name.lower()
        if name not in {"cert-authority", "namespaces", "valid-after", "valid-before"}:
            raise ValueError(f"the option {name[:40]!r} is not known")
        if name in found or bool(equals) == (name == "cert-authority"):
            raise ValueError(f"the option {name} comes twice or has no value")
        found[name] = _unquoted(value)
    return found


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _time(text: str) -> datetime:
    digits = text.removesuffix("Z")
    form = _TIMES.get(len(digits))
    if form is None or not digits.isdigit():
        raise ValueError(f"{text[:40]!r} is no time: write YYYYMMDD or YYYYMMDDHHMMSS, and Z")
    return datetime.strptime(digits, form).replace(tzinfo=UTC)
