"""Outputs: whole or not there, through links, into devices and pipes, and never by way of the process's umask."""

import os
import stat
import threading

import pytest

from upconv.files import check_output, replace, write_atomically

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links, pipes and permissions as POSIX has them")
DATA = b"<svg/>" * 10_000


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def only(folder):
    """The names in a folder: nothing temporary may be left."""
    return sorted(path.name for path in folder.iterdir())


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_obeyed_and_never_touched(tmp_path, monkeypatch, umask):
    before = os.umask(umask)
    try:

        def touched(mask):
            raise AssertionError("another thread's files would have been open to everybody")

        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", touched)
            write_atomically(tmp_path / "new", DATA)
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o666 & ~umask
    assert (tmp_path / "new").read_bytes() == DATA
    assert only(tmp_path) == ["new"]


@posix
def test_what_replaces_a_file_has_its_permissions(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    for permissions in (0o600, 0o664):
        path.chmod(permissions)
        write_atomically(path, DATA)
        assert (mode(path), path.read_bytes()) == (permissions, DATA)


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, chain = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "chain"
    link.symlink_to(target)
    chain.symlink_to("link")
    # Behind the links there may be no file yet.
    for content in (b"first", DATA):
        write_atomically(chain, content)
        assert target.read_bytes() == content
        assert link.is_symlink()
        assert chain.is_symlink()
    assert only(tmp_path / "folder") == ["target"]


@posix
def test_a_link_that_leads_round_in_a_circle_stays(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a'"):
        write_atomically(tmp_path / "a", DATA)
    assert (tmp_path / "a").is_symlink()


@posix
def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, DATA)
    reader.join(30)
    assert read == [DATA]
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's devices")
def test_a_device_is_written_to(tmp_path):
    """Through links, so that code which replaces what it is given replaces no device of the machine."""
    for name in ("null", "full"):
        (tmp_path / name).symlink_to(f"/dev/{name}")
    write_atomically(tmp_path / "null", DATA)
    with pytest.raises(OSError, match=r"No space left on device: .*full"):
        write_atomically(tmp_path / "full", DATA)
    assert (tmp_path / "null").is_symlink()
    assert (tmp_path / "full").is_symlink()


def test_a_folder_is_refused_by_its_name(tmp_path):
    for refuses in (lambda path: write_atomically(path, DATA), check_output):
        with pytest.raises(OSError, match="folder"):
            refuses(tmp_path / "folder" / "file")
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError, match="folder"):
            refuses(tmp_path / "folder")
        (tmp_path / "folder").rmdir()


def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, DATA)
    assert path.read_bytes() == b"old"
    assert only(tmp_path) == ["kept"]


@posix
def test_what_is_replaced_for_ourselves_follows_no_link(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"old")
    (tmp_path / "file").symlink_to("elsewhere")
    replace(tmp_path / "file", DATA)
    assert (tmp_path / "elsewhere").read_bytes() == b"old"
    assert not (tmp_path / "file").is_symlink()
