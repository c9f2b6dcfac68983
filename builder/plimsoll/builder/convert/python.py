"""Projects of Python package indexes (simple API, PEP 503 and 691; metadata, PEP 658)."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tomllib
from email.parser import HeaderParser
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from plimsoll.builder.convert.draft import ConvertError, Draft
from plimsoll.builder.convert.registry import ask_bytes, odd, part, plain_name, read
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message

    from plimsoll.http import Http

_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_MAX_MEMBER = 1 << 20
_DESCRIBING = frozenset({"PKG-INFO", "pyproject.toml"})
_MAX_MEMBERS = 100_000
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
}


async def convert(http: Http, index: str, name: str, version: str, python: str) -> Draft:
    """A first configuration of a project.

    Args:
        http: the client.
        index: of the simple API.
        name: of the project.
        version: empty for the newest that is no pre-release.
        python: the version of Python to build for, such as ``3`` or ``3.12``.

    Raises:
        ConvertError: there is no such project, version or source archive.
        HttpError: the index cannot be asked.
    """
    url = f"{index}/{part(canonicalize_name(name))}/"
    files = listed_files(await ask_bytes(http, url, f"project {name}", _SIMPLE), url)
    sdist, found = _sdist(files, name, version)
    digests = sdist.get("hashes")
    sha256 = digests.get("sha256", "") if isinstance(digests, dict) else ""
    if not isinstance(sha256, str) or len(sha256) != 64:
        raise ConvertError(
            f"{public_url(url)} knows no SHA-256 of {sdist['filename']}",
            hint="ask an index that does",
        )
    address = urljoin(url, str(sdist["url"]))
    draft = Draft(plain_name(canonicalize_name(name), f"py{python}-"), str(found))
    known = await _describe(http, url, files, str(found), draft, python)
    await _sources(http, (address, sha256), draft, python, known=known)
    shown = public_url(address).replace(str(found), "${{package.version}}")
    fetch = {"uri": shown, "expected-sha256": sha256}
    draft.steps = [
        {"uses": "fetch", "with": fetch},
        {"uses": "python/build-wheel"},
        {"uses": "strip"},
    ]
    module = canonicalize_name(name).replace("-", "_")
    draft.tests = [{"uses": "python/import", "with": {"imports": f"import {module}\n"}}]
    draft.note(f"the test imports {module!r}; is that what the module is called?")
    return draft


class _Links(HTMLParser):
    """Files of a page as PEP 691 would list them."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        url, _, fragment = (values.get("href") or "").partition("#")
        if tag != "a" or not url:
            return
        algorithm, _, digest = fragment.partition("=")
        self.files.append(
            {
                "filename": unquote(urlsplit(url).path.rpartition("/")[2]),
                "url": url,
                "hashes": {algorithm: digest},
                "yanked": "data-yanked" in values,
                "core-metadata": values.keys() & {"data-core-metadata", "data-dist-info-metadata"},
            }
        )


def listed_files(data: bytes, url: str) -> list[dict[str, Any]]:
    """The files that an answer of an index lists.

    Raises:
        ConvertError: it is no such answer.
    """
    if data.lstrip().startswith(b"{"):
        files = read(data, url).get("files")
        if not isinstance(files, list):
            raise odd(url)
        return [item for item in files if isinstance(item, dict)]
    links = _Links()
    links.feed(data.decode(errors="replace"))
    if not links.files:
        raise odd(url)
    return links.files


def _sdist(files: Iterable[dict[str, Any]], name: str, version: str) -> tuple[dict[str, Any], Any]:
    """The source archive of a version, and the version."""
    found = []
    for item in files:
        try:
            _, number = parse_sdist_filename(str(item.get("filename", "")))
        except InvalidSdistFilename:
            continue
        if not item.get("yanked") and isinstance(item.get("url"), str):
            found.append((number, item))
    if version:
        found = [(number, item) for number, item in found if number == Version(version)]
    else:
        found = [pair for pair in found if not pair[0].is_prerelease] or found
    if not found:
        raise ConvertError(
            f"the index has no source archive of {name} {version}".rstrip(),
            hint="the project may publish wheels only: build from its repository",
        )
    number, item = max(found, key=lambda pair: pair[0])
    return item, number


