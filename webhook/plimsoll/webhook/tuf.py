"""Trusted roots out of TUF repositories (The Update Framework 1.0), by python-tuf.

Import it late: its libraries are slow to load.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from plimsoll.errors import Error
from plimsoll.http import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.api.trustroot import TufRemote, TufRepository
    from plimsoll.http import Http

#: Bytes of one file of a repository, and of a whole repository that is inline.
FILE_LIMIT: Final = 8 << 20
MIRROR_LIMIT: Final = 32 << 20
MEMBER_LIMIT: Final = 2000
TARGETS: Final = "targets"
TARGET: Final = "trusted_root.json"
_BASE: Final = "https://repository.invalid/"
_FETCH_SECONDS: Final = 30.0


class TufError(Error):
    """A repository that cannot be read or does not verify."""

    reason = "TrustRootUnavailable"
    retryable = True


class _Fetcher(FetcherInterface):
    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter([self._read(url)])


def repository_target(spec: TufRepository) -> bytes:
    """The trusted root out of a repository that is inline; blocking, no network.

    Raises:
        TufError: if the repository is malformed, expired or not signed as its root says.
    """
    files = _unpack(_decode(spec.mirror_fs or "", "mirrorFS"))

    def read(url: str) -> bytes:
        try:
            return files[url.removeprefix(_BASE)]
        except KeyError:
            raise DownloadHTTPError(f"{url.removeprefix(_BASE)} is not there", 404) from None

    with tempfile.TemporaryDirectory() as folder:
        return _target(
            _Fetcher(read),
            Path(folder),
            _BASE,
            decode_root(spec.root or ""),
            spec.targets or TARGETS,
            spec.trusted_root_target or TARGET,
        )


async def remote_target(http: Http, folder: Path, spec: TufRemote, root: bytes) -> bytes:
    """The trusted root out of a repository on the network.

    Args:
        http: the client.
        folder: keeps the metadata between two calls, so that no older one is accepted.
        spec: where it is.
        root: the ``root.json`` to start from.

    Raises:
        TufError: if it does not answer, is malformed, expired or not signed as its root says.
    """
    loop = asyncio.get_running_loop()

    def read(url: str) -> bytes:
        asked = asyncio.run_coroutine_threadsafe(http.get_bytes(url, max_size=FILE_LIMIT), loop)
        try:
            return asked.result(_FETCH_SECONDS)
        except HttpError as error:
            if error.status:
                raise DownloadHTTPError(str(error), error.status) from error
            raise DownloadError(str(error)) from error
        except TimeoutError:
            asked.cancel()
            raise DownloadError(f"{url} did not answer in {_FETCH_SECONDS:.0f} s") from None

    base = (spec.mirror or "").rstrip("/") + "/"
    names = (spec.targets or TARGETS, spec.trusted_root_target or TARGET)
    return await asyncio.to_thread(_target, _Fetcher(read), folder, base, root, *names)


def decode_root(text: str) -> bytes:
    """The ``root.json`` of a spec: base64, or JSON as it is; raises ``TufError``."""
    return text.encode() if text.lstrip().startswith("{") else _decode(text, "root")


def _target(  # noqa: PLR0913, PLR0917  as above
    fetcher: _Fetcher, folder: Path, base: str, root: bytes, targets: str, target: str
) -> bytes:
    try:
        updater = Updater(
            str(folder),
            base,
            target_dir=str(folder),
            target_base_url=f"{base}{targets}/",
            fetcher=fetcher,
            bootstrap=root,
        )
        updater.refresh()
        info = updater.get_targetinfo(target)
        if info is None:
            raise TufError(f"the TUF repository has no target {target}")
        if info.length > FILE_LIMIT:
            raise TufError(f"target {target} has {info.length} bytes, more than {FILE_LIMIT}")
        return Path(updater.download_target(info, str(folder / "target"))).read_bytes()
    except (RepositoryError, DownloadError, ValueError, OSError) as error:
        text = " ".join(str(error).split())[:300]
        raise TufError(f"the TUF repository cannot be used: {text}") from error


def _decode(text: str, field: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise TufError(f"{field} is no base64") from None


def _unpack(data: bytes) -> dict[str, bytes]:
    """The files of a gzipped tar, by their path from the folder that holds ``timestamp.json``."""
    files: dict[PurePosixPath, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for number, member in enumerate(archive):
                if number >= MEMBER_LIMIT:
                    raise TufError(f"mirrorFS has more than {MEMBER_LIMIT} files")
                total += member.size
                if total > MIRROR_LIMIT:
                    raise TufError(f"mirrorFS is larger than {MIRROR_LIMIT} bytes")
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[PurePosixPath(member.name)] = content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise TufError(f"mirrorFS is no gzipped tar: {error}") from None
    bases = sorted(
        (path.parent for path in files if path.name == "timestamp.json"), key=lambda p: len(p.parts)
    )
    if not bases:
        raise TufError("mirrorFS has no timestamp.json")
    return {
        str(path.relative_to(bases[0])): content
        for path, content in files.items()
        if path.is_relative_to(bases[0])
    }
