"""First configurations from APKBUILD files, and where registries are looked for."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.arch import Arch
from plimsoll.builder.convert.apkbuild import convert
from plimsoll.builder.convert.draft import ConvertError, Draft, write
from plimsoll.builder.convert.indexes import KINDS, Machine, find_index
from plimsoll.builder.convert.shell import parse
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_text
from plimsoll.cli.main import cli

APKBUILD = """\
# Maintainer: Somebody <somebody@example.org>
pkgname=windlass
pkgver=2.13.1
_short="${pkgver%.*}"
_flat=${pkgver//./_}
pkgrel=3
pkgdesc="Hoists anchors"
url="https://windlass.example.org/"
arch="x86_64 aarch64 !s390x"
license="LGPL-2.1-or-later AND MIT"
depends="!capstan chain>=2"
depends_dev="zlib-dev"
makedepends="
	linux-headers
	$depends_dev
	"
subpackages="$pkgname-dev $pkgname-doc $pkgname-tools:_tools:noarch $pkgname-odd"
source="https://windlass.example.org/$_short/windlass-$pkgver.tar.xz
	extra-$_flat.bin::https://windlass.example.org/extra?v=$pkgver
	fix.patch
	windlass.initd
	"
if [ -n "$BOOTSTRAP" ]; then
	options="!check"
fi
_when=$(date)

prepare() {
	default_prepare
	autoreconf -vfi
}

build() {
	./configure \\
		--build=$CBUILD \\
		--prefix=/usr \\
		--with-chain="$_short" \\
		--enable-shared # why
	make -j$JOBS
}

check() {
	local where="$builddir"
	make -C "$where" check || return 1
}

package() {
	make DESTDIR="$pkgdir" install
	rm -rf "$pkgdir"/usr/share/$pkgname/"$(uname -m)"
	echo '$pkgdir stays'
}

_tools() {
	pkgdesc="tools of windlass"
	depends="bash"
	amove usr/bin/windlass-*
}

dev() {
	default_dev
	mv "$pkgdir"/usr/bin/windlass-config "$subpkgdir"/usr/bin/
}

sha512sums="
AAAA  windlass-2.13.1.tar.xz
BBBB  extra-2_13_1.bin
"
""".replace("AAAA", "a" * 128).replace("BBBB", "b" * 128)


def steps(items):
    return [step.uses or step.name for step in items]


def test_an_apkbuild():
    text = write(convert(APKBUILD), "a test")
    config = compile_package(load_text(text, "x.yaml"), Library(), Arch.AMD64).config
    assert config.package.full_version == "2.13.1-r3"
    assert config.package.target_architecture == ["x86_64", "aarch64"]
    assert config.package.dependencies.runtime == ["chain>=2"]
    assert {"linux-headers", "zlib-dev", "patch"} <= set(config.environment.contents.packages)
    assert steps(config.pipeline) == [
        *("fetch", "fetch", "patch", "prepare", "autoconf/configure", "autoconf/make", "check"),
        *("autoconf/make-install", "package", "strip"),
    ]
    first, second = config.pipeline[0].with_, config.pipeline[1].with_
    assert first["uri"] == "https://windlass.example.org/2.13/windlass-2.13.1.tar.xz"
    assert (first["expected-sha512"], second["expected-sha512"]) == ("a" * 128, "b" * 128)
    assert second["extract"] == "false"
    assert config.pipeline[4].with_["opts"] == '--with-chain="2.13" \\\n--enable-shared'
    assert config.pipeline[6].runs.startswith("check() {\n")
    package = config.pipeline[8].runs
    assert '/home/build/melange-out/windlass"/usr/share/windlass/"$(uname -m)"' in package
    assert "'$pkgdir stays'" in package
    dev, doc, tools, odd = config.subpackages
    assert (steps(dev.pipeline), steps(doc.pipeline)) == (["split/dev", ""], ["split/alldocs"])
    assert dev.dependencies.runtime == ["zlib-dev"]
    assert (tools.description, tools.dependencies.runtime) == ("tools of windlass", ["bash"])
    assert "windlass-*; do" in tools.pipeline[0].runs
    assert odd.pipeline == []
    for note in (
        "it conflicts with capstan",
        "put windlass.initd beside the configuration, in a folder of its name",
        "these depend on what only running it would tell: _when, options",
        "what goes into windlass-odd is not known",
    ):
        assert f"# - {note}\n" in text


def test_what_is_no_apkbuild(tmp_path):
    with pytest.raises(ConvertError, match="sets no pkgname and no pkgver"):
        convert("echo hello")
    draft = convert("pkgname=a\npkgver=1\nbuild() {\n  if\n}\n")
    assert any("is not understood" in note for note in draft.notes)
    with pytest.raises(ConvertError, match="too large"):
        convert("#" * (2 << 20))
    for deep in ("$(" * 20_000, "(" * 20_000, "a=" + '"${a:-' * 20_000, "{ " * 20_000):
        with pytest.raises(ConvertError):
            convert(f"pkgname=a\n{deep}")
    result = CliRunner().invoke(cli, ["package", "convert", "apkbuild", str(tmp_path / "none")])
    assert result.exit_code != 0


def test_nothing_is_run(tmp_path):
    proof = tmp_path / "proof"
    text = f"pkgname=a\npkgver=$(touch {proof}; echo 1)\nurl=`touch {proof}`\ntouch {proof}\n"
    with pytest.raises(ConvertError):
        convert(text)
    assert not proof.exists()


@given(st.text(alphabet="ab=$(){}'\"`\\\n;&|<>#% /-_", max_size=200))
def test_any_text_is_read(text):
    parse(text)


def test_values():
    text = """\
a=one.two.three
b=${a%%.*}-${a#*.}-${a##*.}-${a/./_}-${a//./}
c="$a \\$x"' $a'
d=$unknown
e=x
e+=y
f=${a:0:1}
"""
    script = parse(text)
    assert script.values["b"] == "one-two.three-three-one_two.three-onetwothree"
    assert script.values["c"] == "one.two.three $x $a"
    assert script.values["e"] == "xy"
    assert script.unknown == {"d", "f"}


def test_values_that_grow_without_end():
    lines = ["pkgname=a", "pkgver=1", "a=xxxxxxxxxx", *["a=$a$a"] * 100, *["b+=$a"] * 100]
    lines += [f"c{number}=$a" for number in range(2000)]
    script = parse("\n".join(lines))
    assert sum(map(len, script.values.values())) < 5 << 20
    assert {"a", "b", "c1999"} <= script.unknown
    stars = "a*" * 50
    assert parse(f"a={'a' * 1000}\nb=${{a%{stars}b}}\n").values["b"] == "a" * 1000


def test_the_command(tmp_path):
    (tmp_path / "APKBUILD").write_text(APKBUILD)
    words = ["package", "convert", "apkbuild", str(tmp_path)]
    assert "name: windlass" in CliRunner().invoke(cli, words).stdout
    words += ["--out-dir", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, words).stdout == f"{tmp_path}/out/windlass.yaml\n"
    assert "is there already" in CliRunner().invoke(cli, words).output
    assert CliRunner().invoke(cli, [*words, "--force"]).exit_code == 0


def test_a_draft_that_is_not_valid():
    with pytest.raises(ConvertError, match="makes no valid configuration"):
        write(Draft("a b", "1"), "x")


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_was_told(kind, tmp_path):
    machine = Machine({}, tmp_path, tmp_path)
    with pytest.raises(ConvertError, match="not known which registry") as error:
        find_index(kind, "", machine)
    assert "give --index-url, or set" in error.value.hint
    assert find_index(kind, "https://given.example/x/", machine) == "https://given.example/x"
    with pytest.raises(ConvertError, match="is no address"):
        find_index(kind, "given", machine)


@pytest.mark.parametrize(
    ("kind", "environment", "files", "found"),
    [
        ("python", {"PIP_INDEX_URL": "https://a/simple/"}, {}, "https://a/simple"),
        ("python", {}, {".config/pip/pip.conf": "[global]\nindex-url = https://b/simple"}, "https://b/simple"),
        ("python", {"PIP_CONFIG_FILE": "HOME/p"}, {"p": "[global]\nindex-url=https://c"}, "https://c"),
        ("npm", {"npm_config_registry": "https://n/"}, {}, "https://n"),
        ("npm", {}, {".npmrc": "//n/:_authToken=x\nregistry = https://m/\n"}, "https://m"),
        ("gem", {}, {".gemrc": ":sources:\n- https://g/\n:update_sources: true\n"}, "https://g"),
        ("gem", {"RUBYGEMS_HOST": "https://h"}, {}, "https://h"),
        ("go", {"GOPROXY": "off|https://p,direct"}, {}, "https://p"),
        ("go", {}, {".config/go/env": "GOFLAGS=-x\nGOPROXY=https://q\n"}, "https://q"),
        (
            "crate", {},
            {".cargo/config.toml": '[source.crates-io]\nreplace-with = "m"\n'
             '[source.m]\nregistry = "sparse+https://c/index/"\n'},
            "https://c/index",
        ),
        (
            "crate", {"CARGO_HOME": "HOME/c"},
            {"c/config.toml": '[registry]\ndefault = "r"\n[registries.r]\nindex = "sparse+https://r/"\n'},
            "https://r",
        ),
        ("crate", {}, {".cargo/config.toml": "broken = ["}, ""),
        ("gem", {}, {".gemrc": "a: ["}, ""),
        ("python", {}, {".pip/pip.conf": "no section"}, ""),
    ],
)  # fmt: skip
def test_what_clients_were_told(kind, environment, files, found, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = {key: value.replace("HOME", str(tmp_path)) for key, value in environment.items()}
    machine = Machine(environment, tmp_path, Path("/nonexistent"))
    if found:
        assert find_index(kind, "", machine) == found
    else:
        with pytest.raises(ConvertError):
            find_index(kind, "", machine)
