"""Files are written completely or not at all, whatever happens while writing."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from disk_trouble import files_limited_to

from tinycnn.ground import atomic_file, file_lock
from tinycnn.ground.atomic_file import write_atomically

ROOT = Path(__file__).resolve().parent.parent
ON_WINDOWS = os.name == "nt" or file_lock.posix is None
POSIX = pytest.mark.skipif(ON_WINDOWS, reason="needs POSIX permissions, locks and signals")


def test_bytes_and_text(tmp_path):
    write_atomically(tmp_path / "a", b"\x00\xff")
    write_atomically(str(tmp_path / "b"), "größe\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "größe\n".encode()
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


@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "model"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic_file.os, where, fail)
    with pytest.raises(OSError, match="No space left on device .* choose another") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_disk_that_is_full_halfway(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with files_limited_to(100_000), pytest.raises(OSError, match="nothing was changed") as caught:
        write_atomically(path, b"new" * 100_000)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model"]


def test_an_error_raised_by_content_is_not_changed(tmp_path):
    class Odd(OSError):
        pass

    def content(file):
        raise Odd("no number of an error")

    with pytest.raises(Odd, match="^no number of an error$"):
        write_atomically(tmp_path / "model", content)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic_file.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "model", b"new")
    assert os.listdir(tmp_path) == []


def test_content_is_on_disk_before_the_file_is_renamed(tmp_path, monkeypatch):
    seen, replace = [], os.replace
    monkeypatch.setattr(atomic_file.os, "fsync", lambda descriptor: seen.append("fsync"))

    def watched(source, target):
        with open(source, "rb") as file:
            seen.append(file.read())
        assert os.path.dirname(source) == os.path.dirname(target)  # one file system
        replace(source, target)

    monkeypatch.setattr(atomic_file.os, "replace", watched)
    write_atomically(tmp_path / "model", b"all of it")
    assert seen == ["fsync", b"all of it", "fsync"]  # the second fsync is of the folder


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "no" / "model", b"new")
    assert caught.value.filename == str(tmp_path / "no" / "model")


def test_a_folder_of_that_name_is_an_error_and_stays(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "model", b"new")
    assert os.listdir(tmp_path) == ["model"] and (tmp_path / "model").is_dir()


@POSIX
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask_which_does_not_change(tmp_path, monkeypatch, umask, mode):
    """Not the permissions of a temporary file, which only its owner may read."""
    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)  # shared by all threads: never changed
            write_atomically(tmp_path / "model", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == mode


@pytest.mark.parametrize("room", ["tinycnn", "ferdata", "examples"])
def test_every_file_is_written_atomically(room):
    """Except files that no run reads again: locks, and checks in a temporary folder."""
    allowed = {"atomic_file.py", "folder.py", "c_compiler.py", "python_file.py"}
    allowed |= {"compiler_process.py"}  # a lock
    allowed |= {"printing.py"}  # /dev/null
    allowed |= {"node_check.py", "build_engine.py"}  # a temporary folder
    allowed |= {"film_writer.py"}  # has a part file of its own: FFmpeg writes it bit by bit
    writes = re.compile(
        r"""open\([^)]*["'][wax]|\.write_(text|bytes)\(|os\.(replace|rename)|mkstemp"""
    )
    files = [p for p in (ROOT / room).rglob("*.py") if p.name not in allowed]
    found = [p for p in files if writes.search(p.read_text(encoding="utf-8"))]
    assert len(files) >= 5 and found == []
    assert writes.search(Path(atomic_file.__file__).read_text(encoding="utf-8"))


# ---- killed writers, and concurrent writers --------------------------------------------------

KILLED = """
import os, signal, sys
from tinycnn.ground import atomic_file

def killing(function):
    def die(*arguments):
        if when == "after":
            function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    return die

path, where, when = sys.argv[1:]
if where == "write":
    def content(file):
        file.write(b"n")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
else:
    content = b"new"
    setattr(atomic_file.os, where, killing(getattr(os, where)))
atomic_file.write_atomically(path, content)
"""


@POSIX
@pytest.mark.parametrize(
    "where, when, found",
    [
        ("fstat", "before", b"old"),
        ("write", "half", b"old"),
        ("fsync", "before", b"old"),
        ("fsync", "after", b"old"),
        ("replace", "before", b"old"),
        ("replace", "after", b"new"),
    ],
)
def test_a_killed_writer_leaves_a_whole_file_and_the_next_removes_its_part(
    tmp_path, where, when, found
):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", KILLED, str(path), where, when]
    died = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert path.read_bytes() == found
    parts = [name for name in os.listdir(tmp_path) if name != "model"]
    assert [name[:7] + name[15:] for name in parts] == [".model..part"] * (found == b"old")
    others = [".model.part", ".models.0123abcd.part", "model.0123abcd.part", ".model.0123.part"]
    for name in others:
        (tmp_path / name).touch()
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert sorted(os.listdir(tmp_path)) == sorted(["model", *others])


def test_the_part_of_a_running_writer_is_not_removed(tmp_path):
    path = tmp_path / "model"

    def content(file):
        file.write(b"slow")
        write_atomically(path, b"quick")  # meanwhile a second writer writes the same file
        assert path.read_bytes() == b"quick"
        file.write(b"er")

    write_atomically(path, content)
    assert path.read_bytes() == b"slower" and os.listdir(tmp_path) == ["model"]


@POSIX
def test_a_part_removed_by_mistake_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    import fcntl

    path, flock, n_locks = tmp_path / "model", fcntl.flock, []

    def lock(file, flags):
        if not n_locks and not flags & fcntl.LOCK_NB:  # the first writer is about to lock its part
            n_locks.append(1)
            write_atomically(path, b"other")
            assert os.listdir(tmp_path) == ["model"]  # the first writer's part is gone
        return flock(file, flags)

    monkeypatch.setattr(fcntl, "flock", lock)
    write_atomically(path, b"mine")
    assert n_locks and path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["model"]


@POSIX
def test_on_a_disk_without_locks_files_are_written_and_parts_are_not_removed(tmp_path, monkeypatch):
    import fcntl

    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    part = ".model.0123abcd.part"  # it may belong to a writer that is still running
    (tmp_path / part).touch()
    write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == [part, "model"]


def test_many_concurrent_writers(tmp_path):
    path, contents, errors = tmp_path / "model", [bytes([k]) * 5000 for k in range(4)], []

    def write(k):
        try:
            for _ in range(25):
                write_atomically(path, contents[k])
                assert path.read_bytes() in contents
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and os.listdir(tmp_path) == ["model"]
