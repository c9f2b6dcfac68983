"""Output follows the links of those who ask for it, and of nobody else."""

from __future__ import annotations

import os

import pytest

from plimsoll import outfile


def test_own_links_are_followed(tmp_path):
    (tmp_path / "place").write_bytes(b"old")
    (tmp_path / "link").symlink_to("place")
    outfile.write(tmp_path / "link", b"new")
    assert (tmp_path / "place").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.getuid() != 0, reason="giving links away needs root")
def test_links_of_others_in_a_folder_of_everybody(tmp_path):
    (tmp_path / "mine").write_bytes(b"precious")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "out.tar").symlink_to(tmp_path / "mine")
    os.lchown(shared / "out.tar", 4711, 4711)
    os.chown(shared, 4712, 4712)
    with pytest.raises(PermissionError, match="a link that somebody else left there"):
        outfile.write(shared / "out.tar", b"image")
    assert (tmp_path / "mine").read_bytes() == b"precious"
    # Who owns the folder could put a file there as well; and elsewhere links are what they are.
    os.lchown(shared / "out.tar", 4712, 4712)
    outfile.write(shared / "out.tar", b"image")
    shared.chmod(0o755)
    os.lchown(shared / "out.tar", 4711, 4711)
    outfile.write(shared / "out.tar", b"image")
