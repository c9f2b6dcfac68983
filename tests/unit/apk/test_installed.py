import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.apk.installed import (
    InstalledFile,
    InstalledFormatError,
    InstalledPackage,
    parse_installed,
    parse_permissions,
    read_triggers,
    write_triggers,
)
from plimsoll.apk.records import IndexEntry
from plimsoll.errors import Error

ENTRY = IndexEntry("a", "1-r0", "x86_64", install_if=("b", "c=1"), replaces=("old",))


def test_conditions_are_written_as_apk_reads_them():
    text = InstalledPackage(ENTRY).to_text()
    assert "i:b c=1\n" in text
    assert "r:old\n" in text
    assert parse_installed(text)[0].entry == ENTRY


names = st.from_regex(r"[a-z0-9.+_-]{1,10}", fullmatch=True)


@given(
    st.lists(
        st.builds(
            InstalledFile,
            path=st.lists(names, min_size=1, max_size=3).map("/".join),
            directory=st.just(value=False),
            mode=st.integers(0, 0o7777),
            uid=st.integers(0, 2**32 - 2),
            gid=st.integers(0, 2**32 - 2),
            sha1=st.just(b"") | st.binary(min_size=20, max_size=20),
        ),
        unique_by=lambda f: f.path,
        max_size=12,
    )
)
def test_files_survive(files):
    package = parse_installed(InstalledPackage(ENTRY, tuple(files)).to_text())[0]
    found = [f for f in package.files if not f.directory]
    assert sorted(found, key=lambda f: f.path) == sorted(files, key=lambda f: f.path)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_an_error_of_ours(text):
    for parse in (parse_installed, parse_permissions, read_triggers):
        with contextlib.suppress(Error):
            parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P:a\nV:1\na:0:0:644\n", "nothing before it"),
        ("P:a\nV:1\nZ:Q1" + "A" * 27 + "=\n", "nothing before it"),
        ("P:a\nV:1\nF:d\na:0:0:644\n", "nothing before it"),
        ("P:a\nV:1\nF:d\nR:f\nM:0:0:755\n", "nothing before it"),
        ("P:a\nV:1\nF:\nM:0:0:755\n", "an M entry, which cannot be associated with top level"),
        ("P:a\nV:1\nF:d\nR:f\nZ:sha\n", "the checksum"),
        ("P:a\nV:1\nP:b\n", "two P: lines"),
        ("P:a\n", "the version ''"),
    ],
)
def test_bad_records(text, message):
    with pytest.raises(Error) as error:
        parse_installed(text)
    assert message in error.value.message


def test_line_breaks_are_not_written():
    with pytest.raises(InstalledFormatError, match="line break"):
        InstalledPackage(ENTRY, (InstalledFile("a\nP:evil"),)).to_text()


def test_triggers():
    entry = IndexEntry("a", "1-r0", checksum=bytes(20))
    text = write_triggers([(entry, ("/bin", "/usr/*")), (entry, ())])
    assert read_triggers(text) == {bytes(20): ("/bin", "/usr/*")}
