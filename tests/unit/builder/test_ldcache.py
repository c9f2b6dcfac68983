from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elf_files import elf
from loader_cache import LINKS, MACHINES, parse, sample
from plimsoll.apk.tarfmt import Type
from plimsoll.arch import Arch
from plimsoll.builder.ldcache import Library, _rank, add_loader_cache, encode
from plimsoll.builder.tree import Tree
from shared_data import shared

LDCONFIG = shutil.which("ldconfig", path="/sbin:/usr/sbin")


def test_order_and_flags_of_a_real_cache():
    rows, writer = parse((shared("apko") / "ldso-cache/ld.so.cache").read_bytes())
    assert writer.startswith(b"ldconfig (GNU libc)")
    assert len(rows) == 65
    libraries = [Library(name, path) for _, name, path in rows]
    ours, _ = parse(encode(sorted(libraries), Arch.ARM64))
    assert ours == rows


@settings(deadline=None)
@given(st.lists(st.text("ab.09", min_size=1, max_size=6), max_size=8))
def test_names_are_in_the_loaders_order(names):
    def compare(one, other):
        """glibc's rule, character by character."""
        while one:
            if one[0].isdigit():
                if not other or not other[0].isdigit():
                    return 1
                split = [len(x) - len(x.lstrip("0123456789")) for x in (one, other)]
                a, b = int(one[: split[0]]), int(other[: split[1]])
                if a != b:
                    return a - b
                one, other = one[split[0] :], other[split[1] :]
            elif other and other[0].isdigit():
                return -1
            elif not other or one[0] != other[0]:
                return ord(one[0]) - (ord(other[0]) if other else 0)
            else:
                one, other = one[1:], other[1:]
        return -len(other)

    ordered = sorted(names, key=_rank, reverse=True)
    assert all(compare(a, b) >= 0 for a, b in pairwise(ordered))


@pytest.mark.parametrize("name", MACHINES)
def test_what_ldconfig_of_the_architecture_wrote(name):
    """``tests/integration/test_ldconfig.py`` runs it, and so these files can be made again."""
    machine = MACHINES[name]
    tree = Tree([])
    for path, content in sample(machine).items():
        tree.write(path, content, 0o755)
    for path, target in LINKS.items():
        tree.symlink(path, target)
    add_loader_cache(tree, machine.arch)
    ours, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]), machine.order)
    written = (Path(__file__).parent / "ldconfig" / f"{name}.cache").read_bytes()
    theirs, writer = parse(written, machine.order)
    assert writer.startswith(b"ldconfig (")
    assert ours == theirs


@pytest.mark.parametrize(
    ("arch", "machine", "bits", "big", "flag"),
    [
        (Arch.X86, 3, 32, False, 0x3),
        (Arch.AMD64, 62, 64, False, 0x303),
        (Arch.ARM64, 183, 64, False, 0xA03),
        (Arch.ARMV6, 40, 32, False, 0x903),
        (Arch.ARMV7, 40, 32, False, 0x903),
        (Arch.LOONG64, 258, 64, False, 0x1203),
        (Arch.PPC64LE, 21, 64, False, 0x503),
        (Arch.RISCV64, 243, 64, False, 0x1003),
        (Arch.S390X, 22, 64, True, 0x403),
    ],
)
def test_every_architecture(arch, machine, bits, big, flag):
    tree = Tree([])
    library = elf(machine=machine, bits=bits, big=big, soname="libx.so.1")
    tree.write("etc/ld.so.conf", b"# mine\ninclude ld.so.conf.d/*.conf\n/opt/none\n")
    tree.write("etc/ld.so.conf.d/a.conf", b"/opt/lib # more\n")
    tree.write("opt/lib/libx.so.1.2", library)
    tree.symlink("opt/lib/libx.so.1", "libx.so.1.2")
    tree.symlink("opt/lib/libx.so", "libx.so.1")
    tree.write("usr/lib/libx.so.1", library)
    tree.symlink("lib", "usr/lib")
    tree.write("usr/lib/libfoo.so", b"GROUP ( /lib/libfoo.so.6 )" * 9)
    tree.write("usr/lib/libbad.so", b"\x7fELF" + b"\xff" * 200)
    tree.write("usr/lib/libother.so", elf(machine=8, soname="libother.so"))
    tree.write("usr/lib/sub/liby.so", library)
    tree.write("usr/lib/libplain.so.2", elf(machine=machine, bits=bits, big=big))
    add_loader_cache(tree, arch)
    rows, writer = parse(tree.content(tree.nodes["etc/ld.so.cache"]), ">" if big else "<")
    assert rows == [
        (flag, "libx.so.1", "/opt/lib/libx.so.1"),
        (flag, "libx.so.1", "/lib/libx.so.1"),
        (flag, "libx.so", "/opt/lib/libx.so"),
        (flag, "libplain.so.2", "/lib/libplain.so.2"),
    ]
    assert writer == b"plimsoll"


