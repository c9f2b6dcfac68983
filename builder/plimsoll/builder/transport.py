"""Getting what packages are made from: over HTTP, by way of mirrors, from OCI registries.

Mirrors and registries need not be trusted: everything that comes over them is verified by
signature or checksum afterwards. Logins belong to one host and never go to a mirror of it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from plimsoll.errors import Error
from plimsoll.http import (
    Download,
    Http,
    HttpConnectionError,
    HttpError,
    HttpTimeoutError,
    NotModified,
    Response,
    public_url,
)
from plimsoll.http.address import is_protected
from plimsoll.http.transport import basic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from plimsoll.builder.logins import Logins
    from plimsoll.oci.descriptor import Descriptor
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

_log = logging.getLogger(__name__)
T = TypeVar("T")
VARIABLE = "PLIMSOLL_MIRRORS"


class MirrorError(Error):
    """A list of mirrors that cannot be read."""

    reason = "InvalidSettings"


def mirrors_of(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of URL prefixes, original and mirror, from ``PLIMSOLL_MIRRORS``.

    Entries ``ORIGINAL=MIRROR`` are separated by blanks; several for one original are tried in
    their order.

    Raises:
        MirrorError: an entry is none.
    """
    found = []
    for item in environ.get(VARIABLE, "").split():
        original, _, mirror = item.partition("=")
        if not all(urlsplit(url).scheme in {"http", "https", "oci"} for url in (original, mirror)):
            raise MirrorError(
                f"{VARIABLE} has an entry that is not ORIGINAL=MIRROR",
                hint="write https://packages.example/os=https://mirror.example/os",
            )
        found.append((original.rstrip("/"), mirror.rstrip("/")))
    return found


