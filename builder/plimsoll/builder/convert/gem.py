"""Ruby gems (the API of gem servers: ``/api/v1/gems/NAME.json``)."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from plimsoll.builder.convert.draft import ConvertError, Draft
from plimsoll.builder.convert.registry import ask, odd, part, plain_name, text_of
from plimsoll.http import public_url

if TYPE_CHECKING:
    from plimsoll.http import Http


async def convert(http: Http, index: str, name: str, version: str, ruby: str) -> Draft:
    """A first configuration of a gem.

    Raises:
        ConvertError: there is no such gem or version.
        HttpError: the server cannot be asked.
    """
    url = f"{index}/api/v1/gems/{part(name)}.json"
    if version:
        url = f"{index}/api/v2/rubygems/{part(name)}/versions/{part(version)}.json"
    answer = await ask(http, url, f"gem {name} {version}".rstrip())
    found, sha256 = text_of(answer, "version", "number"), text_of(answer, "sha")
    if not found:
        raise odd(url)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ConvertError(f"{public_url(url)} knows no SHA-256 of the gem", hint="ask another")
    draft = Draft(plain_name(name, f"ruby{ruby}-"), found)
    draft.description = text_of(answer, "info", "summary")
    draft.url = text_of(answer, "homepage_uri", "source_code_uri")
    licences = answer.get("licenses")
    draft.licences = (
        [item for item in licences if isinstance(item, str)] if isinstance(licences, list) else []
    )
    draft.packages = ["build-base", "busybox", f"ruby-{ruby}", f"ruby-{ruby}-dev"]
    draft.runtime = [f"ruby-{ruby}", *_dependencies(answer, ruby)]
    address = text_of(answer, "gem_uri") or f"{index}/gems/{name}-{found}.gem"
    fetch = {
        "uri": public_url(address).replace(found, "${{package.version}}"),
        "expected-sha256": sha256,
        "extract": "false",
    }
    gem = {"gem": name, "version": "${{package.version}}"}
    draft.steps = [
        {"uses": "fetch", "with": fetch},
        {"uses": "ruby/install", "with": gem},
        {"uses": "ruby/clean"},
        {"uses": "strip"},
    ]
    library = shlex.quote(name.replace("-", "/"))
    draft.tests = [{"runs": f"ruby -r{library} -e 0\n"}]
    draft.note("it installs the gem as its authors packed it; ruby/build makes it from sources")
    return draft


def _dependencies(answer: dict[str, Any], ruby: str) -> list[str]:
    dependencies = answer.get("dependencies")
    runtime = dependencies.get("runtime") if isinstance(dependencies, dict) else None
    names = [item.get("name") for item in runtime or [] if isinstance(item, dict)]
    return sorted(plain_name(name, f"ruby{ruby}-") for name in names if isinstance(name, str))
