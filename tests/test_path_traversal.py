"""File names that could lead out of their folder, by their text or through a symbolic link."""

import os

import pytest

from ferdata.files.path_traversal import SymlinkCheck, leaves_folder


@pytest.mark.parametrize("name", ["a", "a/b.csv", "a..b/c", "...", "./a", "a/./b", "", "ab:c"])
def test_names_that_stay(name):
    assert not leaves_folder(name)


@pytest.mark.parametrize(
    "name",
    ["..", "../a", "a/../../b", "a/..", "/a", "\\a", "..\\a", "a\\..\\b", "C:a", "c:\\a", "z:/a"]
    + ["//server/share", "\\\\server\\share", "a\0b"],
)
def test_names_that_leave(name):
    assert leaves_folder(name)


def test_links(tmp_path):
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    (tmp_path / "set-2").mkdir()  # its name begins with the name of the folder
    for path in (root / "a/1.png", tmp_path / "2.png", tmp_path / "set-2/3.png"):
        path.write_bytes(b"")
    os.symlink("../2.png", root / "out.png")
    os.symlink("../../set-2/3.png", root / "a/out.png")
    os.symlink("..", root / "up")
    os.symlink("a", root / "b")
    os.symlink("a/1.png", root / "in.png")
    symlinks = SymlinkCheck(root)
    inside = {"a/1.png": True, "b/1.png": True, "in.png": True}
    outside = {"out.png": False, "a/out.png": False, "up/2.png": False, "up/set-2/3.png": False}
    assert {place: symlinks.is_inside(place) for place in (*inside, *outside)} == {
        **inside,
        **outside,
    }
    os.symlink(root, tmp_path / "link")
    assert SymlinkCheck(tmp_path / "link").is_inside("a/1.png")  # the folder itself may be a link
