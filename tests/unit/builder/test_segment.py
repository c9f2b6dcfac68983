from __future__ import annotations

import errno
import hashlib
import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.builder import stored
from plimsoll.builder.codec import GZIP, PIECE, codec_of, unpacker
from plimsoll.builder.digests import digests, digests_alone
from plimsoll.builder.segment import Reader, Segment, SegmentWriter, packed_name
from plimsoll.builder.store import CorruptEntryError
from plimsoll.builder.stored import Stored

DATA = random.Random(3).randbytes(PIECE // 8) * 20  # two and a half pieces
SEGMENT = Segment.of(DATA)
BOTH = pytest.mark.parametrize("codec", [GZIP, codec_of("zstd")], ids=["gzip", "zstd"])


def written(folder, data=DATA, codec=GZIP):
    writer = SegmentWriter(folder, codec)
    writer.write(data)
    segment = writer.finish()
    return replace(segment, packed=replace(segment.packed, known=False))


@given(st.integers(0, len(DATA)), st.integers(0, 2 * PIECE))
def test_any_part_can_be_read(offset, size):
    size = min(size, len(DATA) - offset)
    assert Reader().slice(SEGMENT, offset, size) == DATA[offset : offset + size]


@BOTH
def test_parts_that_are_not_there(codec):
    segment = Segment.of(DATA, codec)
    for offset, size in ((-1, 1), (0, len(DATA) + 1), (len(DATA), 1)):
        with pytest.raises(CorruptEntryError):
            segment.slice(offset, size)
    assert segment.slice(len(DATA), 0) == b""


def test_what_was_read_last_is_not_read_again(tmp_path):
    segment = written(tmp_path)
    reader = Reader(keep=2)
    assert reader.slice(segment, 5, 10) == DATA[5:15]
    assert reader.slice(segment, PIECE, 10) == DATA[PIECE : PIECE + 10]
    segment.packed.source.unlink()
    assert reader.slice(segment, 100, 10) == DATA[100:110]
    assert reader.slice(segment, PIECE - 5, 10) == DATA[PIECE - 5 : PIECE + 5]
    with pytest.raises(FileNotFoundError):
        reader.slice(segment, 2 * PIECE, 10)


@BOTH
@pytest.mark.parametrize("at", [0, 20, -1])
def test_damage_is_seen_by_who_reads_a_part_and_by_who_reads_all(tmp_path, codec, at):
    segment = written(tmp_path, codec=codec)
    path = segment.packed.source
    data = bytearray(path.read_bytes())
    place = at if at >= 0 else segment.pieces[0] - 1
    data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(CorruptEntryError):
        segment.slice(0, 100)
    with pytest.raises(CorruptEntryError):
        segment.verify()
    with pytest.raises(CorruptEntryError):
        digests([segment], codec)
    with pytest.raises(CorruptEntryError):
        digests_alone([segment])


@BOTH
@pytest.mark.parametrize("size", [0, 10, PIECE - 1, PIECE + 1])
def test_a_piece_of_another_size_is_damage(codec, size):
    piece = bytes(codec.packer()(b"x" * PIECE))
    with pytest.raises(CorruptEntryError):
        unpacker(codec.id)(piece, size)


def test_a_file_that_is_longer_or_shorter_or_gone(tmp_path):
    segment = written(tmp_path)
    path = segment.packed.source
    data = path.read_bytes()
    for wrong in (data + b"x", data[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(CorruptEntryError):
            segment.verify()
        with pytest.raises(CorruptEntryError), (tmp_path / "out").open("wb", buffering=0) as out:
            segment.packed.copy_to(out)
    path.unlink()
    for read in (segment.verify, segment.packed.verify, lambda: segment.packed.copy_to(None)):
        with pytest.raises(CorruptEntryError, match="is gone"):
            read()


@BOTH
def test_digests_are_those_of_what_they_name(tmp_path, codec):
    (tmp_path / "a").mkdir()
    parts = [Segment.of(b"first", codec), written(tmp_path / "a", codec=codec)]
    parts.append(Segment.of(b"last" * 100, codec))
    tar = b"".join(bytes(piece) for part in parts for piece in part.tar())
    assert tar == b"first" + DATA + b"last" * 100
    stream = b"".join(chunk for part in parts for chunk in part.packed.chunks())
    expected = (hashlib.sha256(tar).hexdigest(), hashlib.sha256(stream).hexdigest())
    assert digests(parts, codec) == digests_alone(parts) == expected


@pytest.mark.parametrize("cannot", [errno.EXDEV, errno.ENOSYS, None])
def test_copies_are_whole_whoever_makes_them(tmp_path, monkeypatch, cannot):
    segment = written(tmp_path)
    if cannot is not None:

        def refuse(*_):
            raise OSError(cannot, os.strerror(cannot))

        monkeypatch.setattr(stored.os, "copy_file_range", refuse)
    with (tmp_path / "out").open("wb", buffering=0) as out:
        Stored(b"head", 4, "").copy_to(out)
        segment.packed.copy_to(out)
    assert (tmp_path / "out").read_bytes() == b"head" + segment.packed.source.read_bytes()
    assert segment.packed.source.name == packed_name(GZIP.id)


def test_other_errors_of_a_copy_are_told(tmp_path, monkeypatch):
    segment = written(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(stored.os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"), (tmp_path / "out").open("wb", buffering=0) as out:
        segment.packed.copy_to(out)