class Transport(Http):
    """``Http`` that tries mirrors first, knows ``oci://``, and what docker is logged in to.

    Args:
        logins: of hosts, mirrors among them.
        environ: names mirrors, proxies, docker's configuration, and registries without TLS.
        trusted_hosts: where the configuration is somebody else's, the hosts at loopback, link-local
            or metadata addresses that may be asked; ``None``: a person's own machine, any host.
        insecure: registries without TLS beside those that ``environ`` names.
    """

    def __init__(
        self,
        logins: Logins,
        environ: Mapping[str, str] | None = None,
        *,
        trusted_hosts: frozenset[str] | None = None,
        insecure: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(
            environ=environ,
            allow_private=trusted_hosts is None,
            trusted_hosts=trusted_hosts or frozenset(),
        )
        self._settings = os.environ if environ is None else environ
        self._logins = logins
        self._mirrors = [
            (original, logins.strip(mirror)) for original, mirror in mirrors_of(self._settings)
        ]
        self._insecure = insecure
        self._registry_client: Registry | None = None
        #: Mirrors that could not be reached; they are not waited for again.
        self._away: set[str] = set()
        self._docker_logins: dict[str, dict[str, str]] = {}

    async def get(
        self,
        url: str,
        *,
        max_size: int,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
    ) -> Response | NotModified:
        """As ``Http.get``; a mirror that has it is taken first."""

        async def once(place: str, login: Mapping[str, str] | None) -> Response | NotModified:
            if place.startswith("oci://"):
                return await self._get_artifact(place, max_size, etag)
            return await Http.get(
                self,
                place,
                max_size=max_size,
                headers=login,
                etag=etag,
                last_modified=last_modified,
            )

        return await self._first(url, headers, once)

    async def download(  # noqa: PLR0913  (as Http has it)
        self,
        url: str,
        path: Path,
        *,
        expected_size: int | None = None,
        max_size: int | None = None,
        digest: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Download:
        """As ``Http.download``; a mirror that has it is taken first."""

        async def once(place: str, login: Mapping[str, str] | None) -> Download:
            if place.startswith("oci://"):
                return await self._download_artifact(place, path, expected_size, max_size)
            return await Http.download(
                self,
                place,
                path,
                expected_size=expected_size,
                max_size=max_size,
                digest=digest,
                headers=login,
            )

        return await self._first(url, headers, once)

    async def _first(
        self,
        url: str,
        headers: Mapping[str, str] | None,
        once: Callable[[str, Mapping[str, str] | None], Awaitable[T]],
    ) -> T:
        for original, mirror in self._mirrors:
            if mirror not in self._away and (url == original or url.startswith(f"{original}/")):
                place = f"{mirror}{url[len(original) :]}"
                try:
                    return await self._logged_in(place, self._logins.headers(place), once)
                except (HttpConnectionError, HttpTimeoutError) as error:
                    _log.info(
                        "the mirror %s is left out from now on: %s", public_url(mirror), error
                    )
                    self._away.add(mirror)
                except Error as error:
                    # Whatever is wrong with a mirror, the original decides.
                    _log.info("the mirror %s is of no use here: %s", public_url(mirror), error)
        return await self._logged_in(url, headers, once)

    async def _logged_in(
        self,
        place: str,
        headers: Mapping[str, str] | None,
        once: Callable[[str, Mapping[str, str] | None], Awaitable[T]],
    ) -> T:
        """Ask; and again with docker's login, if the server wants one and no other is known."""
        known = self._docker_logins.get(urlsplit(place).netloc, {})
        try:
            return await once(place, {**known, **(headers or {})})
        except HttpError as error:
            named = any(name.lower() == "authorization" for name in headers or {})
            if error.status != 401 or known or named or not is_protected(place):
                raise
            if not (found := await self._docker_login(place)):
                raise
        return await once(place, {**(headers or {}), **found})

    async def _docker_login(self, place: str) -> dict[str, str]:
        """The header that docker's configuration has for a server, remembered."""
        from plimsoll.oci.auth import Credentials  # noqa: PLC0415  (few servers want a login)
        from plimsoll.oci.reference import Reference  # noqa: PLC0415

        host = urlsplit(place).netloc
        logins = await Credentials.default(self._settings).logins(Reference.parse(f"{host}/apk"))
        for login in logins:
            if login.username and login.password:
                self._docker_logins[host] = {"Authorization": basic(login.username, login.password)}
                break
        return self._docker_logins.get(host, {})

    def registry(self) -> Registry:
        """The client for registries, over this transport."""
        from plimsoll.oci.auth import Credentials  # noqa: PLC0415  (only for oci://)
        from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
        from plimsoll.oci.registry import Registry  # noqa: PLC0415

        if self._registry_client is None:
            self._registry_client = Registry(
                Credentials.default(self._settings),
                insecure=insecure_registries(self._insecure, self._settings),
                http=self,
            )
        return self._registry_client

    async def _artifact(self, url: str) -> tuple[Reference, str, Descriptor]:
        """Its reference, the digest of its manifest, and its one layer."""
        from plimsoll.builder.ocirepo import OciRepositoryError, file_reference  # noqa: PLC0415
        from plimsoll.oci.errors import ImageNotFoundError  # noqa: PLC0415
        from plimsoll.oci.model import Manifest  # noqa: PLC0415

        reference, kind = file_reference(url)
        try:
            top, data = await self.registry().get_manifest(reference)
        except ImageNotFoundError as error:
            raise HttpError(f"{public_url(url)} is not in the registry", status=404) from error
        manifest = Manifest.parse(data, top.media_type, what=str(reference))
        if len(manifest.layers) != 1 or manifest.layers[0].media_type != kind:
            raise OciRepositoryError(
                f"{reference} is no {'index' if 'index' in kind else 'package'} of a repository",
                hint="check the repository's URL, and what else writes to it",
            )
        return reference, top.digest, manifest.layers[0]

    async def _get_artifact(
        self, url: str, max_size: int, etag: str | None
    ) -> Response | NotModified:
        reference, digest, layer = await self._artifact(url)
        if etag == digest:
            return NotModified(etag)
        body = await self.registry().get_blob(reference, layer.digest, max_size)
        return Response(200, {"ETag": digest}, body, url)

    async def _download_artifact(
        self, url: str, path: Path, expected_size: int | None, max_size: int | None
    ) -> Download:
        reference, _, layer = await self._artifact(url)
        size = layer.size if expected_size is None else expected_size
        got = await self.registry().download_blob(
            reference, layer.digest, path, size=size, max_size=max_size
        )
        return Download(got, layer.digest, None, None)
