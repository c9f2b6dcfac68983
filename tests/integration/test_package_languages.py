"""The built-in pipelines of build systems and languages, run for real in a guest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from build_tools import build_tools
from debian_apk.apt import AptError
from plimsoll.apk.package import verify_package
from plimsoll.apk.tarfmt import Type
from plimsoll.cli.main import cli

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]
CONFIG = Path(__file__).with_name("languages.yaml")
DOC = "usr/share/doc/anchor/README", "usr/share/man/man1/anchor.1"
PYTHON = "usr/lib/python3/dist-packages/cargo_list"
GEMS = "var/lib/gems/3.1.0"
#: Package → what it holds, beside its SBOM.
FILES = {
    "languages": {"usr/bin/anchor"},
    "languages-doc": set(DOC),
    "languages-cmake": {"usr/lib/libbuoy.so.2", "usr/lib/libbuoy.so.2.3.4"},
    "languages-cmake-dev": {"usr/include/buoy.h", "usr/lib/libbuoy.so"},
    "languages-cmake-static": {"usr/lib/libbuoy.a"},
    "languages-meson": {"usr/bin/compass"},
    "languages-meson-lang": {"usr/share/locale/nl/LC_MESSAGES/compass.mo"},
    "languages-meson-dbg": {"usr/lib/debug/usr/bin/compass.debug"},
    "languages-go": {"usr/bin/log", "usr/libexec/log"},
    "languages-python": {
        "usr/bin/cargo-list", f"{PYTHON}/__init__.py",
        *(f"{PYTHON}-1.1.dist-info/{name}" for name in
          ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")),
    },
    "languages-perl": {"usr/share/man/man3/Ship::Bell.3pm", "usr/share/perl5/Ship/Bell.pm"},
    "languages-ruby": {
        f"{GEMS}/gems/sextant-3.0.1/lib/sextant.rb", f"{GEMS}/specifications/sextant-3.0.1.gemspec",
    },
    "languages-patched": {"usr/share/side.txt"},
}  # fmt: skip


def _content(path):
    """Path → content of every file, without the SBOM."""
    package = verify_package(path, checksum=None)
    with path.open("rb") as file:
        return {
            item.header.name: b"".join(map(bytes, item.chunks()))
            for item in package.data(file)
            if item.header.type is not Type.DIRECTORY and "/db/sbom/" not in item.header.name
        }


def test_languages(tmp_path, monkeypatch):
    try:
        tools = build_tools("languages")
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "packages"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    (key,) = tools.glob("*.rsa.pub")
    base = [CONFIG, "--arch", "amd64", "-r", tools, "-k", key]

    def run(*words):
        result = CliRunner().invoke(cli, ["package", *map(str, words)])
        assert result.exit_code == 0, result.stderr[-3000:]
        return result.stdout

    cached = ["--cache-dir", tmp_path / "cache", "--package-append", "ccache"]
    run("build", *base, "--out-dir", tmp_path / "out", *cached)
    assert any((tmp_path / "cache/ccache").rglob("*R")), "compilers were not ccache"
    out = tmp_path / "out/x86_64"
    found = {name: _content(out / f"{name}-1.0.0-r0.apk") for name in FILES}
    assert {name: set(files) for name, files in found.items()} == FILES
    assert found["languages-patched"]["usr/share/side.txt"] == b"starboard\ngreen\n"
    assert found["languages-cmake-dev"]["usr/lib/libbuoy.so"] == b""
    assert b".debug_info" not in found["languages"]["usr/bin/anchor"]
    assert b".gnu_debuglink" in found["languages-meson"]["usr/bin/compass"]
    assert b".symtab" in found["languages-meson-dbg"]["usr/lib/debug/usr/bin/compass.debug"]
    assert b"vcs.revision=" in found["languages-go"]["usr/libexec/log"]
    assert b"vcs.modified=false" in found["languages-go"]["usr/libexec/log"]
    depends = verify_package(out / "languages-cmake-dev-1.0.0-r0.apk", checksum=None).info.depends
    assert depends == ("so:libbuoy.so.2",)

    tested = run("test", *base, "--ignore-signatures", "-r", tmp_path / "out")
    assert tested.split() == [
        f"languages-{name}-1.0.0-r0" for name in ("go", "python", "perl", "ruby")
    ]
