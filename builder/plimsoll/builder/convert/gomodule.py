"""Go programs (the GOPROXY protocol: ``/MODULE/@latest``, ``/MODULE/@v/VERSION.info``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.builder.convert.draft import ConvertError, Draft
from plimsoll.builder.convert.registry import ask, odd, plain_name, text_of

if TYPE_CHECKING:
    from plimsoll.http import Http

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PSEUDO = re.compile(r"v[0-9.]+-(?:.*\.)?[0-9]{14}-[0-9a-f]{12}(?:\+.*)?")
_HOSTED = re.compile(r"((?:github|gitlab|codeberg|bitbucket)\.[a-z]+/[^/]+/[^/]+)")


async def convert(http: Http, index: str, name: str, version: str) -> Draft:
    """A first configuration of a module that holds a program.

    Args:
        http: the client.
        index: of the proxy.
        name: import path of the program, or of its module.
        version: empty for the newest.

    Raises:
        ConvertError: there is no such module or version.
        HttpError: the proxy cannot be asked.
    """
    module, answer = await _find(http, index, name, version)
    tag = text_of(answer, "Version")
    if not tag:
        raise odd(f"{index}/{_escaped(module)}")
    given = answer.get("Origin")
    origin = given if isinstance(given, dict) else {}
    repository = text_of(origin, "URL")
    draft = Draft(plain_name(_program(name)), tag.removeprefix("v").removesuffix("+incompatible"))
    if not repository:
        match = _HOSTED.match(module)
        repository = f"https://{match[1] if match else module}"
        draft.note(f"the proxy does not say where {module} comes from; {repository} is a guess")
    draft.url = repository
    draft.packages = ["busybox", "ca-certificates-bundle", "git", "go"]
    checkout = {"repository": repository}
    folder = text_of(origin, "Subdir")
    ref = text_of(origin, "Ref").removeprefix("refs/tags/")
    commit = text_of(origin, "Hash")
    if _PSEUDO.fullmatch(tag):
        draft.note(f"{tag} is no release; the newest tag of {repository} may be better")
    else:
        name_of_tag = ref or (f"{folder}/{tag}" if folder else tag)
        checkout["tag"] = name_of_tag.replace(draft.version, "${{package.version}}")
    if _COMMIT.fullmatch(commit):
        checkout["expected-commit"] = commit
    else:
        draft.note("the proxy does not know the commit: add expected-commit")
    build = {"packages": f".{name.removeprefix(module)}", "output": draft.name}
    if folder:
        build["modroot"] = folder
    draft.steps = [
        {"uses": "git-checkout", "with": checkout},
        {"uses": "go/build", "with": build},
        {"uses": "strip"},
    ]
    draft.tests = [{"runs": f"{draft.name} --help\n"}]
    draft.note("Go fetches modules while it builds: vendor them, or build with --network")
    return draft


async def _find(http: Http, index: str, name: str, version: str) -> tuple[str, dict[str, object]]:
    """The module that an import path lies in: the path itself, or what is above it."""
    parts = name.strip("/").split("/")
    for length in range(len(parts), max(0, min(len(parts), 2) - 1), -1):
        module = "/".join(parts[:length])
        tag = version if not version or version.startswith("v") else f"v{version}"
        place = f"@v/{tag}.info" if tag else "@latest"
        try:
            return module, await ask(
                http, f"{index}/{_escaped(module)}/{place}", f"module {module}"
            )
        except ConvertError:
            continue
    raise ConvertError(
        f"the proxy has no module {name} {version}".rstrip(),
        hint="give the import path, such as example.org/team/program",
    )


def _escaped(path: str) -> str:
    """Capital letters as the protocol writes them (``!a`` for ``A``)."""
    return re.sub(r"[A-Z]", lambda match: f"!{match[0].lower()}", path)


def _program(path: str) -> str:
    """The last part that is no major version."""
    parts = path.strip("/").split("/")
    return parts[-2] if len(parts) > 1 and re.fullmatch(r"v[0-9]+", parts[-1]) else parts[-1]
