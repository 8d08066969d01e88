"""The cache on disk: what it keeps, and everything that it does not trust."""

import contextlib
import errno
import os
import re
import stat
import sys
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
    assert list(cache.directory.iterdir()) == [cache.path(KEY)]


@pytest.mark.parametrize("damage", ["cut", "bit", "head", "empty", "longer"])
def test_a_damaged_file(kept, damage):
    path = Cache(kept).path(KEY)
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
    Cache(kept).path(KEY).chmod(mode)
    refused(kept, "can be written by other users")


@posix
def test_a_link_instead_of_a_file(kept, tmp_path):
    path = Cache(kept).path(KEY)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(kept, "cannot be read")


def test_something_else_instead_of_a_file(kept):
    path = Cache(kept).path(KEY)
    path.unlink()
    os.mkfifo(path) if hasattr(os, "mkfifo") else path.mkdir()
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

    def full(path, *_, **options):
        tried.append(path)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "replace", full)
    cache = Cache(kept)
    with pytest.warns(RuntimeWarning, match=os.strerror(number)):
        cache.write("4567", IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write("89ab", IMAGE)
    assert len(tried) == 1
    assert cache.read(KEY) == IMAGE


class Attacker:
    """Another user who may enter the directory, and tries between any two steps of the victim's.

    What counts for another user is the mode alone, so that the test needs no second user: a handle is kept from every
    moment at which the mode lets others write, and used when the victim is done.
    """

    PLANTED = b"code of somebody else's"

    def __init__(self, directory):
        self.directory, self.handles, self.inside = directory, [], False

    def look(self, frame, event, argument):
        if self.inside or not self.directory.exists():
            return
        self.inside = True
        try:
            if stat.S_IMODE(self.directory.stat().st_mode) & stat.S_IXOTH:
                for entry in os.scandir(self.directory):
                    self.open(entry)
        finally:
            self.inside = False

    def open(self, entry):
        with contextlib.suppress(OSError):
            if stat.S_IMODE(entry.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
                self.handles.append(os.open(entry.path, os.O_RDWR))

    def plant(self, content):
        for handle in self.handles:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.truncate()


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
@pytest.mark.parametrize("mode", [0o755, 0o711, 0o700])
def test_nobody_else_gets_hold_of_a_file_while_it_is_made(tmp_path, umask, mode):
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(mode)
    attacker = Attacker(directory)
    before = os.umask(umask)
    try:
        sys.setprofile(attacker.look)
        cache = Cache(directory)
        # As if the directory had been let be: a file of its own must be enough.
        directory.chmod(mode)
        cache.write(KEY, IMAGE)
    finally:
        sys.setprofile(None)
        os.umask(before)
    attacker.plant(module._head(KEY, attacker.PLANTED) + attacker.PLANTED)
    assert cache.read(KEY) == IMAGE
    assert not attacker.handles


@posix
def test_a_directory_that_others_can_enter_is_closed(kept):
    kept.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Cache(kept).read(KEY) == IMAGE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


@posix
def test_a_directory_with_other_things_in_it_is_left_as_it_is(kept):
    """A home directory, say, which a web server must be able to enter."""
    (kept / "index.html").write_text("hello")
    kept.chmod(0o755)
    refused(kept, "can be entered by other users, and holds more than kernels; chmod 700 closes it")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o755
    kept.chmod(0o700)
    assert Cache(kept).read(KEY) == IMAGE


def test_valid_files_that_are_exchanged(kept):
    cache = Cache(kept)
    cache.write("4567", IMAGE[::-1])
    one, other = cache.path(KEY), cache.path("4567")
    one.rename(kept / "aside.o")
    other.rename(one)
    (kept / "aside.o").rename(other)
    for key in (KEY, "4567"):
        refused(kept, "made for something else", key)


@posix
def test_what_is_given_out_is_what_was_checked(kept, monkeypatch):
    """The file is changed at the very moment after its check."""
    path, real = Cache(kept).path(KEY), os.fstat

    def changed_afterwards(handle):
        status = real(handle)
        path.write_bytes(module._head(KEY, Attacker.PLANTED)[:-1] + b"?" + Attacker.PLANTED)
        return status

    monkeypatch.setattr(os, "fstat", changed_afterwards)
    refused(kept, "is damaged")
