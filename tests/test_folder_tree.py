"""Listing folders: sorted, without files of the operating system, and never without end."""

import os

import pytest
from source_trees import write

import ferdata.sources.folder_tree
from ferdata.errors import DataError
from ferdata.sources.folder_tree import Tree


def test_scan_sorts_and_ignores_files_of_the_operating_system(tmp_path):
    for name in ("b.png", "a.PNG", "notes.txt", ".hidden.png", "Thumbs.db", "._b.png"):
        write(tmp_path / name, "x")
    for name in ("z", "y", "__MACOSX", ".git"):
        (tmp_path / name).mkdir()
    scan = Tree(tmp_path).scan()
    assert scan.folders == ("y", "z") and scan.files == ("a.PNG", "b.png", "notes.txt")
    assert scan.images == ("a.PNG", "b.png")


def test_find_looks_four_folders_deep_but_not_into_subject_folders(tmp_path):
    for place in ("x", "a/x", "a/b/c/x", "a/b/c/d/x", "S005/x", "P001/x", "003/x", "train/x"):
        (tmp_path / place).mkdir(parents=True)
    assert sorted(Tree(tmp_path).find(lambda name: name == "x")) == [
        *("a/b/c/x", "a/x", "train/x", "x")
    ]


def test_the_root_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "VL").mkdir()
    monkeypatch.chdir(tmp_path / "VL")
    assert Tree(".").find(lambda name: name == "VL") == [""]


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_that_contains_it_is_refused(tmp_path, target):
    (tmp_path / "a/b").mkdir(parents=True)
    os.symlink(target, tmp_path / "a/b/again")
    with pytest.raises(DataError, match="a/b/again: a link to .*, a folder that contains it"):
        Tree(tmp_path).find(lambda name: False)


def test_links_to_each_other_are_refused(tmp_path):
    os.symlink("two", tmp_path / "one")
    os.symlink("one", tmp_path / "two")
    with pytest.raises(DataError, match=str(tmp_path)):
        Tree(tmp_path).scan()


def test_links_to_other_places_are_followed(tmp_path):
    write(tmp_path / "data/happy/1.png", "x")
    (tmp_path / "set").mkdir()
    os.symlink(tmp_path / "data/happy", tmp_path / "set/happy")
    os.symlink(tmp_path / "data/happy/1.png", tmp_path / "set/2.png")
    tree = Tree(tmp_path / "set")
    assert tree.scan().folders == ("happy",) and tree.scan().images == ("2.png",)
    assert tree.scan("happy").images == ("1.png",)


def test_a_broken_link_is_refused(tmp_path):
    os.symlink(tmp_path / "gone.png", tmp_path / "1.png")
    with pytest.raises(DataError, match="1.png: a broken link"):
        Tree(tmp_path).scan()


def test_a_pipe_named_like_an_image_is_refused(tmp_path):
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(DataError, match="1.png: .* not a regular file"):
        Tree(tmp_path).scan()


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refused(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match=rf"{tmp_path}: cannot be read \(Permission denied\)"):
        Tree(tmp_path).scan()


def test_a_name_that_is_not_utf8(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb"):
        pass
    with pytest.raises(DataError, match=r"the name 'caf\\\\xe9.png' in it is not UTF-8"):
        Tree(tmp_path).scan()


def test_a_root_that_is_not_a_folder(tmp_path):
    write(tmp_path / "file", "x")
    with pytest.raises(DataError, match="none: not found"):
        Tree(tmp_path / "none")
    with pytest.raises(DataError, match="file: not a folder"):
        Tree(tmp_path / "file")


def test_searches_are_limited(tmp_path, monkeypatch):
    for i in range(12):
        (tmp_path / f"folder {i}").mkdir()
    monkeypatch.setattr(ferdata.sources.folder_tree, "_MAX_SEARCHED", 10)
    with pytest.raises(DataError, match="more than 10 folders in its first 1 levels"):
        Tree(tmp_path).find(lambda name: True)
    monkeypatch.setattr(ferdata.sources.folder_tree, "MAX_ENTRIES", 11)
    with pytest.raises(DataError, match="more than 11 files and folders"):
        Tree(tmp_path).scan()
