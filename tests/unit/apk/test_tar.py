import hashlib
import io
import random
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apk_files import file, node, tar
from plimsoll.apk.tarfmt import Header, TarError, TarReader, Type
from plimsoll.apk.tarwrite import END, encode_header, pax_records

parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=60
).filter(lambda p: p not in {".", ".."})
names = st.lists(parts, min_size=1, max_size=6).map("/".join).filter(lambda n: n[0] != ".")


def headers(data, chunk=1 << 20):
    pieces = [data[i : i + chunk] for i in range(0, len(data), chunk)]
    return [(e.header, bytes(e.read())) for e in TarReader(pieces, "t")]


@given(
    st.lists(
        st.tuples(
            names,
            st.binary(max_size=1500),
            st.integers(0, 0o7777),
            st.integers(0, 2**32 - 2),
            st.integers(0, 2**33 - 1),
        ),
        max_size=5,
        unique_by=lambda t: t[0],
    ),
    st.integers(1, 1500),
)
def test_round_trip_in_any_pieces(items, chunk):
    members = [
        file(name, content, mode=mode, uid=uid, gid=uid, mtime=mtime, uname="ü", gname="root")
        for name, content, mode, uid, mtime in items
    ]
    assert headers(tar(*members), chunk) == members
    with tarfile.open(fileobj=io.BytesIO(tar(*members))) as archive:
        found = archive.getmembers()
        assert [m.name for m in found] == [h.name for h, _ in members]
        assert [(m.mode, m.uid, m.mtime, m.size) for m in found] == [
            (h.mode, h.uid, h.mtime, h.size) for h, _ in members
        ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_archives_of_others(form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name in ("a", "d/" + "n" * 90, *([] if form == tarfile.USTAR_FORMAT else ["x" * 300])):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = 5, 1234567890, 70000
            archive.addfile(info, io.BytesIO(b"12345"))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 90
        archive.addfile(link)
    found = headers(out.getvalue())
    assert found[0][0].name == "a"
    assert found[0][0].uid == 70000
    assert found[0][1] == b"12345"
    assert found[-1][0].linkname == "t" * 90
    if form != tarfile.USTAR_FORMAT:
        assert found[2][0].name == "x" * 300


def test_large_numbers_use_pax():
    header = Header("x", Type.FILE, uid=2**31, size=0, mtime=2**34)
    data = encode_header(header)
    assert len(data) == 1536
    assert headers(data + bytes(1024))[0][0] == header


def test_ustar_splits_long_names_and_needs_no_pax():
    name = "d" * 120 + "/" + "n" * 80
    data = encode_header(Header(name, Type.FILE))
    assert len(data) == 512
    assert headers(data)[0][0].name == name


@given(st.dictionaries(st.from_regex(r"[a-z.]{1,20}", fullmatch=True), st.binary(max_size=120)))
def test_pax_records_are_self_consistent(records):
    data = pax_records(records)
    position = 0
    for key in sorted(records):
        length = int(data[position:].split(b" ", 1)[0])
        body = data[position : position + length]
        assert body.split(b" ", 1)[1] == key.encode() + b"=" + records[key] + b"\n"
        position += length
    assert position == len(data)


def pax(content, **header):
    head = bytearray(encode_header(Header("p", Type.FILE, size=len(content), **header)))
    head[156:157] = b"x"
    return checksum(head) + content + bytes(-len(content) % 512)


def checksum(head):
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"4 a=\n", "malformed"),
        (b"6 a=\n", "malformed"),
        (b"99 path=x\n", "malformed"),
        (b"9 path=xy", "malformed"),
        (b"0 path=x\n", "malformed"),
        (b"-1 path=x\n", "malformed"),
        (b"10 path=x\n8 path=y\n", "malformed"),
        (b"9 path=x\n9 path=y\n", "'path' twice"),
        (b"9 size=x\n", r"pax record size"),
        (b"11 size=-1\n", "pax record size"),
        (b"12 uid=0x10\n", "pax record uid"),
        (b"13 mtime=1e9\n", "pax record mtime"),
        (b"21 GNU.sparse.major=1\n", "malformed"),
        (b"22 GNU.sparse.major=1\n", "sparse"),
        (b"9 path=\xff\n", "not UTF-8"),
    ],
)
def test_bad_pax_records(content, message):
    data = pax(content) + encode_header(Header("x", Type.FILE)) + bytes(1024)
    with pytest.raises(TarError, match=message):
        headers(data)


