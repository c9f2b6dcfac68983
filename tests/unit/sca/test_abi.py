"""Exported symbols, as pyelftools sees them, and what changes of them mean."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from elf_files import Part, elf
from plimsoll.builder.sca.abi import AbiChange, compare, exported, exports
from plimsoll.builder.sca.tree import DirectoryTree

SOURCE = """
int foo_old(void) { return 1; }
int foo_new(void) { return 2; }
int plain(void) { return foo_old(); }
__attribute__((visibility("hidden"))) int hidden(void) { return 3; }
static int local(void) { return 4; }
int (*pointer)(void) = local;
__asm__(".symver foo_old,foo@V1");
__asm__(".symver foo_new,foo@@V2");
"""
SCRIPT = "V1 { global: foo; plain; local: *; };\nV2 { global: foo; pointer; } V1;\n"


def by_pyelftools(path):
    with path.open("rb") as file:
        found = ELFFile(file)
        symbols = found.get_section_by_name(".dynsym")
        numbers = found.get_section_by_name(".gnu.version")
        definitions = found.get_section_by_name(".gnu.version_d")
        names = {}
        if definitions:
            for version, auxiliary in definitions.iter_versions():
                if not version["vd_flags"] & 1:
                    names[version["vd_ndx"]] = next(iter(auxiliary)).name
        result = set()
        for index, symbol in enumerate(symbols.iter_symbols()):
            if (
                symbol["st_shndx"] == "SHN_UNDEF"
                or symbol["st_info"]["bind"] == "STB_LOCAL"
                or symbol["st_other"]["visibility"] in {"STV_HIDDEN", "STV_INTERNAL"}
            ):
                continue
            number = numbers.get_symbol(index)["ndx"] if numbers else 1
            version = names.get(number & 0x7FFF) if isinstance(number, int) else None
            result.add(f"{symbol.name}@{version}" if version else symbol.name)
        return result


@pytest.mark.parametrize("name", ["libz.so.1", "libcrypt.so.1", "libm.so.6", "libgcc_s.so.1"])
def test_system_libraries(name):
    found = next(Path("/").glob(f"usr/lib/*/{name}"), None) or next(
        Path("/").glob(f"lib/*/{name}"), None
    )
    if found is None:
        pytest.skip(f"no {name} on this system")
    path = found.resolve()
    symbols = exports(DirectoryTree(path.parent).get(path.name))
    assert symbols == by_pyelftools(path)
    assert symbols


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_versions_and_visibility(tmp_path):
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "x.c").write_text(SOURCE)
    (tmp_path / "x.map").write_text(SCRIPT)
    library = tmp_path / "usr/lib/libx.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-Wl,--version-script={tmp_path}/x.map",
         "-Wl,-soname,libx.so.1", "-o", library, tmp_path / "x.c"],
        check=True,
    )  # fmt: skip
    found = exported(DirectoryTree(tmp_path))["libx.so.1"]
    wanted = {"foo@V1", "foo@V2", "plain@V1", "pointer@V2"}
    assert {s for s in found if not s.startswith("V")} == wanted


def test_what_is_gone():
    old = {"a.so.1": {"x", "y", "z@A_PRIVATE"}, "b.so.1": {"x"}, "c.so.1": {"x"}}
    new = {"a.so.1": {"x", "w"}, "c.so.1": {"x", "y"}, "d.so.1": {"x"}}
    change = compare(old, new)
    assert change == AbiChange(("b.so.1",), (("a.so.1", ("y",)),))
    assert change
    assert not compare(old, old)


@pytest.mark.parametrize("content", [b"", b"\xff" * 4800, b"\0" * 24])
def test_broken_tables(make_tree, content):
    tree = make_tree(
        {
            "usr/lib/a.so.1": elf(
                Part(".dynsym", content, kind=11), Part(".gnu.version", content[:7]),
                Part(".gnu.version_d", struct.pack("<HHHHIII", 1, 0, 2, 1, 0, 1 << 30, 1 << 30)),
                Part(".dynstr", b"abc"), soname="a.so.1",
            ),
            "usr/lib/text": b"x",
        }
    )  # fmt: skip
    assert exported(tree) == {"a.so.1": frozenset()}
    assert exports(tree.get("usr/lib/text")) == frozenset()
