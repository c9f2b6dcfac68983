"""First configurations, from servers that speak the protocols of registries."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from plimsoll.arch import Arch
from plimsoll.builder.convert import crate, gem, gomodule, npm, python
from plimsoll.builder.convert.draft import ConvertError, write
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_text
from plimsoll.http import Http, HttpError

pytestmark = pytest.mark.integration
COMMIT = "5f" * 20


def _sdist():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in {
            "pyproject.toml": '[build-system]\nrequires = ["hatchling>=1", "hatch-vcs"]\n',
            "PKG-INFO": "Metadata-Version: 2.4\nName: Sea.Chart\nSummary: from the archive\n",
        }.items():
            info = tarfile.TarInfo(f"sea_chart-1.2.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


SDIST = _sdist()
SHA = hashlib.sha256(SDIST).hexdigest()
METADATA = """\
Metadata-Version: 2.4
Name: Sea.Chart
Version: 1.2.0
Summary: draws charts; $(not run) ${{vars.none}}
Project-URL: Source, https://example.org/chart
License-Expression: MIT OR Apache-2.0
Requires-Dist: Depth_Sounder>=2
Requires-Dist: colorama; sys_platform == "win32"
Requires-Dist: sphinx; extra == "docs"
Requires-Dist: not a requirement at all (((
"""


def _answers(base):
    """Path → what the servers say."""
    released = [("1.1.0", False), ("1.2.0", False), ("1.3.0", True), ("2.0rc1", False)]
    files = [
        {"filename": f"sea_chart-{version}.tar.gz", "url": f"../../files/{version}.tar.gz",
         "hashes": {"sha256": SHA}, "yanked": yanked}
        for version, yanked in released
    ]  # fmt: skip
    files.append(
        {"filename": "sea_chart-1.2.0-py3-none-any.whl", "url": "../../files/chart.whl",
         "hashes": {}, "core-metadata": {"sha256": "0" * 64}}
    )  # fmt: skip
    gem_answer = {
        "name": "sextant", "version": "3.0.1", "info": "measures angles", "licenses": ["MIT"],
        "sha": "ab" * 32, "gem_uri": f"{base}/gems/sextant-3.0.1.gem",
        "homepage_uri": "https://example.org/sextant",
        "dependencies": {"runtime": [{"name": "base64", "requirements": ">= 0"}]},
    }  # fmt: skip
    package = {
        "name": "@harbour/pilot", "version": "4.5.6", "description": "guides ships",
        "license": "ISC", "bin": {"pilot": "cli.js", "pilot; rm -rf /": "x"},
        "repository": {"type": "git", "url": "git+https://example.org/pilot.git"},
        "dist": {"integrity": "sha512-" + base64.b64encode(b"x" * 64).decode()},
    }  # fmt: skip
    versions = [
        {"name": "ballast", "vers": "0.9.0", "cksum": "11" * 32, "yanked": False},
        {"name": "ballast", "vers": "1.0.0", "cksum": "22" * 32, "yanked": False},
        {"name": "ballast", "vers": "1.1.0-beta.1", "cksum": "33" * 32, "yanked": False},
        {"name": "ballast", "vers": "1.2.0", "cksum": "44" * 32, "yanked": True},
    ]
    origin = {"VCS": "git", "URL": "https://example.org/knots", "Ref": "refs/tags/v1.4.0"}
    return {
        "/simple/sea-chart/": {"meta": {"api-version": "1.1"}, "files": files},
        "/files/1.2.0.tar.gz": SDIST,
        "/files/1.1.0.tar.gz": SDIST + b"changed",
        "/files/chart.whl.metadata": METADATA.encode(),
        "/html/sea-chart/": (
            f'<html><a href="../../files/1.2.0.tar.gz#sha256={SHA}">x</a>'
            f'<a href="/x/sea_chart-1.2.0.tar.gz#sha256={SHA}">y</a></html>'
        ).encode(),
        "/x/sea_chart-1.2.0.tar.gz": SDIST,
        "/simple/wheels-only/": {"files": files[-1:]},
        "/simple/odd/": [],
        "/npm/@harbour%2Fpilot/latest": package,
        "/npm/evil/latest": {**package, "version": "1.0$(id)"},
        "/gem/api/v1/gems/sextant.json": gem_answer,
        "/gem/api/v2/rubygems/sextant/versions/3.0.1.json": {
            **gem_answer, "version": None, "number": "3.0.1"
        },
        "/gem/api/v1/gems/evil.json": {**gem_answer, "gem_uri": 'https://x/"$(id)".gem'},
        "/go/example.org/!knots/@latest": {
            "Version": "v1.4.0", "Origin": {**origin, "Hash": COMMIT}
        },
        "/go/example.org/!knots/@v/v1.3.0.info": {"Version": "v1.3.0"},
        "/go/example.org/evil/@latest": {
            "Version": "v1.0.0", "Origin": {"URL": 'https://x/"; id; "'}
        },
        "/crates/config.json": {"dl": f"{base}/dl/{{crate}}/{{version}}.crate", "api": base},
        "/crates/ba/ll/ballast": "\n".join(map(json.dumps, versions)).encode(),
        "/api/v1/crates/ballast": {
            "crate": {"description": "keeps upright", "repository": "https://example.org/ballast"},
            "versions": [{"num": "1.0.0", "license": "MIT/Apache-2.0"}],
        },
    }  # fmt: skip


@pytest.fixture
async def server():
    answers = {}

    async def answer(request):
        found = answers.get(request.raw_path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, bytes):
            return web.Response(body=found)
        return web.json_response(found)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as running:
        base = str(running.make_url("")).rstrip("/")
        answers.update(_answers(base))
        yield base


@pytest.fixture
async def http(server):
    async with Http() as client:
        yield client


def compiled(draft):
    """The configuration, read and compiled for a machine."""
    text = write(draft, "a test")
    return compile_package(load_text(text, "x.yaml"), Library(), Arch.AMD64).config, text


async def test_python(http, server):
    draft = await python.convert(http, f"{server}/simple", "Sea.Chart", "", "3")
    config, text = compiled(draft)
    assert (config.package.name, config.package.version) == ("py3-sea-chart", "1.2.0")
    assert config.package.url == "https://example.org/chart"
    assert [item.license for item in config.package.copyright] == ["MIT OR Apache-2.0"]
    assert config.package.dependencies.runtime == ["py3-depth-sounder"]
    assert {"py3-hatchling", "py3-hatch-vcs"} <= set(config.environment.contents.packages)
    fetch = config.pipeline[0].with_
    assert fetch["uri"] == f"{server}/files/1.2.0.tar.gz"
    assert fetch["expected-sha256"] == SHA
    assert "uri: " + fetch["uri"].replace("1.2.0", "${{package.version}}") in text
    assert "# - the dependency 'not a requirement at all (((' is not understood" in text
    html = await python.convert(http, f"{server}/html", "Sea.Chart", "1.2", "3.12")
    assert (html.name, html.description) == ("py3.12-sea-chart", "from the archive")


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("nothing", "", "there is no project nothing"),
        ("sea-chart", "9", "no source archive of sea-chart 9"),
        ("sea-chart", "1.3.0", "no source archive"),
        ("sea-chart", "1.1.0", "is not the file that the index names"),
        ("wheels-only", "", "no source archive"),
        ("odd", "", "does not answer as a registry"),
    ],
)
async def test_python_projects_without_configuration(http, server, name, version, said):
    with pytest.raises(ConvertError, match=said):
        await python.convert(http, f"{server}/simple", name, version, "3")


async def test_npm(http, server):
    config, text = compiled(await npm.convert(http, f"{server}/npm", "@harbour/pilot", ""))
    assert (config.package.name, config.package.version) == ("pilot", "4.5.6")
    assert config.package.url == "https://example.org/pilot"
    assert config.pipeline[0].with_["package"] == "@harbour/pilot"
    assert config.test.pipeline[0].runs == "command -v pilot\ncommand -v 'pilot; rm -rf /'\n"
    assert f"# - SHA-512 of the package's archive: {b'x'.hex() * 64}" in text
    with pytest.raises(ConvertError, match="cannot be the version"):
        write(await npm.convert(http, f"{server}/npm", "evil", ""), "x")


async def test_gem(http, server):
    config, _ = compiled(await gem.convert(http, f"{server}/gem", "sextant", "", "3.4"))
    assert (config.package.name, config.package.version) == ("ruby3.4-sextant", "3.0.1")
    assert config.package.dependencies.runtime == ["ruby-3.4", "ruby3.4-base64"]
    assert config.pipeline[0].with_["expected-sha256"] == "ab" * 32
    assert config.pipeline[0].with_["uri"] == f"{server}/gems/sextant-3.0.1.gem"
    assert config.pipeline[1].with_["version"] == "3.0.1"
    exact = await gem.convert(http, f"{server}/gem", "sextant", "3.0.1", "3.4")
    assert exact.version == "3.0.1"
    with pytest.raises(ConvertError, match="as part of uri"):
        write(await gem.convert(http, f"{server}/gem", "evil", "", "3.4"), "x")


async def test_go(http, server):
    index = f"{server}/go"
    config, text = compiled(await gomodule.convert(http, index, "example.org/Knots/cmd/log", ""))
    assert (config.package.name, config.package.version) == ("log", "1.4.0")
    given = {"repository": "https://example.org/knots", "tag": "v1.4.0", "expected-commit": COMMIT}
    assert given.items() <= config.pipeline[0].with_.items()
    assert "tag: v${{package.version}}" in text
    assert config.pipeline[1].with_["packages"] == "./cmd/log"
    older = await gomodule.convert(http, index, "example.org/Knots", "1.3.0")
    assert (older.name, older.steps[1]["with"]["packages"]) == ("knots", ".")
    assert "the proxy does not know the commit: add expected-commit" in older.notes
    with pytest.raises(ConvertError, match="no module example"):
        await gomodule.convert(http, index, "example.org/nothing", "")
    with pytest.raises(ConvertError, match="as part of repository"):
        write(await gomodule.convert(http, index, "example.org/evil", ""), "x")


async def test_crate(http, server):
    config, _ = compiled(await crate.convert(http, f"{server}/crates", "ballast", ""))
    assert (config.package.name, config.package.version) == ("ballast", "1.0.0")
    assert [item.license for item in config.package.copyright] == ["MIT OR Apache-2.0"]
    assert config.pipeline[0].with_["uri"] == f"{server}/dl/ballast/1.0.0.crate"
    assert config.pipeline[0].with_["expected-sha256"] == "22" * 32
    chosen = await crate.convert(http, f"{server}/crates", "ballast", "1.1.0-beta.1")
    assert chosen.steps[0]["with"]["expected-sha256"] == "33" * 32
    with pytest.raises(ConvertError, match="has no crate ballast"):
        await crate.convert(http, f"{server}/crates", "ballast", "1.2.0")
    with pytest.raises(ConvertError, match="cannot be the name of a crate"):
        await crate.convert(http, f"{server}/crates", "../../etc", "")


async def test_no_registry(http):
    with pytest.raises(HttpError):
        await npm.convert(http, "http://127.0.0.1:9", "x", "")
