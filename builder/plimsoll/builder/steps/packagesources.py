"""Where package configurations come from."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.apk.gz import inflate_all
from plimsoll.builder.steps.common import registry_of
from plimsoll.builder.steps.packagecommon import TITLE
from plimsoll.builder.steps.packagefiles import (
    MAX_FILES,
    MAX_TREE,
    Files,
    SmallFile,
    SourceTreeError,
    check_path,
    from_tar,
    read_folder,
    too_large,
)
from plimsoll.builder.steps.packagegit import read_credentials
from plimsoll.builder.steps.packageset import Configuration, flat, tree
from plimsoll.http import public_url
from plimsoll.oci.model import Manifest
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from plimsoll.api.gitsource import GitSource
    from plimsoll.api.packagerequest import ConfigurationSource, PackageRequest
    from plimsoll.builder.engine import Engine

_GZIP = b"\x1f\x8b"
_USTAR = slice(257, 262)


async def read_sources(engine: Engine, request: PackageRequest) -> list[Configuration]:
    """All configurations of a request, in the order of its sources.

    Raises:
        SourceTreeError: a source has none, or is too large.
        NotSignedError: a source in Git is not signed by whom it must be.
        Error: it cannot be had.
    """
    found: list[Configuration] = []
    for source in request.sources:
        found += await _read(engine, request, source)
    return found


async def _read(
    engine: Engine, request: PackageRequest, source: ConfigurationSource
) -> list[Configuration]:
    what = f"the source {source.name}"
    if source.inline is not None:
        return [Configuration(f"{source.name}.yaml", source.inline)]
    if source.folder is not None:
        files = await asyncio.to_thread(read_folder, Path(source.folder), what)
        return flat(files, what)
    if source.git is not None:
        return await _git(engine, source.git, source.credentials, what)
    if source.oci is not None:
        return tree(await _artifact(request, source.oci, what), what)
    raise SourceTreeError(
        f"{what} says nothing about where it is", hint="give inline, configMap, git or oci"
    )


async def _git(
    engine: Engine, source: GitSource, credentials: str, what: str
) -> list[Configuration]:
    from plimsoll.builder.git.checkout import checkout  # noqa: PLC0415  (loads much)

    logins = read_credentials([credentials] if credentials else [], source.url)
    with tempfile.TemporaryDirectory(prefix="plimsoll-source-") as name:
        folder = Path(name) / "files"
        done = await checkout(engine.http, source, folder, logins)
        files = await asyncio.to_thread(read_folder, folder, what)
    signer = done.signer.model_dump(mode="json", by_alias=True) if done.signer else None
    return tree(files, what, repository=public_url(source.url), commit=done.commit, signer=signer)


async def _artifact(request: PackageRequest, name: str, what: str) -> Files:
    """Files of an artifact: tars, and single files with titles."""
    target = Reference.parse(name.removeprefix("oci://"))
    found: Files = {}
    left = MAX_TREE
    async with registry_of(request) as registry:
        top, data = await registry.get_manifest(target)
        for layer in Manifest.parse(data, top.media_type, what=str(target)).layers:
            blob = await registry.get_blob(target, layer.digest, left)
            blob = await asyncio.to_thread(_inflated, blob, what)
            left -= len(blob)
            if left < 0:
                raise too_large(what)
            found |= _files(blob, layer.annotations.get(TITLE, ""), what)
            if len(found) > MAX_FILES:
                raise too_large(what)
    return found


def _inflated(blob: bytes, what: str) -> bytes:
    return inflate_all(memoryview(blob), what, MAX_TREE) if blob.startswith(_GZIP) else blob


def _files(blob: bytes, title: str, what: str) -> Files:
    if blob[_USTAR] == b"ustar":
        return from_tar(blob, what)
    if not title:
        raise SourceTreeError(
            f"{what} has a layer that is neither a tar nor a file with a title",
            hint="push it with oras, flux or crane as a tar of the folder",
        )
    return {check_path(title, what): SmallFile(blob)}
