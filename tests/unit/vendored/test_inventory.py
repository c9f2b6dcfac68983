"""What programs and archives were made of, and archives that try to overwhelm their reader."""

import io
import json
import zipfile
import zlib

import pytest

from elf_files import Part, elf, go_build_info
from plimsoll.builder.vendored import archives, rustbinary
from plimsoll.builder.vendored.gobinary import GoModule, read_go_build
from plimsoll.builder.vendored.inventory import inventory
from plimsoll.builder.vendored.model import component

GO = (
    "path\texample.com/x/cmd\nmod\texample.com/x\t(devel)\t\n"
    "dep\tgithub.com/a/b\tv1.2.3\th1:abc=\n"
    "dep\tgithub.com/c/d\tv0.1.0\n=>\tgithub.com/fork/d\tv0.2.0\th1:x=\n"
    'build\tCGO_ENABLED=0\nbuild\t-tags="a b"\n'
)


def purls(tree):
    return [item.purl for item in inventory(tree)]


def test_go(make_tree):
    tree = make_tree({"usr/bin/x": elf(go_build_info("go1.22.3 X:loopvar", GO))})
    build = read_go_build(tree.get("usr/bin/x"))
    assert build.version == "go1.22.3 X:loopvar"
    assert build.main == GoModule("example.com/x", "")
    assert build.settings == {"CGO_ENABLED": "0", "-tags": "a b"}
    assert purls(tree) == [
        "pkg:golang/example.com/x",
        "pkg:golang/github.com/a/b@v1.2.3",
        "pkg:golang/github.com/fork/d@v0.2.0",
        "pkg:golang/stdlib@1.22.3",
    ]


@pytest.mark.parametrize(("bits", "big"), [(64, False), (64, True), (32, False), (32, True)])
def test_go_before_1_18(make_tree, bits, big):
    """Pointers to string headers, instead of strings."""
    width, order = bits // 8, "big" if big else "little"
    base = 0x10000

    def word(value):
        return value.to_bytes(width, order)

    def build(place):
        version, info = b"go1.17", b"0" * 16 + GO.encode() + b"1" * 16
        strings = place + 32
        text = strings + 4 * width
        head = b"\xff Go buildinf:" + bytes((width, int(big)))
        head += word(base + strings) + word(base + strings + 2 * width)
        headers = word(base + text) + word(len(version)) + word(base + text + len(version))
        return head.ljust(32, b"\0") + headers + word(len(info)) + version + info

    first = elf(Part(".go.buildinfo", build(0)), bits=bits, big=big)
    place = first.index(b"\xff Go buildinf:")
    tree = make_tree({"x": elf(Part(".go.buildinfo", build(place)), bits=bits, big=big)})
    found = read_go_build(tree.get("x"))
    assert found.version == "go1.17"
    assert [m.path for m in found.modules] == ["github.com/a/b", "github.com/fork/d"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff Go buildinf:", b"\xff Go buildinf:" + bytes((8, 0)) + b"\xff" * 16,
        b"\xff Go buildinf:" + bytes((8, 2)) + b"\0" * 16 + b"\xff" * 40,
        b"\xff Go buildinf:" + bytes((8, 2)) + b"\0" * 16 + b"\x7fgo1",
        b"\xff Go buildinf:" + bytes((200, 0)) + b"\0" * 16,
    ],
)  # fmt: skip
def test_go_broken(make_tree, content):
    assert purls(make_tree({"x": elf(Part(".go.buildinfo", content))})) == []


def rust(found):
    return elf(Part(".dep-v0", zlib.compress(json.dumps(found).encode())))


def test_rust(make_tree):
    found = {
        "packages": [
            {"name": "app", "version": "1.0.0", "source": "local", "root": True},
            {"name": "serde", "version": "1.0.2", "source": "crates.io"},
            {"name": "cc", "version": "1.1.0", "source": "crates.io", "kind": "build"},
            {"name": "log", "version": "0.4.1+x", "source": "git", "kind": "runtime"},
            {"name": 7}, "odd", {"name": "no-version"},
        ]
    }  # fmt: skip
    assert purls(make_tree({"usr/bin/x": rust(found)})) == [
        "pkg:cargo/log@0.4.1%2Bx",
        "pkg:cargo/serde@1.0.2",
    ]


@pytest.mark.parametrize("found", [[], {"packages": {}}, {"packages": None}, 7])
def test_rust_odd(make_tree, found):
    assert purls(make_tree({"x": rust(found)})) == []


def test_rust_broken_and_too_large(make_tree, monkeypatch):
    monkeypatch.setattr(rustbinary, "MAX_LIST", 1000)
    bomb = zlib.compress(b'{"packages":[' + b" " * 100_000 + b"]}")
    deep = zlib.compress(b"[" * 900)
    for content in (b"", b"junk", bomb, deep):
        assert purls(make_tree({"x": elf(Part(".dep-v0", content))})) == []


