"""Files of a Git repository, taken only where the right people signed them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.errors import GitError, time_limit
from plimsoll.builder.git.local import LocalRepository
from plimsoll.builder.git.remote import Remote
from plimsoll.builder.git.signers import Signers, require
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.gitsource import GitReference, GitSource, VerifiedSigner
    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.builder.git.refs import Ref
    from plimsoll.http import Http

#: Bytes of the pack, files and bytes of the files of configurations.
MAX_PACK: Final = 512 << 20
MAX_FILES: Final = 50_000
MAX_BYTES: Final = 1 << 30
#: Bytes of a pack of commits and tags; servers that cannot leave files out send those, too.
_MAX_OBJECTS: Final = 1 << 30
#: Seconds for a source of configurations, or the verification of any other, in all.
TIMEOUT: Final = 900.0
_HEAD: Final = "HEAD"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference leads to.

    Attributes:
        tag: the number of the annotated tag, empty where there is none.
        name: of the tag that was asked for, empty where none was.
    """

    commit: str
    tag: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What was taken from a repository.

    Attributes:
        signer: who signed it; ``None`` where nobody had to.
    """

    commit: str
    signer: VerifiedSigner | None


async def resolve(remote: Remote, ref: GitReference) -> Resolved:
    """The commit that a branch or tag of a repository leads to now.

    Raises:
        GitError: there is none of that name.
        HttpError: the server cannot be reached.
    """
    if ref.commit:
        return Resolved(ref.commit)
    name = _HEAD
    if ref.tag or ref.branch:
        name = f"refs/tags/{ref.tag}" if ref.tag else f"refs/heads/{ref.branch}"
    found = next((one for one in await remote.refs([name]) if one.name == name), None)
    if found is None:
        shown = f"tag {ref.tag}" if ref.tag else f"branch {ref.branch or _HEAD}"
        raise GitError(f"{remote.shown} has no {shown}", hint="check its name")
    return _resolved(found, ref.tag or "")


async def checkout(
    http: Http, source: GitSource, folder: Path, credentials: GitCredentials | None = None
) -> Checkout:
    """Write the files of a source, without its history; links become plain files.

    Args:
        http: the client; its guard and its limits count.
        source: what to take, and who must have signed it.
        folder: where to; made, or empty.
        credentials: logins by host.

    Raises:
        NotSignedError: nobody who may has signed it; nothing is written then.
        GitError: it cannot be had.
        HttpError: the server cannot be reached.
        StorageError: it cannot be written.
    """
    async with time_limit(TIMEOUT, f"fetching {public_url(source.url)}"):
        return await _checkout(http, source, folder, credentials)


async def _checkout(
    http: Http, source: GitSource, folder: Path, credentials: GitCredentials | None
) -> Checkout:
    required = source.require_signed
    signers = Signers.of(required) if required is not None else None
    remote = await Remote.open(http, source.url, credentials)
    found = await resolve(remote, source.ref)
    with tempfile.TemporaryDirectory(prefix="plimsoll-git-") as name:
        local = await LocalRepository.create(Path(name, "bare"))
        wants = [found.tag or found.commit]
        pack = Path(name, "pack")
        shallow = await remote.fetch(wants, pack, max_size=MAX_PACK)
        await local.add_pack(pack, shallow)
        signer = await _judge(local, found, signers) if signers is not None else None
        tree = f"{found.commit}:{source.path}" if source.path else f"{found.commit}^{{tree}}"
        try:
            await local.check_size(tree, max_files=MAX_FILES, max_bytes=MAX_BYTES)
        except GitError as error:
            shown = f"the folder {source.path!r} of {remote.shown}"
            raise GitError(f"{shown}: {error.message}", hint=error.hint) from None
        await local.write(tree, folder)
    return Checkout(found.commit, signer)


async def verify_source(
    http: Http,
    inputs: Mapping[str, str],
    signers: Signers,
    credentials: GitCredentials | None = None,
) -> VerifiedSigner:
    """Demand that what a ``git-checkout`` takes is signed; only commits and tags are fetched.

    The step must name the commit: it is what was signed, and what the step then insists on. A
    tag that was moved to another commit is refused here.

    Args:
        http: the client.
        inputs: of the step: ``repository``, ``tag``, ``branch``, ``expected-commit``.
        signers: who may have signed.
        credentials: logins by host.

    Raises:
        NotSignedError: nobody who may has signed it.
        GitError: it cannot be had, or the step names no commit.
        HttpError: the server cannot be reached.
    """
    async with time_limit(TIMEOUT, f"verifying {public_url(inputs.get('repository', ''))}"):
        return await _verify_source(http, inputs, signers, credentials)


async def _verify_source(
    http: Http,
    inputs: Mapping[str, str],
    signers: Signers,
    credentials: GitCredentials | None,
) -> VerifiedSigner:
    expected, tag = inputs.get("expected-commit", ""), inputs.get("tag", "")
    remote = await Remote.open(http, inputs.get("repository", ""), credentials)
    if not expected:
        raise GitError(
            f"a git-checkout of {remote.shown} names no expected-commit, and must be signed",
            hint="write expected-commit; 'plimsoll package bump' does it",
        )
    found = Resolved(expected)
    if tag:
        name = f"refs/tags/{tag}"
        ref = next((one for one in await remote.refs([name]) if one.name == name), None)
        if ref is None:
            raise GitError(f"{remote.shown} has no tag {tag}", hint="was it removed? Ask upstream")
        found = _resolved(ref, tag)
        if expected not in {found.commit, found.tag}:
            raise GitError(
                f"the tag {tag} of {remote.shown} is {found.commit}, expected was {expected}",
                hint="the tag was moved; ask upstream why",
            )
    with tempfile.TemporaryDirectory(prefix="plimsoll-git-") as folder:
        local = await LocalRepository.create(Path(folder, "bare"))
        pack = Path(folder, "pack")
        wants = [found.tag or found.commit]
        shallow = await remote.fetch(wants, pack, objects=True, max_size=_MAX_OBJECTS)
        await local.add_pack(pack, shallow)
        return await _judge(local, found, signers)


async def _judge(local: LocalRepository, found: Resolved, signers: Signers) -> VerifiedSigner:
    commit = await local.object("commit", found.commit)
    tag = await local.object("tag", found.tag) if found.tag else None
    return require(signers, commit, tag, found.name)


def _resolved(ref: Ref, name: str) -> Resolved:
    return Resolved(ref.commit, ref.object if ref.annotated else "", name)
