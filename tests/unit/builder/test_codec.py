from __future__ import annotations

import gzip
import hashlib
import random

import pytest
import zstandard

from plimsoll.builder.codec import PIECE, codec_of
from plimsoll.builder.segment import Segment, SegmentWriter, pack_again

#: What the pinned compressors make of ``sample``. A change here is a change of every layer
#: digest: raise ``remembered.OUTPUT_FORMAT``, and say so in the changelog.
KNOWN = {
    "gzip": "e3e59ac7b05f1eb18d7e80661fd9c79c48f239a8479c67b4d84174c431ef1e3a",
    "zstd": "3f4f9647563a0b987fe03434a69215d7fd246001423560b2079df5c98be41412",
}


def sample() -> bytes:
    """Some 2.3 MB that compress like programs do."""
    source = random.Random(7)
    words = [source.randbytes(source.randint(2, 12)) for _ in range(3000)]
    return b"".join(source.choices(words, k=330_000))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_the_bytes_are_those_of_every_other_machine(name):
    segment = Segment.of(sample(), codec_of(name))
    assert segment.packed.checksum == KNOWN[name]


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 511, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_how_a_segment_is_written_does_not_matter(tmp_path, name, size):
    codec = codec_of(name)
    data = sample()[:size]
    source = random.Random(size)
    (tmp_path / "a").mkdir()
    writer = SegmentWriter(tmp_path / "a", codec)
    at = 0
    while at < size:
        step = source.choice([1, 100, 5000, PIECE, 3 * PIECE])
        writer.write(memoryview(data)[at : at + step])
        at += step
    written = writer.finish()
    written.verify()
    assert b"".join(written.tar()) == data
    (tmp_path / "again").mkdir()
    assert pack_again(written, tmp_path / "again", codec) == written.moved(tmp_path / "again")
    packed = b"".join(written.packed.chunks())
    assert hashlib.sha256(packed).hexdigest() == written.packed.checksum
    if size:
        assert packed == b"".join(Segment.of(data, codec).packed.chunks())
    if name == "gzip":
        assert gzip.decompress(packed) == data
    else:
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        assert reader.read() == data