def test_python_and_npm(make_tree):
    site = "usr/lib/python3.12/site-packages"
    tree = make_tree(
        {
            f"{site}/Foo_Bar-1.2.dist-info/METADATA": b"Name: Foo_Bar\nVersion: 1.2\n\nName: no\n",
            f"{site}/old.egg-info": b"Metadata-Version: 1\nName: old\nVersion: 3\n",
            f"{site}/x.egg-info/PKG-INFO": b"Name: x\n continued: 1\n",
            f"{site}/bad.dist-info/METADATA": b"Name: a b\nVersion: 1 2\n",
            "usr/lib/node_modules/a/package.json": b'{"name": "a", "version": "1.0.0"}',
            "usr/lib/node_modules/a/node_modules/@s/b/package.json": b'{"version": "2.0.0-rc.1"}',
            "usr/lib/node_modules/a/lib/package.json": b'{"name": "no", "version": "9"}',
            "usr/lib/node_modules/c/package.json": b"{",
            "usr/lib/node_modules/d/package.json": b'["x"]',
            "usr/lib/node_modules/e/package.json": b'{"name": 1, "version": "1"}',
        }
    )
    assert sorted(purls(tree)) == [
        "pkg:npm/%40s/b@2.0.0-rc.1",
        "pkg:npm/a@1.0.0",
        "pkg:pypi/foo-bar@1.2",
        "pkg:pypi/old@3",
        "pkg:pypi/x",
    ]


def jar(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def properties(artifact, version="1.0"):
    path = f"META-INF/maven/org.x/{artifact}/pom.properties"
    return {path: f"#c\nversion={version}\ngroupId=org.x\nartifactId={artifact}\n"}


SPECIFICATION = """\
# -*- encoding: utf-8 -*-
# stub: rack-test 2.1.0 ruby lib

Gem::Specification.new do |s|
  s.name = "rack-test".freeze
  s.version = "2.1.0".freeze
  s.add_runtime_dependency(%q<rack>.freeze, [">= 1.3"])
end
"""


def test_ruby_and_php(make_tree):
    gems = "usr/lib/ruby/gems/3.4.0/specifications"
    packages = [
        {"name": "Monolog/Monolog", "version": "v2.9.1"},
        {"name": "psr/log", "version": "3.0.0"},
        {"name": "no-version"},
        "nothing",
    ]
    files = {
        f"{gems}/rack-test-2.1.0.gemspec": SPECIFICATION,
        f"{gems}/default/json-2.9.gemspec": (
            "Gem::Specification.new do |s|\n  s.name = 'json'\n"
            '  s.version = Gem::Version.new "2.9"\nend\n'
        ),
        f"{gems}/broken-1.gemspec": "s.name = exit!",
        "usr/lib/ruby/gems/3.4.0/gems/rack-test-2.1.0/rack-test.gemspec": SPECIFICATION,
        "usr/share/app/vendor/composer/installed.json": json.dumps({"packages": packages}),
        "usr/share/old/vendor/composer/installed.json": json.dumps(packages[1:2]),
        "usr/share/bad/vendor/composer/installed.json": "{[",
        "usr/share/none/vendor/composer/installed.json": "7",
    }
    tree = make_tree({path: text.encode() for path, text in files.items()})
    assert sorted(purls(tree)) == [
        "pkg:composer/monolog/monolog@2.9.1",
        "pkg:composer/psr/log@3.0.0",
        "pkg:composer/psr/log@3.0.0",
        "pkg:gem/json@2.9",
        "pkg:gem/rack-test@2.1.0",
    ]


def test_java(make_tree):
    inner = jar(properties("inner"))
    by_manifest = jar({"META-INF/MANIFEST.MF": "Bundle-SymbolicName: org.y.lo\r\n ng;a=b\r\n"
                       "Bundle-Version: 3.1\r\n"})  # fmt: skip
    tree = make_tree(
        {
            "usr/share/java/app.war": jar(
                {**properties("one"), **properties("two", "2"), "WEB-INF/lib/inner.jar": inner}
            ),
            "usr/share/java/osgi.jar": by_manifest,
            "usr/share/java/commons-io-2.11.0.jar": jar({"a": "b"}),
            "usr/share/java/nothing.jar": jar({"a": "b"}),
            "usr/share/java/broken-1.0.jar": b"PK\3\4" + b"x" * 100,
        }
    )
    found = {(i.purl, i.path.removeprefix("usr/share/java/")) for i in inventory(tree)}
    assert found == {
        ("pkg:maven/org.x/one@1.0", "app.war"),
        ("pkg:maven/org.x/two@2", "app.war"),
        ("pkg:maven/org.x/inner@1.0", "app.war!/WEB-INF/lib/inner.jar"),
        ("pkg:generic/org.y.long@3.1", "osgi.jar"),
        ("pkg:generic/commons-io@2.11.0", "commons-io-2.11.0.jar"),
    }


def test_java_archives_in_archives_end(monkeypatch):
    content = jar(properties("core"))
    for _ in range(10):
        content = jar({"x.jar": content})
    assert list(archives.libraries(io.BytesIO(content), "a.jar")) == []
    monkeypatch.setattr(archives, "_MAX_NESTED", 10)
    shallow = jar({"x.jar": jar(properties("core"))})
    assert list(archives.libraries(io.BytesIO(shallow), "a.jar")) == []


def test_java_bomb(make_tree):
    bomb = jar({"META-INF/maven/a/b/pom.properties": b"\n" * 50_000_000, **properties("ok")})
    assert purls(make_tree({"b.jar": bomb})) == ["pkg:maven/org.x/ok@1.0"]


@pytest.mark.parametrize(
    ("kind", "name", "version"),
    [
        ("npm", "", "1"), ("npm", "a\nb", "1"), ("maven", ":x", "1"),
        ("pypi", "x" * 501, "1"), ("pypi", "x", "1 2"), ("golang", "a//b", "1"),
    ],
)  # fmt: skip
def test_names_of_nothing(kind, name, version):
    assert component(kind, name, version, "p") is None
