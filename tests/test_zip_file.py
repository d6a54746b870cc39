"""Zip files from untrusted sources: huge directories and unknown methods are refused."""

import io
import struct
import zipfile

import pytest

from ferdata.files import zip_file
from ferdata.files.zip_file import open_zip


def archive(*names, method=zipfile.ZIP_DEFLATED, comment=b""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name in names:
            opened.writestr(name, b"content" * 9)
        opened.comment = comment
    return file.getvalue()


@pytest.mark.parametrize("comment", [b"", b"said by hand", b"x" * 65535])
def test_plain_archives_are_opened(comment):
    with open_zip(io.BytesIO(archive("a.csv", "b/c.csv", comment=comment))) as opened:
        assert opened.namelist() == ["a.csv", "b/c.csv"]
        assert opened.read("b/c.csv") == b"content" * 9


def test_a_large_directory_is_refused_before_it_is_read(monkeypatch):
    good = archive("a.csv", "b.csv", "c.csv")
    monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 3 * (46 + 5))
    open_zip(io.BytesIO(good)).close()
    monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 3 * (46 + 5) - 1)
    monkeypatch.setattr(
        zipfile, "ZipFile", None
    )  # it must not be called: it would read the directory
    with pytest.raises(zipfile.BadZipFile, match="a directory of 153 bytes; at most 152 are read"):
        open_zip(io.BytesIO(good))


def as_zip64(good):
    """The same archive with a zip64 end-of-directory record, as large files have."""
    end = good[-22:]
    n, size, place = struct.unpack("<HLL", end[10:20])
    long_end = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, size, place)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(good) - 22, 1)
    return good[:-22] + long_end + locator + end


def test_zip64_archives(monkeypatch):
    content = as_zip64(archive("a.csv", "b.csv"))
    with open_zip(io.BytesIO(content)) as opened:
        assert opened.namelist() == ["a.csv", "b.csv"]
    monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 101)
    with pytest.raises(zipfile.BadZipFile, match="a directory of 102 bytes"):
        open_zip(io.BytesIO(content))
    elsewhere = bytearray(content)
    elsewhere[-34] ^= 1  # the place of that record, in its locator
    with pytest.raises(zipfile.BadZipFile, match="record is not where it should be"):
        open_zip(io.BytesIO(bytes(elsewhere)))


@pytest.mark.parametrize("in_64_bits", [False, True])
def test_a_directory_that_hides_members_is_refused(in_64_bits):
    """The length of the first member's comment has changed: the other entries are its comment."""
    good = archive("a.csv", "b.csv", "c.csv")
    if in_64_bits:
        good = as_zip64(good)
    entry = good.index(b"PK\1\2")
    content = bytearray(good)
    content[entry + 32] = 2 * (46 + 5)
    assert zipfile.ZipFile(io.BytesIO(bytes(content))).namelist() == ["a.csv"]
    with pytest.raises(zipfile.BadZipFile, match="its directory lists 1 members; it says 3"):
        open_zip(io.BytesIO(bytes(content)))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_methods_with_unlimited_memory_are_refused(method):
    with pytest.raises(zipfile.BadZipFile, match="'a.csv' is packed by method 1[24]; expected"):
        open_zip(io.BytesIO(archive("a.csv", method=method)))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip" * 20, archive("a")[:-1]])
def test_files_that_are_not_archives(content):
    with pytest.raises(zipfile.BadZipFile):
        open_zip(io.BytesIO(content))
