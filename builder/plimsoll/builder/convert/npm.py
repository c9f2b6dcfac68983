"""Packages of npm registries (the registry's own API: ``GET /NAME/VERSION``)."""

from __future__ import annotations

import base64
import binascii
import shlex
from typing import TYPE_CHECKING, Any

from plimsoll.builder.convert.draft import Draft
from plimsoll.builder.convert.registry import ask, odd, part, plain_name, text_of

if TYPE_CHECKING:
    from plimsoll.http import Http


async def convert(http: Http, index: str, name: str, version: str) -> Draft:
    """A first configuration of a package that brings programs.

    Raises:
        ConvertError: there is no such package or version.
        HttpError: the registry cannot be asked.
    """
    url = f"{index}/{part(name)}/{part(version or 'latest')}"
    answer = await ask(http, url, f"package {name} {version}".rstrip())
    found = text_of(answer, "version")
    dist = answer.get("dist")
    if not found or not isinstance(dist, dict):
        raise odd(url)
    draft = Draft(plain_name(name.rpartition("/")[2]), found)
    draft.description = text_of(answer, "description")
    draft.url = text_of(answer, "homepage") or _repository(answer)
    licence = answer.get("license")
    if isinstance(licence, dict):
        licence = licence.get("type")
    draft.licences = [licence] if isinstance(licence, str) else []
    draft.packages = ["busybox", "nodejs", "npm"]
    draft.runtime = ["nodejs"]
    inputs = {"package": name, "version": "${{package.version}}"}
    draft.steps = [{"uses": "npm/install", "with": inputs}]
    draft.note("npm fetches while it installs: build it with --network")
    if digest := _sha512(text_of(dist, "integrity")):
        draft.note(f"SHA-512 of the package's archive: {digest}")
    programs = answer.get("bin")
    names = [draft.name] if isinstance(programs, str) else list(programs or {})
    if names:
        lines = (f"command -v {shlex.quote(str(program))}\n" for program in names)
        draft.tests = [{"runs": "".join(lines)}]
    else:
        draft.note("it brings no program; does it have to be a package?")
    return draft


def _repository(answer: dict[str, Any]) -> str:
    value = answer.get("repository")
    url = (
        value
        if isinstance(value, str)
        else text_of(value, "url")
        if isinstance(value, dict)
        else ""
    )
    url = url.removeprefix("git+").removesuffix(".git")
    return url if url.startswith("https://") else ""


def _sha512(integrity: str) -> str:
    algorithm, _, value = integrity.split(" ", maxsplit=1)[0].partition("-")
    try:
        return base64.b64decode(value, validate=True).hex() if algorithm == "sha512" else ""
    except binascii.Error:
        return ""
