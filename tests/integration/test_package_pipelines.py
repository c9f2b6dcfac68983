"""Built-in pipelines doing their work, on this machine, with real tools and local servers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from plimsoll.arch import Arch
from plimsoll.builder.package.compile import Source, compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_text
from plimsoll.builder.package.runner import Host, Place, Settings, StepError
from plimsoll.builder.package.sources import cache_sources
from plimsoll.http import Http, HttpError

pytestmark = pytest.mark.integration


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path, home):
    """Runs the steps of package ``a`` and its subpackages; returns what they printed."""

    async def steps(text, **names):
        head = "package: {name: a, version: 1.2, epoch: 0}\n"
        compiled = compile_package(load_text(head + text, "x.yaml"), Library(), Arch.host())
        said = []
        settings = Settings(say=said.append, environment=names)
        runner = Host(Place(home, tmp_path, tmp_path / "cache"), settings)
        for name, scripts in compiled.scripts.items():
            (home / "melange-out" / name).mkdir(parents=True, exist_ok=True)
            for script in scripts:
                await runner.run(script)
        return "\n".join(said)

    return steps


def _output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _tree(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


# -- git-checkout ----------------------------------------------------------------------------------


class Repository:
    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        command = ["git", "-C", self.path, *identity, *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, name, text):
        (self.path / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", name)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path):
    repository = Repository(tmp_path / "upstream")
    repository.first = repository.commit("one", "1\n")
    repository.git("tag", "-a", "-m", "one", "v1.2")
    repository.git("branch", "fixes")
    repository.second = repository.commit("two", "2\n")
    repository.git("checkout", "-q", "fixes")
    repository.fix = repository.commit("fix", "3\n")
    repository.git("checkout", "-q", "main")
    return repository


def _checkout(upstream, **inputs):
    lines = [f"      {key.replace('_', '-')}: {value}" for key, value in inputs.items()]
    step = (
        f"pipeline:\n  - uses: git-checkout\n    with:\n      repository: file://{upstream.path}\n"
    )
    return step + "\n".join(lines) + "\n"


@needs("git")
async def test_checkout_of_a_tag(run, home, upstream):
    _write(home, "patches/a.patch", "one")
    text = _checkout(upstream, tag="v${{package.version}}", expected_commit=upstream.first)
    assert f"is at {upstream.first}" in await run(text)
    assert (home / "one").read_text() == "1\n"
    assert not (home / "two").exists()
    assert (home / "patches/a.patch").exists()


@needs("git")
async def test_checkout_of_a_tag_that_moved(run, upstream):
    upstream.git("tag", "-f", "v1.2", upstream.second)
    with pytest.raises(StepError, match=rf"is {upstream.second}, expected was {upstream.first}"):
        await run(_checkout(upstream, tag="v1.2", expected_commit=upstream.first))


@needs("git")
async def test_checkout_of_a_tag_by_its_own_object(run, home, upstream):
    await run(_checkout(upstream, tag="v1.2", expected_commit=upstream.git("rev-parse", "v1.2")))
    assert (home / "one").exists()


@needs("git")
async def test_checkout_of_a_commit_of_a_branch(run, home, upstream):
    text = _checkout(upstream, branch="main", expected_commit=upstream.first, destination="src")
    await run(text)
    assert _tree(home / "src")[-1] == "one"
    assert _output("git", "-C", home / "src", "branch", "--show-current") == "main\n"
    other = _checkout(upstream, branch="main", expected_commit=upstream.fix, destination="o")
    with pytest.raises(StepError, match="is no commit of the branch main"):
        await run(other)


@needs("git")
async def test_checkout_with_cherry_picks(run, home, upstream):
    text = _checkout(upstream, tag="v1.2", expected_commit=upstream.first)
    text += f'      cherry-picks: |\n        # why\n        fixes/{upstream.fix}: it\'s "broken"\n'
    await run(text)
    assert (home / "fix").read_text() == "3\n"
    date = ["log", "-1", "--format=%cd", "--date=unix"]
    assert _output("git", "-C", home, *date) == "0\n"
    shutil.rmtree(home / ".git")
    with pytest.raises(StepError, match="is not of the form"):
        await run(text.replace(": it's", " it's"))


@needs("git")
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"tag": "v9"}, "has no v9, or cannot be reached"),
        ({"tag": "v1.2", "branch": "main"}, "not both"),
    ],
)
async def test_what_cannot_be_checked_out(run, upstream, inputs, said):
    with pytest.raises(StepError, match=said):
        await run(_checkout(upstream, **inputs), PATH=_without_sleep(upstream.path.parent))


def _without_sleep(folder):
    """A PATH whose ``sleep`` returns at once: waiting between tries is not what is tested."""
    (folder / "bin").mkdir()
    sleep = folder / "bin/sleep"
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    return f"{folder}/bin:{os.environ['PATH']}"


# -- fetch and patch -------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path):
    source = tmp_path / "a-1.2"
    _write(source, "hello.txt", "sub/file")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(source, "a-1.2")
    data = (tmp_path / "a.tar.gz").read_bytes()
    asked = []

    async def answer(request):
        asked.append(request.path)
        if len(asked) == 1 and request.path == "/flaky.tar.gz":
            return web.Response(status=503)
        return web.Response(body=data)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    async with TestServer(app) as running:
        running.base = str(running.make_url("")).rstrip("/")
        running.sha256 = hashlib.sha256(data).hexdigest()
        running.sha512 = hashlib.sha512(data).hexdigest()
        running.asked = asked
        yield running


def _fetch(**inputs):
    lines = [f"      {key.replace('_', '-')}: {value}" for key, value in inputs.items()]
    return "pipeline:\n  - uses: fetch\n    with:\n" + "\n".join(lines) + "\n"


@needs("wget")
async def test_fetch_and_unpack(run, home, server, tmp_path):
    (tmp_path / "cache").mkdir()
    text = _fetch(
        uri=f"{server.base}/flaky.tar.gz?x=1", expected_sha256=server.sha256, delete="true"
    )
    await run(text, PATH=_without_sleep(tmp_path))
    assert _tree(home) == ["hello.txt", "sub/file"]
    assert len(server.asked) == 2
    assert "comes from the cache" in await run(text)
    assert len(server.asked) == 2
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.name == f"sha256:{server.sha256}"
    cached.write_bytes(b"changed")
    await run(text)
    assert len(server.asked) == 3


@needs("wget")
async def test_fetch_without_unpacking(run, home, server):
    await run(_fetch(uri=f"{server.base}/b.bin", expected_sha512=server.sha512, extract="false"))
    assert _tree(home) == ["b.bin"]


@needs("wget")
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"expected_sha256": "0" * 64}, "which is not what was expected"),
        ({}, "needs expected-sha256 or expected-sha512"),
    ],
)
async def test_what_is_not_fetched(run, home, server, inputs, said):
    with pytest.raises(StepError, match=said):
        await run(_fetch(uri=f"{server.base}/b.tar.gz", **inputs))
    assert not (home / "hello.txt").exists()


@needs("wget")
async def test_cached_sources_need_no_server(run, home, server, tmp_path):
    inputs = {"uri": f"{server.base}/c.tar.gz", "expected-sha512": server.sha512}
    sources = [Source("fetch", inputs), Source("fetch", inputs), Source("git-checkout", {})]
    async with Http() as http:
        (path,) = await cache_sources(http, sources, tmp_path / "cache", print)
        assert path.name == f"sha512:{server.sha512}"
        await cache_sources(http, sources, tmp_path / "cache", print)
        assert len(server.asked) == 1
        wrong = Source("fetch", {"uri": inputs["uri"], "expected-sha256": "0" * 64})
        with pytest.raises(HttpError):
            await cache_sources(http, [wrong], tmp_path / "cache", print)
    assert [item.name for item in (tmp_path / "cache").iterdir()] == [path.name]
    await server.close()
    await run(_fetch(uri=inputs["uri"], expected_sha512=server.sha512))
    assert _tree(home) == ["c.tar.gz", "hello.txt", "sub/file"]


@needs("patch")
async def test_patch(run, home):
    _write(home, "one", "two")
    patch = "--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-{0}\n\\ No newline at end of file\n+new {0}\n"
    (home / "p").mkdir()
    (home / "p/one.patch").write_text(patch.format("one"))
    (home / "p/two.patch").write_text(patch.format("two"))
    (home / "p/series").write_text("# all\n\ntwo.patch -p1\n")
    text = "pipeline:\n  - uses: patch\n    with:\n      patches: |\n        p/one.patch\n"
    await run(text + "      series: p/series\n")
    assert ((home / "one").read_text(), (home / "two").read_text()) == ("new one\n", "new two\n")
    with pytest.raises(StepError, match=r"p/one.patch does not apply"):
        await run(text)
    with pytest.raises(StepError, match="give 'patches' or 'series'"):
        await run("pipeline: [{uses: patch}]\n")


# -- split, strip, make ----------------------------------------------------------------------------

_OUT = (
    "usr/bin/tool", "usr/bin/tool-config", "usr/include/a/a.h", "usr/lib/liba.so.1",
    "usr/lib/liba.a", "usr/lib/pkgconfig/a.pc", "usr/lib/libb.so.2", "usr/share/aclocal/a.m4",
    "usr/share/man/man1/tool.1", "usr/share/info/tool.info", "usr/share/info/dir",
    "usr/share/doc/a/README", "usr/share/locale/de/a.mo",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("manpages", ["usr/share/man/man1/tool.1"]),
        ("infodir", ["usr/share/info/tool.info"]),
        ("locales", ["usr/share/locale/de/a.mo"]),
        ("static", ["usr/lib/liba.a"]),
        ("bin", ["usr/bin/tool", "usr/bin/tool-config"]),
        ("lib", ["usr/lib/liba.so.1", "usr/lib/libb.so.2"]),
        (
            "alldocs",
            ["usr/share/doc/a/README", "usr/share/info/tool.info", "usr/share/man/man1/tool.1"],
        ),
        (
            "dev",
            [
                *("usr/bin/tool-config", "usr/include/a/a.h", "usr/lib/liba.a", "usr/lib/liba.so"),
                *("usr/lib/pkgconfig/a.pc", "usr/share/aclocal/a.m4"),
            ],
        ),
    ],
)
async def test_split(run, home, name, moved):
    main = home / "melange-out/a"
    _write(main, *_OUT)
    (main / "usr/lib/liba.so").symlink_to("liba.so.1")
    await run(f"subpackages:\n  - name: b\n    pipeline: [{{uses: split/{name}}}]\n")
    assert _tree(home / "melange-out/b") == moved
    left = {*_OUT, "usr/lib/liba.so"} - set(moved)
    if name in {"infodir", "alldocs"}:
        left -= {"usr/share/info/dir"}
    assert _tree(main) == sorted(left)
    empty = [folder for folder in main.rglob("*") if folder.is_dir() and not list(folder.iterdir())]
    assert empty == []
    with pytest.raises(StepError, match="cannot be split from itself"):
        await run(f"pipeline: [{{uses: split/{name}}}]\n")


async def test_split_of_chosen_libraries_from_another_package(run, home):
    _write(home / "melange-out/other", "usr/lib/liba.so.1", "usr/lib/libb.so.2", "opt/x/liba.so.3")
    await run(
        "subpackages:\n  - name: b\n    pipeline:\n      - uses: split/lib\n        with:\n"
        "          package: other\n          patterns: |\n            a\n          paths: opt/x\n"
    )
    assert _tree(home / "melange-out/b") == ["opt/x/liba.so.3", "usr/lib/liba.so.1"]


async def test_two_splits_meet_in_one_place(run, home):
    _write(home / "melange-out/a", "usr/share/man/man1/a.1")
    _write(home / "melange-out/c", "usr/share/man/man1/c.1")
    await run(
        "subpackages:\n  - name: b\n    pipeline:\n      - uses: split/manpages\n"
        "      - {uses: split/manpages, with: {package: c}}\n"
    )
    assert _tree(home / "melange-out/b") == ["usr/share/man/man1/a.1", "usr/share/man/man1/c.1"]


@needs("gcc", "make", "strip", "objcopy")
async def test_make_strip_and_debug(run, home):
    (home / "main.c").write_text("int main(void) { return 0; }\n")
    (home / "Makefile").write_text(
        "all: main\nmain: main.c\n\tgcc -g -o main main.c\n"
        "install:\n\tinstall -D main $(DESTDIR)/usr/bin/main\n\techo x >$(DESTDIR)/usr/bin/a.la\n"
    )
    text = "pipeline:\n  - uses: autoconf/make\n  - uses: autoconf/make-install\n"
    debug = "subpackages:\n  - name: a-dbg\n    pipeline: [{uses: split/debug}]\n"
    await run(text + debug)
    out = home / "melange-out"
    assert _tree(out / "a") == ["usr/bin/main"]
    assert _tree(out / "a-dbg") == ["usr/lib/debug/usr/bin/main.debug"]
    program = out / "a/usr/bin/main"
    sections = _output("objdump", "-h", program)
    assert ".debug_info" not in sections
    assert ".gnu_debuglink" in sections
    assert _output(program) == ""
    await run(text.replace("\n  - uses: autoconf/make-install", "\n") + "  - uses: strip\n")
    assert oct(program.stat().st_mode)[-3:] == "755"


@needs("gcc", "cmake", "ninja")
async def test_cmake(run, home):
    (home / "main.c").write_text("int main(void) { return 0; }\n")
    (home / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.10)\nproject(a C)\nadd_executable(a main.c)\n"
        "install(TARGETS a)\n"
    )
    await run("pipeline: [{uses: cmake/configure}, {uses: cmake/build}, {uses: cmake/install}]\n")
    assert _tree(home / "melange-out/a") == ["usr/bin/a"]


async def test_python_import(run):
    text = "pipeline:\n  - uses: python/import\n    with:\n      imports: |\n"
    said = await run(text + "        import os # the system\n        from json import loads\n")
    assert "python/import: import os\n" in said + "\n"
    with pytest.raises(StepError, match="'import nonsense_module' fails with python3"):
        await run(text + "        import nonsense_module\n")
    with pytest.raises(StepError, match="is no import statement"):
        await run(text + "        print(1)\n")
    with pytest.raises(StepError, match="there is nothing to import"):
        await run("pipeline: [{uses: python/import}]\n")


@needs("perl")
async def test_perl(run, home):
    (home / "Makefile.PL").write_text("use ExtUtils::MakeMaker; WriteMakefile(NAME => 'A');\n")
    (home / "lib").mkdir()
    (home / "lib/A.pm").write_text("package A;\n1;\n")
    await run(
        "pipeline:\n  - uses: perl/make\n  - uses: autoconf/make\n  - uses: autoconf/make-install\n"
        "  - uses: perl/cleanup\n"
    )
    found = [name for name in _tree(home / "melange-out/a") if not name.endswith(".3pm")]
    assert [name.rpartition("/")[2] for name in found] == ["A.pm"]


# -- npm -------------------------------------------------------------------------------------------


def _packed(name, version, files, **more):
    """An npm package: its archive, and what a registry says of it."""
    manifest = {"name": name, "version": version, **more}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in {"package.json": json.dumps(manifest), **files}.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode = len(text), 0o755
            archive.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue(), manifest


@pytest.fixture
async def npm_registry():
    """Two packages, of which one depends on the other."""
    answers = {}
    code = '#!/usr/bin/env node\nconsole.log("pilot with " + require("rope"));\n'
    packages = [
        _packed("rope", "1.0.0", {"index.js": 'module.exports = "old rope";\n'}),
        _packed("rope", "1.1.0", {"index.js": 'module.exports = "rope";\n'}),
        _packed(
            "pilot", "4.5.6", {"cli.js": code}, bin={"pilot": "cli.js"},
            dependencies={"rope": "^1.0.0"},
        ),
    ]  # fmt: skip

    async def answer(request):
        found = answers.get(request.path)
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found) if isinstance(found, bytes) else web.json_response(found)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as running:
        base = str(running.make_url("")).rstrip("/")
        for archive, manifest in packages:
            name, version = manifest["name"], manifest["version"]
            path = f"/{name}/-/{name}-{version}.tgz"
            integrity = base64.b64encode(hashlib.sha512(archive).digest()).decode()
            dist = {"tarball": base + path, "integrity": f"sha512-{integrity}"}
            document = answers.setdefault(f"/{name}", {"name": name, "versions": {}})
            document["versions"][version] = {**manifest, "dist": dist}
            document["dist-tags"] = {"latest": version}
            answers[path] = archive
        yield base


@needs("npm", "jq", "node")
async def test_npm(run, home, npm_registry):
    text = (
        "pipeline:\n  - uses: npm/install\n    with:\n      package: pilot\n"
        '      version: 4.5.6\n      overrides: "rope@1.0.0"\n'
    )
    await run(text, npm_config_registry=npm_registry, npm_config_cache=f"{home}/.npm")
    program = home / "melange-out/a/usr/bin/pilot"
    assert _output(program) == "pilot with old rope\n"
    with pytest.raises(StepError, match="404"):
        await run(text.replace("pilot", "none"), npm_config_registry=npm_registry)


# -- go/install ------------------------------------------------------------------------------------


def _go_proxy(folder):
    """A module proxy in a folder, with one module that needs no other."""
    versions = folder / "example.org/bell/@v"
    versions.mkdir(parents=True)
    module = "module example.org/bell\n\ngo 1.18\n"
    main = 'package main\n\nfunc main() { println("ding") }\n'
    (versions / "list").write_text("v1.2.0\n")
    (versions / "v1.2.0.info").write_text('{"Version": "v1.2.0"}')
    (versions / "v1.2.0.mod").write_text(module)
    with zipfile.ZipFile(versions / "v1.2.0.zip", "w") as archive:
        for name, text in {"go.mod": module, "main.go": main}.items():
            archive.writestr(f"example.org/bell@v1.2.0/{name}", text)
    return f"file://{folder}"


@needs("go")
async def test_go_install(run, home, tmp_path):
    text = "pipeline: [{uses: go/install, with: {package: example.org/bell, version: v1.2.0}}]\n"
    own = _output("go", "env", "GOCACHE").strip()
    settings = {"GOPROXY": _go_proxy(tmp_path / "proxy"), "GONOSUMDB": "*", "GOCACHE": own}
    settings |= {"GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOPATH": f"{home}/go"}
    await run(text, **settings)
    program = home / "melange-out/a/usr/bin/bell"
    assert _output("sh", "-c", f"{program} 2>&1") == "ding\n"
    assert f"{home}".encode() not in program.read_bytes()
    with pytest.raises(StepError, match=r"v9\.9\.9"):
        await run(text.replace("v1.2.0", "v9.9.9"), **settings)