def test_pax_sizes_are_believed_and_bounded():
    body = encode_header(Header("x", Type.FILE)) + b"12345" + bytes(507)
    assert headers(pax(b"9 size=5\n") + body + bytes(1024))[0][1] == b"12345"
    with pytest.raises(TarError, match="cut short"):
        headers(pax(b"17 size=99999999\n") + body + bytes(1024))
    for record in (b"11 size=-5\n", b"28 size=9999999999999999999\n", b"12 size=5 5\n"):
        with pytest.raises(TarError, match="pax record size="):
            headers(pax(record) + body + bytes(1024))


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (124, b"\xff" * 12, "negative"),
        (124, b"\x81" + bytes(11), "negative or too large"),
        (124, b"12345678901x", "octal"),
        (124, b"-0000000001\0", "octal"),
        (100, b"99999999", "octal"),
        (257, b"notustar", "not ustar"),
        (156, b"S", "unknown type"),
        (156, b"V", "unknown type"),
        (0, b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_headers(offset, value, message):
    head = bytearray(encode_header(Header("x", Type.FILE)))
    head[offset : offset + len(value)] = value
    with pytest.raises(TarError, match=message):
        headers(checksum(head) + bytes(1024))


def test_wrong_checksum():
    head = bytearray(encode_header(Header("x", Type.FILE)))
    head[0:1] = b"y"
    with pytest.raises(TarError, match="wrong checksum"):
        headers(bytes(head))


def test_content_behind_what_is_no_file():
    head = bytearray(encode_header(Header("x", Type.FILE, size=512)))
    head[156:157] = b"5"
    with pytest.raises(TarError, match="content behind"):
        headers(checksum(head) + bytes(2048))


def test_extension_headers_are_bounded():
    record = pax_records({"comment": b"x" * 100_000})
    with pytest.raises(TarError, match="more than"):
        headers(pax(record) * 20 + encode_header(Header("x", Type.FILE)))
    with pytest.raises(TarError, match="after an extended header"):
        headers(pax(b"9 path=x\n") + bytes(1024))
    with pytest.raises(TarError, match="after an extended header"):
        headers(pax(b"9 path=x\n"))


def test_global_headers_may_not_rename():
    head = bytearray(pax(b"9 path=x\n")[:512])
    head[156:157] = b"g"
    data = checksum(head) + b"9 path=x\n".ljust(512, b"\0") + encode_header(Header("y", Type.FILE))
    with pytest.raises(TarError, match="for all entries"):
        headers(data)
    head = bytearray(pax(b"13 comment=x\n")[:512])
    head[156:157] = b"g"
    data = checksum(head) + b"13 comment=x\n".ljust(512, b"\0")
    assert headers(data + encode_header(Header("y", Type.FILE)))[0][0].name == "y"


def test_names_that_no_header_holds():
    with pytest.raises(TarError, match="zero byte"):
        encode_header(Header("a\0b", Type.FILE))
    with pytest.raises(TarError, match="must not be negative"):
        encode_header(Header("a", Type.FILE, uid=-1))
    long = "n" * 5000
    with pytest.raises(TarError, match="more than 4096"):
        headers(tar(node(long, Type.DIRECTORY)))


def test_a_name_that_is_cut_does_not_look_like_a_directory():
    """Where a pax record has the name, the field does not end in a slash."""
    name = "b" * 99 + "/" + "c" * 120
    assert encode_header(Header(name, Type.FILE))[-512:][:100] == b"b" * 99 + b"\0"


def test_fractions_of_seconds_are_rounded():
    def mtime(text):
        header = Header("f", Type.FILE, pax={"mtime": text})
        (entry,) = TarReader([encode_header(header) + END], "t")
        return entry.header.mtime

    assert [mtime(t) for t in (b"10", b"10.4999", b"10.5", b"10.")] == [10, 10, 11, 10]


def odd_headers():
    """Names, links, owners and times at the edges of what ustar holds."""
    source = random.Random(3)

    def text(length, letters="abcdefghij"):
        return "".join(source.choice(letters) for _ in range(length))

    for _ in range(600):
        letters = source.choice(["abcdefghij"] * 3 + ["abcdefghijäß日🎉"])
        lengths = [source.choice([1, 3, 10, 40, 60, 99, 100, 101, 120, 155]) for _ in range(6)]
        kind = source.choice([*[Type.FILE] * 4, Type.DIRECTORY, Type.HARDLINK, Type.SYMLINK])
        links = [text(source.choice([3, 50, 100, 101, 200])) for _ in range(2)]
        linked = kind in {Type.HARDLINK, Type.SYMLINK}
        marked = not linked and source.random() < 0.2
        yield Header(
            "/".join(text(length, letters) for length in lengths[: source.randint(1, 6)]),
            kind,
            mode=source.choice([0o644, 0o4755, 0o1777]),
            uid=source.choice([0, 65532, 8**7 - 1, 8**7, 2**32 - 2]),
            mtime=source.choice([0, 1_700_000_000, 8**11 - 1, 8**11]),
            linkname="/".join(links[: source.randint(1, 2)]) if linked else "",
            uname=source.choice(["", "root", text(32), text(33), "ü"]),
            gname=source.choice(["", "root", "gr"]),
            pax={"SCHILY.xattr.user.a": b"b", "SCHILY.xattr.x": b"y"} if marked else {},
        )


def test_headers_are_those_that_go_writes():
    """The digest is of what ``archive/tar`` of Go 1.26 wrote of the same headers."""
    written = b"".join(encode_header(header) for header in odd_headers())
    assert hashlib.sha256(written).hexdigest()[:16] == "760f75a0375a2fe0"
