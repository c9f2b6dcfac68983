"""The dependency scan on small trees: each kind of finding, the options, and bad input."""

import gzip
import lzma
import os
import socket
import struct

import pytest
import zstandard

from elf_files import elf, go_build_info
from plimsoll.builder.sca.libraries import library_version, library_versions
from plimsoll.builder.sca.model import Dependencies, Facts, Options
from plimsoll.builder.sca.pkgconf import requirements
from plimsoll.builder.sca.scan import scan
from plimsoll.builder.sca.shebang import interpreter
from plimsoll.builder.sca.tree import DirectoryTree, PackageTreeError

FACTS = Facts("foo", "1.2-r3")
LOADER = "/lib64/ld-linux-x86-64.so.2"


def found(tree, facts=FACTS, relatives=()):
    result = scan(tree, facts, relatives)
    return list(result.runtime), list(result.provides), list(result.vendored)


def test_programs_and_libraries(make_tree):
    tree = make_tree(
        {
            "usr/bin/foo": elf(interpreter=LOADER, needed=("libc.so.6", "libfoo.so.1", "odd.so")),
            "usr/lib/libfoo.so.1.0": elf(soname="libfoo.so.1", needed=("libcuda.so.1",)),
            "usr/lib/libfoo.so.1": "libfoo.so.1.0",
            "usr/lib/plain.so": elf(soname="plain.so"),
            "usr/lib/foo/libprivate.so.2": elf(soname="libprivate.so.2"),
            "usr/lib/libnvidia-ml.so.1": elf(soname="libnvidia-ml.so.1"),
        }
    )
    runtime, provides, vendored = found(tree)
    assert runtime == ["so:ld-linux-x86-64.so.2", "so:libc.so.6", "so:libfoo.so.1"]
    assert provides == [
        "cmd:foo=1.2-r3",
        "so-ver:libfoo.so.1=1.2-r3",
        "so-ver:plain.so=1.2-r3",
        "so:libfoo.so.1=1",
        "so:plain.so=0",
    ]
    assert vendored == ["so-ver:libprivate.so.2=1.2-r3", "so:libprivate.so.2=2"]


def test_musl_loader_is_its_libc(make_tree):
    tree = make_tree({"usr/bin/a": elf(interpreter="/lib/ld-musl-x86_64.so.1")})
    assert found(tree)[0] == ["so:libc.musl-x86_64.so.1"]


def test_program_with_a_soname_offers_nothing(make_tree):
    tree = make_tree({"usr/lib/tool": elf(interpreter=LOADER, soname="libodd.so.1")})
    assert found(tree)[1] == []


def test_links_need_the_library_of_another_package(make_tree):
    library = make_tree({"usr/lib/libz.so.1.3": elf(soname="libz.so.1"), "usr/lib/libz.so.1": "x"})
    dev = make_tree({"usr/lib/libz.so": "libz.so.1.3", "usr/lib/other.so": "gone.so.1"})
    assert found(dev, relatives=[library])[0] == ["so:libz.so.1"]
    assert found(dev)[0] == []


def test_private_library_linked_into_a_library_directory_is_offered(make_tree):
    tree = make_tree(
        {"opt/x/libp.so.1": elf(soname="libp.so.1"), "usr/lib/libp.so.1": "/opt/x/libp.so.1"}
    )
    runtime, provides, vendored = found(tree)
    assert provides == ["so-ver:libp.so.1=1.2-r3", "so:libp.so.1=1"]
    assert vendored == provides
    assert runtime == ["so:libp.so.1"]
    assert scan(tree, FACTS).settled().runtime == ()


def test_links_in_circles(make_tree):
    tree = make_tree({"usr/lib/a.so": "b.so", "usr/lib/b.so": "a.so", "usr/lib/c.so": "../../.."})
    assert found(tree) == ([], [], [])


def test_loader_configuration_adds_directories(make_tree):
    files = {"opt/lib/libq.so.1": elf(soname="libq.so.1")}
    plain = make_tree(files)
    other = make_tree({"etc/ld.so.conf.d/q.conf": b"# q\n/opt/lib\nrelative\n/\n"})
    assert found(plain)[1] == []
    assert found(plain, relatives=[other])[1] == ["so-ver:libq.so.1=1.2-r3", "so:libq.so.1=1"]


def test_versioned_library_dependencies(make_tree):
    tree = make_tree({"usr/bin/a": elf(interpreter=LOADER, needed=("libc.so.6", "libx.so.1"))})
    versions = library_versions(
        [("3.4-r0", ["so-ver:libx.so.1=3.4-r0", "cmd:x"]), ("9-r0", ["so-ver:ld-linux.so.2=9"])]
    )
    assert versions == {"libx.so.1": "3.4-r0", "ld-linux.so.2": "9-r0"}
    facts = Facts("foo", "1-r0", library_versions=versions)
    assert "so-ver:libx.so.1>=3.4-r0" in found(tree, facts)[0]
    without = Facts("foo", "1-r0", (), Options(no_versioned_shlib_deps=True), versions)
    assert not any(n.startswith("so-ver:") for n in found(tree, without)[0])


