"""What a repository advertises: branches and tags, with the commits that they lead to.

Protocol: gitprotocol-http and gitprotocol-v2 (``ls-refs``), version 0 where a server knows no
other, and the plain file that servers without any program show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.pktline import DELIMITER, FLUSH, Mark, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: References of one repository; the largest public ones have some hundred thousand.
MAX_REFS: Final = 500_000
_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
_NAME = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]{1,1024}")


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch or tag.

    Attributes:
        name: in full, ``refs/tags/v1``; or ``HEAD``.
        object: what it points to.
        peeled: the commit behind an annotated tag, else empty.
    """

    name: str
    object: str
    peeled: str = ""

    @property
    def commit(self) -> str:
        """The commit that it leads to."""
        return self.peeled or self.object

    @property
    def annotated(self) -> bool:
        """Whether it is a tag with an object of its own."""
        return bool(self.peeled)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """The first answer of a server.

    Attributes:
        version: of the protocol.
        capabilities: name → value.
        refs: all of them, in versions before 2.
    """

    version: int
    capabilities: Mapping[str, str]
    refs: tuple[Ref, ...] = ()


def read_advertisement(data: bytes) -> Advertisement:
    """Read what ``info/refs?service=git-upload-pack`` answers.

    Raises:
        GitError: it is malformed, or of a repository whose numbers are not SHA-1.
    """
    lines = [item for item in decode(data) if isinstance(item, bytes)]
    lines = list(dropwhile(lambda line: line.startswith(b"# service="), lines))
    if not lines:
        return Advertisement(0, {})
    if lines[0] == b"version 2":
        pairs = (line.decode(errors="replace").partition("=") for line in lines[1:])
        found = Advertisement(2, {name: value for name, _, value in pairs})
    else:
        if lines[0] == b"version 1":
            lines = lines[1:]
        first, _, capabilities = lines[0].partition(b"\x00") if lines else (b"", b"", b"")
        words = capabilities.decode(errors="replace").split()
        named = dict(word.partition("=")[::2] for word in words)
        refs = _paired([first, *lines[1:]]) if b"capabilities^{}" not in first else ()
        found = Advertisement(0, named, refs)
    if found.capabilities.get("object-format", "sha1") != "sha1":
        raise GitError(
            "the repository numbers its objects by SHA-256",
            hint="only repositories with SHA-1 numbers are supported",
        )
    return found


def ls_refs_request(prefixes: Sequence[str]) -> bytes:
    """The question for references whose full names begin with one of ``prefixes``."""
    options = ["peel\n", "symrefs\n", *(f"ref-prefix {prefix}\n" for prefix in prefixes)]
    head = encode("command=ls-refs\n") + encode("agent=plimsoll") + DELIMITER
    return head + b"".join(map(encode, options)) + FLUSH


def read_ls_refs(data: bytes) -> tuple[Ref, ...]:
    """Read the answer to ``ls_refs_request``; raises ``GitError``."""
    found: list[Ref] = []
    for line in decode(data):
        if line is Mark.FLUSH:
            return tuple(found)
        if not isinstance(line, bytes):
            raise GitError("the answer of the Git server is malformed")
        if line.startswith(b"ERR "):
            raise GitError(f"the Git server says: {line[4:204].decode(errors='replace')}")
        words = line.decode(errors="replace").split(" ")
        if len(words) < 2 or len(found) >= MAX_REFS:
            raise GitError("the answer of the Git server is malformed or endless")
        peeled = next((w[7:] for w in words[2:] if w.startswith("peeled:")), "")
        if words[0] != "unborn":
            found.append(_ref(words[1], words[0], peeled))
    raise GitError("the answer of the Git server is cut off")


def read_plain(data: bytes) -> tuple[Ref, ...]:
    """Read ``info/refs`` of a server that shows mere files; raises ``GitError``."""
    return _paired([line.replace(b"\t", b" ", 1) for line in data.splitlines()])


def with_prefix(refs: Iterable[Ref], prefixes: Sequence[str]) -> tuple[Ref, ...]:
    """Those whose full names begin with one of ``prefixes``."""
    return tuple(ref for ref in refs if ref.name.startswith(tuple(prefixes)))


def _paired(lines: Sequence[bytes]) -> tuple[Ref, ...]:
    """References of ``ID NAME`` lines, in which ``NAME^{}`` is what a tag leads to."""
    if len(lines) > 2 * MAX_REFS:
        raise GitError("the answer of the Git server is endless")
    found: dict[str, str] = {}
    peeled: dict[str, str] = {}
    for line in lines:
        if line.startswith(b"ERR "):
            raise GitError(f"the Git server says: {line[4:204].decode(errors='replace')}")
        if line.startswith((b"shallow ", b"unshallow ")):
            continue
        number, space, name = line.decode(errors="replace").partition(" ")
        if not space:
            raise GitError("the answer of the Git server is malformed")
        target = peeled if name.endswith("^{}") else found
        target[name.removesuffix("^{}")] = number
    return tuple(_ref(name, number, peeled.get(name, "")) for name, number in found.items())


def _ref(name: str, number: str, peeled: str) -> Ref:
    if not (
        _ID.fullmatch(number) and (not peeled or _ID.fullmatch(peeled)) and _NAME.fullmatch(name)
    ):
        raise GitError("the Git server names a reference that cannot be one")
    return Ref(name, number, peeled)
