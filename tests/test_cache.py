"""The cache saves time, and never changes a result."""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from ferdata.errors import DataError
from ferdata.files.cache import cache_folder, cached_arrays


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Parser:
    """Counts how often it runs; its result is the file's bytes."""

    def __init__(self, source):
        self.source, self.n_runs = source, 0

    def __call__(self):
        self.n_runs += 1
        return {"data": np.frombuffer(self.source.read_bytes(), np.uint8)}

    def text(self, kind="kind"):
        return cached_arrays(self.source, kind, self)["data"].tobytes()


@pytest.fixture
def parser(folder, tmp_path):
    source = tmp_path / "faces.csv"
    source.write_bytes(b"first")
    return Parser(source)


def test_second_run_does_not_parse(parser, folder):
    assert parser.text() == b"first" == parser.text()
    assert parser.n_runs == 1
    (entry,) = folder.iterdir()
    assert entry.name.startswith("faces.csv-") and entry.suffix == ".npz"


def test_changed_source_is_noticed_and_replaces_the_entry(parser, folder):
    parser.text()
    parser.source.write_bytes(b"longer")
    assert parser.text() == b"longer" == parser.text()
    assert parser.n_runs == 2 and len(list(folder.iterdir())) == 1


def test_same_size_and_time_but_other_bytes_is_noticed(parser):
    parser.text()
    stat = parser.source.stat()
    parser.source.write_bytes(b"fIrst")
    os.utime(parser.source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert parser.source.stat().st_mtime_ns == stat.st_mtime_ns
    assert parser.text() == b"fIrst"


def test_edit_inside_a_large_file_is_seen_by_its_time(parser):
    big = bytearray(os.urandom(1 << 20) * 9)
    parser.source.write_bytes(big)
    parser.text()
    stat = parser.source.stat()
    big[1_300_000] ^= 1  # between two of the blocks that are hashed
    parser.source.write_bytes(big)
    os.utime(parser.source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert parser.text() == bytes(big)


def test_last_byte_of_a_large_file_is_hashed(parser):
    big = bytearray(9 << 20)
    parser.source.write_bytes(big)
    parser.text()
    stat = parser.source.stat()
    big[-1] = 7
    parser.source.write_bytes(big)
    os.utime(parser.source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert parser.text() == bytes(big)


def test_another_kind_is_another_entry(parser, folder):
    parser.text("a")
    parser.text("b")
    assert parser.n_runs == 2 and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncate", "flip a bit", "empty", "text"])
def test_damaged_entry_is_rebuilt(parser, folder, damage):
    parser.source.write_bytes(bytes(range(256)) * 40)
    expected = parser.text()
    (entry,) = folder.iterdir()
    stored = bytearray(entry.read_bytes())
    if damage == "flip a bit":
        stored[stored.index(bytes(range(256)) * 2) + 300] ^= 4
    entry.write_bytes(
        {"truncate": stored[: len(stored) // 2], "empty": b"", "text": b"no zip"}.get(
            damage, stored
        )
    )
    assert parser.text() == expected and parser.n_runs == 2
    assert parser.text() == expected and parser.n_runs == 2  # and the entry is right again


def test_an_unwritable_folder_only_costs_time(parser, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(blocked / "cache"))
    assert parser.text() == b"first" == parser.text()
    assert parser.n_runs == 2


def test_a_failed_write_leaves_no_file(parser, folder, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    assert parser.text() == b"first"
    assert list(folder.iterdir()) == []


def test_a_source_that_changes_while_it_is_parsed_is_not_cached(parser, folder):
    def build():
        arrays = parser()
        parser.source.write_bytes(b"changed meanwhile")
        return arrays

    assert cached_arrays(parser.source, "kind", build)["data"].tobytes() == b"first"
    assert not folder.exists()
    assert parser.text() == b"changed meanwhile"


def test_pickle_is_never_read(parser, folder):
    parser.text()
    (entry,) = folder.iterdir()
    with np.load(entry) as file:
        identity = file["source_identity"]
    np.savez(entry, source_identity=identity, data=np.array([{}], dtype=object), allow_pickle=True)
    assert parser.text() == b"first" and parser.n_runs == 2


def test_missing_source(folder, tmp_path):
    with pytest.raises(DataError, match="none.csv: no such file"):
        cached_arrays(tmp_path / "none.csv", "kind", dict)
    with pytest.raises(DataError, match="cannot be read"):
        cached_arrays(tmp_path, "kind", dict)


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FERDATA_CACHE_DIR", "/somewhere")
    assert str(cache_folder()) == "/somewhere"
    monkeypatch.delenv("FERDATA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ferdata"
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # must be ignored, by its specification
    assert str(cache_folder()) == "/home/someone/.cache/ferdata"


def claiming(shape, content=b""):
    """An entry with an array that claims a shape, followed by this content."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + content


@pytest.mark.parametrize("packed", [False, True], ids=["a claim", "a zip bomb"])
def test_an_entry_that_claims_more_memory_than_it_has_is_rebuilt(parser, folder, packed):
    parser.text()
    (entry,) = folder.iterdir()
    with np.load(entry) as file:
        identity = file["source_identity"]
    content = bytes(200 << 20) if packed else b"x"
    with zipfile.ZipFile(entry, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("source_identity.npy", "w") as member:
            np.save(member, identity)
        with archive.open("data.npy", "w") as member:
            member.write(claiming((200 << 20,), content))
    del content
    tracemalloc.start()
    try:
        assert parser.text() == b"first" and parser.n_runs == 2
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_only_the_owner_can_read_the_folder(parser, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "new"))
    before = os.umask(0)
    try:
        parser.text()
    finally:
        os.umask(before)
    assert oct((tmp_path / "new").stat().st_mode & 0o777) == "0o700"


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_only_the_owner_can_read_an_entry_in_a_folder_of_the_users_own(parser, folder):
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    parser.text()
    (entry,) = folder.iterdir()
    assert oct(entry.stat().st_mode & 0o777) == "0o600"
    assert oct(folder.stat().st_mode & 0o777) == "0o755"


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
@pytest.mark.parametrize("mode, after", [(0o755, 0o700), (0o750, 0o700), (0o775, 0o775)])
def test_a_folder_in_the_usual_place_is_closed_to_others(
    parser, folder, tmp_path, monkeypatch, mode, after
):
    """Not if others may write to it: it could hold code of theirs, and nothing would warn of it."""
    monkeypatch.delenv("FERDATA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    usual = tmp_path / "usual" / "ferdata"
    usual.mkdir(parents=True)
    usual.chmod(mode)
    parser.text()
    assert oct(usual.stat().st_mode & 0o777) == oct(after)