async def _describe(  # noqa: PLR0913, PLR0917  (what is known so far)
    http: Http, url: str, files: Iterable[dict[str, Any]], version: str, draft: Draft, python: str
) -> bool:
    """Fill in what a wheel of the same version says of itself."""
    for item in files:
        file = str(item.get("filename", ""))
        if not file.endswith(".whl") or f"-{version}-" not in file:
            continue
        if item.get("core-metadata") or item.get("dist-info-metadata"):
            address = urljoin(url, str(item["url"]))
            data = await ask_bytes(http, f"{address}.metadata", "metadata")
            _metadata(HeaderParser().parsestr(data.decode(errors="replace")), draft, python)
            return True
    return False


def _metadata(message: Message, draft: Draft, python: str) -> None:
    draft.description = str(message.get("Summary") or "")
    pages = {
        label.strip().lower(): where.strip()
        for label, comma, where in (u.partition(",") for u in message.get_all("Project-URL", []))
        if comma
    }
    home = str(message.get("Home-page") or "")
    draft.url = (
        home or pages.get("homepage") or pages.get("source") or next(iter(pages.values()), "")
    )
    classes = [
        line.rpartition(" :: ")[2]
        for line in message.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    licence = str(message.get("License-Expression") or "")
    draft.licences = (
        [licence] if licence else [_CLASSIFIERS[c] for c in classes if c in _CLASSIFIERS]
    )
    if not draft.licences and (text := str(message.get("License") or "")) and len(text) < 80:
        draft.licences = [text]
    draft.runtime = _names(message.get_all("Requires-Dist", []), draft, python)


def _names(requirements: Iterable[str], draft: Draft, python: str) -> list[str]:
    """Packages for requirements that hold on Linux without extras."""
    found = []
    for text in requirements:
        try:
            requirement = Requirement(text)
            environment = {"extra": "", "sys_platform": "linux", "platform_system": "Linux"}
            environment["os_name"] = "posix"
            if python.count("."):
                environment["python_version"] = python
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
        except (InvalidRequirement, UndefinedEnvironmentName):
            draft.note(f"the dependency {text[:100]!r} is not understood")
            continue
        found.append(plain_name(canonicalize_name(requirement.name), f"py{python}-"))
    return sorted(set(found))


async def _sources(
    http: Http, archive: tuple[str, str], draft: Draft, python: str, *, known: bool
) -> None:
    """What the source archive says it is built with, and of itself where nothing else did."""
    address, sha256 = archive
    data = await ask_bytes(http, address, "source archive")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConvertError(
            f"{public_url(address)} is not the file that the index names", hint="ask again"
        )
    members = _members(data)
    if not known:
        if "PKG-INFO" in members:
            _metadata(HeaderParser().parsestr(members["PKG-INFO"]), draft, python)
        else:
            draft.note("nothing describes it: add description, licence and dependencies")
    needs = ["setuptools"]
    if "pyproject.toml" in members:
        try:
            system = tomllib.loads(members["pyproject.toml"]).get("build-system", {})
            needs = [Requirement(str(item)).name for item in system.get("requires", needs)]
        except (tomllib.TOMLDecodeError, InvalidRequirement, AttributeError, TypeError):
            draft.note("its pyproject.toml is not understood: see what it is built with")
    draft.packages = ["busybox", "build-base", f"python{python}", f"py{python}-build"]
    draft.packages += [f"py{python}-installer"]
    draft.packages += [plain_name(need, f"py{python}-") for need in needs]


def _members(data: bytes) -> dict[str, str]:
    """The files on top of a source archive that describe it."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for number, member in enumerate(archive):
                path = member.name.split("/")
                if len(path) == 2 and path[1] in _DESCRIBING and member.isfile():
                    file = archive.extractfile(member)
                    text = file.read(_MAX_MEMBER) if file else b""
                    found[path[1]] = text.decode(errors="replace")
                if number > _MAX_MEMBERS or len(found) == len(_DESCRIBING):
                    break
    except (tarfile.TarError, EOFError, OSError):
        return {}
    return found