def test_without_glibc_there_is_no_cache():
    tree = Tree([])
    tree.write("usr/lib/libx.so", elf(soname="libx.so"))
    add_loader_cache(tree, Arch.AMD64)
    assert "etc/ld.so.cache" not in tree.nodes


def test_an_include_that_includes_itself_ends():
    tree = Tree([])
    tree.write("etc/ld.so.conf", b"include /etc/ld.so.conf\n/opt\n")
    add_loader_cache(tree, Arch.AMD64)
    assert tree.nodes["etc/ld.so.cache"].kind is Type.FILE


def test_many_configuration_files():
    tree = Tree([])
    tree.write("etc/ld.so.conf", b"include\tld.so.conf.d/*.conf\n")
    for number in range(40):
        tree.write(f"etc/ld.so.conf.d/{number:02}.conf", f"/opt/{number}\n".encode())
        tree.write(f"opt/{number}/libx.so.1", elf(soname="libx.so.1"))
    add_loader_cache(tree, Arch.AMD64)
    rows, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]))
    assert [row[2] for row in rows] == [f"/opt/{number}/libx.so.1" for number in range(40)]


def test_links_in_a_circle_are_no_libraries():
    tree = Tree([])
    tree.write("etc/ld.so.conf", b"/opt/a\n/opt/lib\ninclude /opt/a/x.conf\n")
    for path, target in {"opt/a": "b", "opt/b": "a", "opt/lib/libx.so": "libx.so"}.items():
        tree.symlink(path, target)
    tree.write("opt/lib/liby.so", elf(soname="libx.so"))
    add_loader_cache(tree, Arch.AMD64)
    rows, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]))
    assert [row[1:] for row in rows] == [("libx.so", "/opt/lib/liby.so")]


@pytest.mark.parametrize(
    ("arch", "machine", "bits", "big"),
    [
        (Arch.AMD64, 62, 64, False),
        (Arch.ARM64, 183, 64, False),
        (Arch.PPC64LE, 21, 64, False),
        (Arch.S390X, 22, 64, True),
    ],
)
def test_libraries_for_certain_processors(arch, machine, bits, big):
    tree = Tree([])
    library = elf(machine=machine, bits=bits, big=big, soname="libx.so.1")
    tree.write("etc/ld.so.conf", b"/opt/lib\n")
    for folder in ("", "glibc-hwcaps/new/", "glibc-hwcaps/old/", "glibc-hwcaps/new/deep/"):
        tree.write(f"opt/lib/{folder}libx.so.1", library)
    tree.symlink("opt/lib/glibc-hwcaps/alias", "old")
    tree.write("opt/lib/glibc-hwcaps/README", b"")
    add_loader_cache(tree, arch)
    rows, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]), ">" if big else "<")
    assert [row[1:] for row in rows] == [
        ("libx.so.1", "/opt/lib/glibc-hwcaps/alias/libx.so.1", "alias"),
        ("libx.so.1", "/opt/lib/glibc-hwcaps/new/libx.so.1", "new"),
        ("libx.so.1", "/opt/lib/glibc-hwcaps/old/libx.so.1", "old"),
        ("libx.so.1", "/opt/lib/libx.so.1"),
    ]
    add_loader_cache(tree, arch, hwcaps=False)
    rows, _ = parse(tree.content(tree.nodes["etc/ld.so.cache"]), ">" if big else "<")
    assert [row[1:] for row in rows] == [("libx.so.1", "/opt/lib/libx.so.1")]


@pytest.mark.skipif(LDCONFIG is None, reason="no ldconfig")
def test_ldconfig_reads_it(tmp_path):
    names = [Library(f"lib{n}.so.{n}", f"/usr/lib/lib{n}.so.{n}") for n in range(12)]
    path = tmp_path / "cache"
    names.append(Library("lib1.so.1", "/lib/glibc-hwcaps/x86-64-v3/lib1.so.1", "x86-64-v3"))
    path.write_bytes(encode(names, Arch.AMD64))
    shown = subprocess.run([LDCONFIG, "-p", "-C", path], capture_output=True, text=True, check=True)
    assert "13 libs found" in shown.stdout
    assert "lib11.so.11 (libc6,x86-64) => /usr/lib/lib11.so.11" in shown.stdout
    assert 'lib1.so.1 (libc6,x86-64, hwcap: "x86-64-v3") => /lib/glibc-hwcaps' in shown.stdout
    assert "plimsoll" in shown.stdout
