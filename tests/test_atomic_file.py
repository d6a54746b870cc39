"""A written file is there whole or not at all, whatever happens on the way."""

import os
import stat

import pytest

from tinycnn import atomic_file
from tinycnn.atomic_file import write_atomically


def test_bytes_and_text(tmp_path):
    write_atomically(tmp_path / "a", b"\x00\xff")
    write_atomically(str(tmp_path / "b"), "größe\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "größe\n".encode("utf-8")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_relative_path_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically("model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"


def test_the_old_content_is_replaced(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"a longer old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


class DiskFull(OSError):
    pass


def fail(*arguments, **options):
    raise DiskFull("no space left on device")


@pytest.mark.parametrize("where", ["replace", "fsync", "chmod"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic_file.os, where, fail)
    with pytest.raises(DiskFull):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic_file.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "model", b"new")
    assert os.listdir(tmp_path) == []


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    seen, replace = [], os.replace
    monkeypatch.setattr(atomic_file.os, "fsync", lambda descriptor: seen.append("fsync"))

    def watched(source, target):
        with open(source, "rb") as file:
            seen.append(file.read())
        assert os.path.dirname(source) == os.path.dirname(target)  # one file system
        replace(source, target)

    monkeypatch.setattr(atomic_file.os, "replace", watched)
    write_atomically(tmp_path / "model", b"all of it")
    assert seen == ["fsync", b"all of it"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "model", b"new")


def test_a_folder_in_the_way_stays(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "model", b"new")
    assert os.listdir(tmp_path) == ["model"] and (tmp_path / "model").is_dir()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    """Not those of a temporary file, which its owner alone may read."""
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "model", b"new")
        assert os.umask(umask) == umask  # it is as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == mode
