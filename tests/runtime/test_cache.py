"""The cache on disk: what it keeps, and everything that it does not trust."""

import errno
import os
import re
import stat
import warnings

import pytest

from upconv.runtime import cache as module
from upconv.runtime.cache import Cache

KEY, IMAGE = "0123", b"\x7fELF and so on"

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are POSIX's")


@pytest.fixture
def kept(tmp_path):
    """The directory of a cache that keeps IMAGE."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = Cache(tmp_path / "a" / "b")
        assert cache.read(KEY) is None
        cache.write(KEY, IMAGE)
        assert cache.read(KEY) == IMAGE
    return cache.directory


def refused(directory, match, key=KEY):
    """A cache that does not hand out IMAGE, with exactly one warning however often it is asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = Cache(directory)
        assert cache.read(key) is None
        assert cache.read(key) is None
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert re.search(match, str(caught[0].message))
    return cache


def test_another_process_finds_what_was_kept(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Cache(kept).read(KEY) == IMAGE
        assert Cache(kept).read("4567") is None


@posix
def test_only_the_owner_may_enter_whatever_the_umask(tmp_path):
    before = os.umask(0o002)
    try:
        cache = Cache(tmp_path / "mine")
        cache.write(KEY, IMAGE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.path(KEY).stat().st_mode) == 0o600
    assert cache.read(KEY) == IMAGE
    assert [path.name for path in cache.directory.iterdir()] == [f"{KEY}.o"]


@pytest.mark.parametrize("damage", ["cut", "bit", "head", "empty", "longer"])
def test_a_damaged_file(kept, damage):
    path = kept / f"{KEY}.o"
    content = path.read_bytes()
    damaged = {
        "cut": content[:-1],
        "bit": content[:-1] + bytes([content[-1] ^ 1]),
        "head": b"x" + content[1:],
        "empty": b"",
        "longer": content + b"x",
    }
    path.write_bytes(damaged[damage])
    cache = refused(kept, "is damaged")
    cache.write(KEY, IMAGE)
    assert cache.read(KEY) == IMAGE


@posix
def test_a_directory_of_somebody_else(kept, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    cache = refused(kept, f"belongs to another user \\(number {me}\\)")
    cache.write("4567", IMAGE)
    assert not cache.path("4567").exists()


@posix
def test_a_file_of_somebody_else(kept, monkeypatch):
    real = os.fstat

    def another(handle):
        status = list(real(handle))
        status[stat.ST_UID] += 1
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", another)
    refused(kept, "belongs to another user")


@posix
@pytest.mark.parametrize("mode", [0o777, 0o702, 0o720])
def test_a_directory_that_others_can_write(kept, mode):
    kept.chmod(mode)
    cache = refused(kept, "can be written by other users")
    cache.write("4567", IMAGE)
    assert not cache.path("4567").exists()


@posix
@pytest.mark.parametrize("mode", [0o602, 0o620])
def test_a_file_that_others_can_write(kept, mode):
    (kept / f"{KEY}.o").chmod(mode)
    refused(kept, "can be written by other users")


@posix
def test_a_link_instead_of_a_file(kept, tmp_path):
    path = kept / f"{KEY}.o"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(kept, "cannot be read")


def test_something_else_instead_of_a_file(kept):
    (kept / f"{KEY}.o").unlink()
    os.mkfifo(kept / f"{KEY}.o") if hasattr(os, "mkfifo") else (kept / f"{KEY}.o").mkdir()
    refused(kept, "is not a file|cannot be read")


def test_no_home_directory():
    cache = refused(None, "no home directory")
    cache.write(KEY, IMAGE)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = refused(tmp_path / "file" / "cache", "cannot be used")
    cache.write(KEY, IMAGE)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_or_a_read_only_one(kept, monkeypatch, number):
    tried = []

    def full(path, data):
        tried.append(path)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "write_atomically", full)
    cache = Cache(kept)
    with pytest.warns(RuntimeWarning, match=os.strerror(number)):
        cache.write("4567", IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write("89ab", IMAGE)
    assert len(tried) == 1
    assert cache.read(KEY) == IMAGE
