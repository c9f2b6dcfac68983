"""ELF headers: all classes and byte orders, agreement with pyelftools, and broken files."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from elf_files import Part, elf
from plimsoll.builder.sca.elf import ElfError, read_elf
from plimsoll.builder.sca.source import Source


def parse(data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    return parse_file(path)


def parse_file(path):
    with Source(os.open(path, os.O_RDONLY), 0, path.stat().st_size, owner=True) as source:
        return read_elf(source)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("big", [False, True])
def test_classes_and_byte_orders(tmp_path, bits, big):
    data = elf(
        Part(".debug_info", b"xyz"),
        bits=bits, big=big, machine=183, interpreter="/lib/ld.so",
        needed=("libc.so.6", "libm.so.6"), soname="libx.so.1",
    )  # fmt: skip
    found = parse(data, tmp_path)
    assert (found.bits, found.little, found.machine) == (bits, not big, 183)
    assert found.interpreter == "/lib/ld.so"
    assert found.needed == ("libc.so.6", "libm.so.6")
    assert found.soname == "libx.so.1"
    assert [s.name for s in found.sections] == ["", ".debug_info", ".shstrtab"]
    section = found.section(".debug_info")
    assert data[section.offset : section.offset + section.size] == b"xyz"
    assert found.offset(section.address) == section.offset


def by_pyelftools(path):
    with path.open("rb") as file:
        found = ELFFile(file)
        interpreter, needed, soname = "", [], ""
        for segment in found.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                interpreter = segment.get_interp_name()
            elif segment["p_type"] == "PT_DYNAMIC":
                for tag in segment.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(tag.needed)
                    elif tag.entry.d_tag == "DT_SONAME":
                        soname = tag.soname
        sections = [(s.name, s["sh_offset"], s["sh_size"]) for s in found.iter_sections()]
        return interpreter, tuple(needed), soname, sections


def test_system_files_as_pyelftools_reads_them():
    places = [Path("/bin/sh"), Path("/usr/bin/env"), *Path("/usr/lib").glob("*/lib[c-m]*.so.*")]
    files = [p for p in places if p.is_file()][:60]
    if not files:
        pytest.skip("no ELF files on this system")
    for path in files:
        found = parse_file(path.resolve())
        if found is None:
            continue
        sections = [(s.name, s.offset, s.size) for s in found.sections]
        assert (found.interpreter, found.needed, found.soname, sections) == by_pyelftools(path)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_what_gcc_makes(tmp_path):
    source = tmp_path / "x.c"
    source.write_text("int x(void) { return 1; }\n")
    library = tmp_path / "libx.so.1.2"
    subprocess.run(
        ["gcc", "-g", "-shared", "-fPIC", "-Wl,-soname,libx.so.1", "-o", library, source],
        check=True,
    )
    found = parse_file(library)
    assert (found.soname, found.interpreter) == ("libx.so.1", "")
    assert any(s.name == ".debug_info" for s in found.sections)
    relocatable = tmp_path / "x.o"
    subprocess.run(["gcc", "-c", "-o", relocatable, source], check=True)
    assert parse_file(relocatable).needed == ()


def test_no_elf(tmp_path):
    assert parse(b"#!/bin/sh\n", tmp_path) is None
    assert parse(b"", tmp_path) is None
    assert parse(b"\x7fELF", tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:40],
        lambda d: d[:4] + b"\7" + d[5:],
        lambda d: d[:100],
        lambda d: d[:56] + b"\xff\xff" + d[58:],
        lambda d: d[:54] + b"\x01\x00" + d[56:],
    ],
)
def test_broken_headers(tmp_path, damage):
    with pytest.raises(ElfError):
        parse(damage(elf(needed=("libc.so.6",))), tmp_path)


def test_cut_off_section_headers_are_no_fault(tmp_path):
    data = elf(Part(".x", b"1"), needed=("libc.so.6",))
    found = parse(data[:-64], tmp_path)
    assert found.needed == ("libc.so.6",)
    assert found.sections == ()


@given(st.data())
def test_any_damage_is_refused_or_read(tmp_path_factory, data):
    original = elf(Part(".a", b"abc"), interpreter="/l", needed=("libc.so.6",), soname="s.so.1")
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(ElfError):
        parse_file(path)
