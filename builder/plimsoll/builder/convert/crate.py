"""Rust programs (sparse registries, RFC 2789: ``config.json``, one JSON line for each version)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from plimsoll.builder.convert.draft import ConvertError, Draft
from plimsoll.builder.convert.registry import ask, ask_bytes, odd, plain_name, read, text_of
from plimsoll.http import HttpError, public_url

if TYPE_CHECKING:
    from plimsoll.http import Http

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


async def convert(http: Http, index: str, name: str, version: str) -> Draft:
    """A first configuration of a crate that holds programs.

    Raises:
        ConvertError: there is no such crate or version.
        HttpError: the registry cannot be asked.
    """
    if not _NAME.fullmatch(name):
        raise ConvertError(f"{name!r} cannot be the name of a crate", hint="check its spelling")
    config = await ask(http, f"{index}/config.json", "registry")
    url = f"{index}/{_path(name.lower())}"
    lines = (await ask_bytes(http, url, f"crate {name}")).splitlines()
    versions = [
        item for line in lines if line.strip() and isinstance(item := read(line, url), dict)
    ]
    chosen = _choose(versions, name, version)
    found, sha256 = text_of(chosen, "vers"), text_of(chosen, "cksum")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise odd(url)
    draft = Draft(plain_name(name), found)
    await _describe(http, text_of(config, "api"), name, draft)
    address = _download(text_of(config, "dl"), name, found, sha256)
    draft.packages = ["build-base", "busybox", "cargo-auditable", "rust"]
    fetch = {
        "uri": public_url(address).replace(found, "${{package.version}}"),
        "expected-sha256": sha256,
    }
    draft.steps = [
        {"uses": "fetch", "with": fetch},
        {"uses": "cargo/build", "with": {"opts": "--release --locked", "output": name}},
        {"uses": "strip"},
    ]
    draft.tests = [{"runs": f"{name} --version\n"}]
    draft.note("cargo fetches crates while it builds: vendor them, or build with --network")
    draft.note(f"the program may be called otherwise than {name!r}")
    return draft


def _path(name: str) -> str:
    if len(name) <= 2:
        return f"{len(name)}/{name}"
    return f"3/{name[0]}/{name}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}/{name}"


def _choose(versions: list[dict[str, Any]], name: str, version: str) -> dict[str, Any]:
    found = []
    for item in versions:
        text = text_of(item, "vers")
        if item.get("yanked") or (version and text != version):
            continue
        try:
            number = Version(text.partition("+")[0].replace("-", ".dev0+", 1))
        except InvalidVersion:
            continue
        found.append((not number.is_prerelease, number, item))
    if not found:
        raise ConvertError(
            f"the registry has no crate {name} {version}".rstrip(), hint="is it yanked?"
        )
    return max(found, key=lambda triple: triple[:2])[2]


async def _describe(http: Http, api: str, name: str, draft: Draft) -> None:
    """What the registry's own API says, where it has one."""
    if api:
        try:
            answer = await ask(http, f"{api.rstrip('/')}/api/v1/crates/{name}", f"crate {name}")
        except (ConvertError, HttpError):
            answer = {}
        crate = answer.get("crate")
        if isinstance(crate, dict):
            draft.description = text_of(crate, "description")
            draft.url = text_of(crate, "homepage", "repository")
        versions = answer.get("versions")
        for item in versions if isinstance(versions, list) else []:
            if isinstance(item, dict) and text_of(item, "num") == draft.version:
                draft.licences = [text_of(item, "license").replace("/", " OR ")]
                return
    draft.note("the registry says nothing of it: add description, address and licence")


def _download(template: str, name: str, version: str, sha256: str) -> str:
    if not template.startswith(("http://", "https://")):
        raise ConvertError("the registry does not say where crates are", hint="check --index-url")
    values = {
        "{crate}": name, "{version}": version, "{sha256-checksum}": sha256,
        "{prefix}": _path(name).rpartition("/")[0],
        "{lowerprefix}": _path(name.lower()).rpartition("/")[0],
    }  # fmt: skip
    if not any(marker in template for marker in values):
        return f"{template.rstrip('/')}/{name}/{version}/download"
    for marker, value in values.items():
        template = template.replace(marker, value)
    return template