@pytest.mark.parametrize(
    ("soname", "version"),
    [("liba.so.1", "1"), ("liba.so.1.2.3", "1.2.3"), ("liba.so", "0"), ("a-1.so.1a", "0")],
)
def test_library_version(soname, version):
    assert library_version(soname) == version


def test_commands(make_tree):
    tree = make_tree(
        {"usr/bin/[": b"", "sbin/b": b"", "usr/bin/sub/c": b"", "usr/bin/d": b"", "usr/bin/e": "d"},
        modes={"usr/bin/d": 0o744},
    )
    assert found(tree)[1] == ["cmd:[=1.2-r3", "cmd:b=1.2-r3"]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"#!/bin/bash -e", "bash"),
        (b"#! /usr/bin/env perl", "perl"),
        (b"#!/bin/env -S bash -x", "bash"),
        (b"#!/usr/bin/env -Sruby -w", "ruby"),
        (b"#!/usr/bin/env -i A=b node", "node"),
        (b"#!/usr/bin/env -u HOME tclsh", "tclsh"),
        (b"#!/usr/bin/env", ""),
        (b"#!/usr/bin/env python3", ""),
        (b"#!/usr/bin/awk -f", ""),
        (b"#!", ""),
        (b"##!", ""),
        (b"#!\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_shebangs(line, command):
    assert interpreter(line + b"\nx") == command


def test_names_that_cannot_stand_in_a_dependency_are_left_out(make_tree):
    tree = make_tree(
        {
            "usr/bin/a b": b"", "usr/bin/a=b": b"", "usr/bin/é": b"", "usr/bin/!x": b"",
            "usr/bin/ok": b"#!/x/y>z\n", "usr/bin/two\nlines": b"",
            "usr/lib/libx.so.1": elf(soname="x\ndepend = evil", needed=("y.so.1 z",)),
        }
    )  # fmt: skip
    result = scan(tree, FACTS)
    assert (result.runtime, result.provides) == ((), ("cmd:ok=1.2-r3",))
    assert len(result.notes) == 8


def test_pkgconfig(make_tree):
    text = (
        b"v=1\nlist = zlib >= ${v}, libxml\nRequires: ${list} a\\\n  b<2\n"
        b"Requires.private: c # d\nLibs: -lx\nRequires.internal:\n"
    )
    tree = make_tree(
        {"usr/lib/pkgconfig/x.pc": text, "opt/y.pc": text, "usr/share/pkgconfig/l.pc": "x.pc"}
    )
    runtime, provides, vendored = found(tree)
    assert runtime == ["pc:a", "pc:b", "pc:c", "pc:libxml", "pc:zlib"]
    assert (provides, vendored) == (["pc:x=1.2-r3"], ["pc:y=1.2-r3"])


def test_pkgconfig_that_grows():
    text = "a=xxxxxxxxxx\n" + "a=${a}${a}\n" * 1000 + "Requires: ${a}\n"
    assert len(requirements(text)[0]) <= 1 << 16


def test_languages(make_tree):
    files = {
        "usr/lib/python3.12/site-packages": None,
        "usr/lib/ruby/gems/3.4.0/gems": None,
        "usr/share/perl5/vendor_perl/JSON.pm": b"",
    }
    tree = make_tree(files)
    assert found(tree)[0] == ["perl~5", "python-3.12-base", "ruby-3.4"]
    declared = Facts("foo", "1-r0", runtime=("python3", "ruby", "perl>5"))
    assert found(tree, declared)[0] == []
    others = Facts("foo", "1-r0", runtime=("ruby-3.3", "perl-json", "pythonx"))
    assert found(tree, others)[0] == ["perl~5"]


def test_documentation(make_tree):
    tree = make_tree({"usr/share/man/man1/a.1": b"", "usr/share/info/a.info": b""})
    assert found(tree)[0] == []
    assert found(tree, Facts("foo-doc", "1-r0"))[0] == ["man-db", "texinfo"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_kernel_modules(make_tree, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
    pack[".zst"] = zstandard.ZstdCompressor().compress
    content = b"\0" * 700_000 + b"vermagic=6.1.2-x SMP\0" + b"\1" * 1000
    tree = make_tree({f"lib/modules/6/a.ko{suffix}": pack[suffix](content)})
    assert found(tree)[0] == ["linux:6.1.2-x"]


def test_kernel_modules_that_are_broken(make_tree):
    whole = gzip.compress(bytes(range(256)) * 4000)
    tree = make_tree(
        {
            "lib/modules/a.ko.gz": whole[:300],
            "lib/modules/b.ko.xz": b"\xfd7zXZ\0" + b"x" * 500,
            "lib/modules/c.ko.zst": b"\x28\xb5\x2f\xfd" + b"\xff" * 500,
            "lib/modules/d.ko": b"vermagic=\0",
            "boot/vmlinuz": b"MZ" + b"\x1f\x8b\x08junk",
        }
    )
    assert found(tree) == ([], [], [])


def test_kernels(make_tree):
    header = bytearray(0x400)
    header[0x202:0x206] = b"HdrS"
    header[0x20E:0x210] = struct.pack("<H", 0x80)
    header[0x280:0x28A] = b"6.9.1-rc1 "
    packed = b"Z" * 5000 + gzip.compress(b"." * 70_000 + b"Linux version 5.4.3+ (x)") + b"end"
    tree = make_tree(
        {
            "boot/vmlinuz-a": bytes(header),
            "usr/lib/modules/6/vmlinux": b"\x7fELFLinux version 6.1.0-y (gcc)",
            "boot/zImage": packed,
            "usr/share/notes": b"Linux version 9",
        }
    )
    assert found(tree)[1] == ["linux:5.4.3+", "linux:6.1.0-y", "linux:6.9.1-rc1"]


@pytest.mark.parametrize(
    ("settings", "fips"),
    [
        ("build\tCGO_ENABLED=1\nbuild\tGOEXPERIMENT=boringcrypto\n", True),
        ("build\tCGO_ENABLED=1\nbuild\tGOEXPERIMENT=loopvar,systemcrypto\n", True),
        ("build\tCGO_ENABLED=1\nbuild\tmicrosoft_systemcrypto=1\n", True),
        ("build\tCGO_ENABLED=0\nbuild\tGOEXPERIMENT=boringcrypto\n", False),
        ("build\tCGO_ENABLED=1\n", False),
        ("", False),
    ],
)
def test_go_programs_for_fips(make_tree, settings, fips):
    tree = make_tree({"usr/bin/g": elf(go_build_info("go1.24", settings))})
    expected = ["openssl-config-fipshardened", "so:libcrypto.so.3"] if fips else []
    assert found(tree)[0] == expected


def test_options(make_tree):
    tree = make_tree({"usr/bin/foo": b"#!/bin/bash\n", "usr/lib/pkgconfig/a.pc": b"Requires: z\n"})
    assert found(tree) == (["cmd:bash", "pc:z"], ["cmd:foo=1.2-r3", "pc:a=1.2-r3"], [])
    for options, expected in (
        (Options(no_commands=True), (["pc:z"], ["pc:a=1.2-r3"], [])),
        (Options(no_depends=True), ([], ["cmd:foo=1.2-r3", "pc:a=1.2-r3"], [])),
        (Options(no_provides=True), (["cmd:bash", "pc:z"], [], [])),
    ):
        assert found(tree, Facts("foo", "1.2-r3", options=options)) == expected


def test_settled_drops_what_the_package_satisfies(make_tree):
    tree = make_tree(
        {
            "usr/bin/foo": elf(interpreter=LOADER, needed=("liba.so.1", "libb.so.2", "libc.so.6")),
            "usr/lib/liba.so.1": elf(soname="liba.so.1"),
            "opt/foo/libb.so.2": elf(soname="libb.so.2"),
            "usr/bin/run": b"#!/usr/bin/foo\n",
        }
    )
    kept = ("so:ld-linux-x86-64.so.2", "so:libc.so.6")
    assert scan(tree, FACTS).settled().runtime == kept
    # What a package does not offer, it has nevertheless.
    quiet = Facts("foo", "1-r0", options=Options(no_provides=True))
    assert scan(tree, quiet).settled().runtime == kept
    declared = scan(tree, FACTS).settled(["bash", "so:liba.so.1"], ["foo-api=1", "so:libc.so.6"])
    assert declared.runtime == ("bash", "so:ld-linux-x86-64.so.2", "so:liba.so.1")
    assert "foo-api=1" in declared.provides


def test_own_name_is_no_dependency():
    found = Dependencies(runtime=("python-3.12-base", "x"), own=frozenset(("python-3.12-base",)))
    assert found.settled().runtime == ("x",)


def test_broken_elf_is_noted(make_tree):
    result = scan(make_tree({"usr/bin/x": elf()[:70]}), FACTS)
    assert result.provides == ("cmd:x=1.2-r3",)
    assert "usr/bin/x begins as an ELF file" in result.notes[0]


def test_odd_trees(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(PackageTreeError, match="not UTF-8"):
        DirectoryTree(tmp_path)
    other = tmp_path / "s"
    other.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(other / "socket"))
        with pytest.raises(PackageTreeError, match="socket"):
            DirectoryTree(other)


def test_trees_hold_all_kinds(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    os.link(tmp_path / "a", tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "l").symlink_to("./x//y")
    tree = DirectoryTree(tmp_path)
    assert tree.get("a").identity == tree.get("b").identity
    assert tree.get("l").linkname == "./x//y"
    assert tree.get("pipe").head == b""
    assert found(tree) == ([], [], [])
    with pytest.raises(OSError, match="no content"):
        tree.get("pipe").open()
