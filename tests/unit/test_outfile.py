"""Files that a person asked for: whole or not there, and nothing else is replaced."""

from __future__ import annotations

import os
import threading

import pytest

from plimsoll import outfile


def test_it_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a"
    outfile.write(path, b"one")

    def broken():
        yield b"tw"
        raise KeyError

    with pytest.raises(KeyError), outfile.replacing(path) as file:
        file.writelines(broken())
    assert path.read_bytes() == b"one"
    outfile.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    outfile.write(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert list((tmp_path / "real").iterdir()) == [tmp_path / "real" / "file"]


def test_a_pipe_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    outfile.write(path, b"through")
    reader.join(10)
    assert found == [b"through"]
    assert path.is_fifo()


def test_errors_do_not_name_what_nobody_knows(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        outfile.write(tmp_path / "none" / "file", b"")
    assert caught.value.filename is None
    with pytest.raises(IsADirectoryError):
        outfile.write(tmp_path, b"")
