"""A cache that somebody else can write to is none: checksums are no signatures."""

from __future__ import annotations

import os
import stat
import tempfile

import pytest

from plimsoll.builder.store import ForeignCacheError, Store, default_cache_dir

_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="giving files away needs root")
_STRANGER = 4711


def test_nobody_else_may_look_into_a_new_cache(tmp_path):
    before = os.umask(0)
    try:
        with Store(tmp_path / "cache") as store:
            assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
        Store(tmp_path / "cache").close()
    finally:
        os.umask(before)


def test_a_cache_that_everybody_can_write_to(tmp_path):
    with Store(tmp_path) as store:
        store.root.chmod(0o777)
    with pytest.raises(ForeignCacheError, match="everybody can write to the cache") as error:
        Store(tmp_path)
    assert "--cache-dir" in error.value.hint


@_ROOT
def test_a_cache_of_somebody_else(tmp_path):
    with Store(tmp_path) as store:
        os.chown(store.root, _STRANGER, _STRANGER)
    with pytest.raises(ForeignCacheError, match="belongs to the user 4711, and this is 0"):
        Store(tmp_path)
    # That the folder around it is somebody else's is usual in containers.
    os.chown(store.root, 0, 0)
    os.chown(tmp_path, _STRANGER, _STRANGER)
    Store(tmp_path).close()


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """No home that could be written to, and a folder for everybody."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.delenv("PLIMSOLL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    monkeypatch.setattr(os, "access", lambda path, _: str(path).startswith(str(tmp_path)))
    return shared


def test_a_folder_of_ones_own_where_it_is_everybodys(shared):
    assert default_cache_dir() == shared / "plimsoll" / "cache"
    assert stat.S_IMODE((shared / "plimsoll").stat().st_mode) == 0o700
    assert default_cache_dir() == shared / "plimsoll" / "cache"


@pytest.mark.parametrize("trick", ["link", "open", "file", pytest.param("owner", marks=_ROOT)])
def test_what_somebody_else_left_there(shared, trick):
    own = f"plimsoll-{os.geteuid()}"
    (shared / "mine").mkdir(mode=0o700)
    for name in ("plimsoll", own):
        assert default_cache_dir() == shared / name / "cache"
        (shared / name).rmdir()
        if trick == "link":
            (shared / name).symlink_to(shared / "mine")
        elif trick == "file":
            (shared / name).touch()
        else:
            (shared / name).mkdir()
            (shared / name).chmod(0o777 if trick == "open" else 0o700)
            if trick == "owner":
                os.chown(shared / name, _STRANGER, _STRANGER)
    with pytest.raises(ForeignCacheError, match="belongs to somebody else"):
        default_cache_dir()
