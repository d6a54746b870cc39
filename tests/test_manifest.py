"""Listing images from a csv: rows and labels as written, or one error that names the line."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_trees import Linked, faces, save, write

import ferdata.sources.manifest
from ferdata.errors import DataError
from ferdata.labels import FER2013, LabelSpace
from ferdata.sources.dataset_loading import load_listed, recognise
from ferdata.sources.manifest import list_files

ROWS = [
    "path,label,subject,split",
    "a/1.png,happy,Ann,train",
    "a/2.png,sad,Ann,train",
    "b/1.png,anger,Bob,val",
    "b/2.png,,Cy,test",
]


@pytest.fixture
def root(tmp_path):
    link = Linked(tmp_path / "set")
    for place in ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "c, d/1.png"):
        link(place)
    return link.root


def manifest(root, rows=ROWS, end="\n"):
    text = rows if isinstance(rows, bytes) else end.join(rows) + end
    return write(root / "faces.csv", text)


def check(files):
    assert files.paths == ("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    assert files.label_space.classes == ("anger", "happy", "sad")
    assert files.labels.tolist() == [1, 2, 0, 0]
    assert files.has_label.tolist() == [True, True, True, False]
    assert files.subjects.tolist() == ["Ann", "Ann", "Bob", "Cy"]
    assert files.split.tolist() == ["train", "train", "validation", "test"]
    assert files.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: manifest(root),
        lambda root: manifest(root, end="\r\n"),
        lambda root: manifest(root, ["\ufeff" + ROWS[0], *ROWS[1:]]),
        lambda root: manifest(root, "\n".join(ROWS).encode()),
        lambda root: manifest(root, [*ROWS, "", " "]),
        lambda root: manifest(root, ['"Path", LABEL,Subject,"split"', *ROWS[1:]]),
        lambda root: manifest(root, [r.replace("a/2.png", '"a/./2.png"') for r in ROWS]),
        lambda root: manifest(root, [",".join(r.split(",")[::-1]) for r in ROWS]),
    ],
    ids=["plain", "crlf", "bom", "no last newline", "blank end", "header", "quotes", "order"],
)
def test_harmless_differences_are_accepted(root, change):
    check(list_files(change(root)))


def test_only_paths_and_labels(root):
    files = list_files(manifest(root, ["path,label", '"c, d/1.png",Happiness', "a/1.png,happy"]))
    assert files.paths == ("c, d/1.png", "a/1.png")
    assert files.labels.tolist() == [0, 0] and files.label_space.classes == ("happiness",)
    assert files.subjects is None and files.split is None and files.has_label is None


def test_numeric_labels_need_class_names(root):
    path = manifest(root, ["path,label", "a/1.png,3", "a/2.png,6"])
    with pytest.raises(
        DataError, match=r"line 2: label '3' is no known class; give the names of all classes"
    ):
        list_files(path)
    files = list_files(path, classes=FER2013)
    assert [FER2013.classes[i] for i in files.labels] == ["happy", "neutral"]
    with pytest.raises(
        DataError, match="class 6, but 4 names in a row are those of the numbers 0 t"
    ):
        list_files(path, classes=("a", "b", "c", "d"))


def test_classes_named_by_numbers_are_matched_by_name(root):
    path = manifest(root, ["path,label", "a/1.png,2", "a/2.png,1"])
    assert list_files(path, classes=("1", "2")).labels.tolist() == [1, 0]


def test_named_classes(root):
    path = manifest(root, ["path,label", "a/1.png,bored", "a/2.png,keen"])
    files = list_files(path, classes=LabelSpace("mine", ("keen", "bored")))
    assert files.labels.tolist() == [1, 0] and files.label_space.name == "mine"
    with pytest.raises(DataError, match="the list of classes has 'calm', which the data do not"):
        list_files(path, classes=("bored", "calm"))


def test_another_root(root, tmp_path):
    path = manifest(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="line 2: no file .*elsewhere/a/1.png .4 of 4 are m"):
        list_files(path)
    check(list_files(path, root=root))
    with pytest.raises(DataError, match="nowhere: no such folder"):
        list_files(path, root=tmp_path / "nowhere")


def test_opened(root):
    image = faces().images[0]
    save(root / "a/1.png", image[:84, :84])
    path = manifest(root, ["label,path", "happy,a/1.png"])
    assert recognise(path).source == "manifest"
    data = load_listed(list_files(path))
    np.testing.assert_array_equal(data.images[0], image[:84, :84])
    assert data.ids.tolist() == ["a/1.png"] and data.rows.tolist() == [0]


BROKEN = {
    "nothing": (b"", "empty file, expected a list of images"),
    "header alone": (["path,label"], "no rows below the header"),
    "no label": (
        ["path,subject", "a/1.png,x"],
        "line 1: no column is known to hold labels; the columns are 1 'path' .'a/1.png'., 2 'subj",
    ),
    "column twice": (
        ["path,label,label", "a/1.png,happy,sad"],
        "line 1: 2 'label' .'happy'., 3 'label' .'sad'. could each hold the label; name one",
    ),
    "fields": (["path,label", "a/1.png,happy,more"], "line 2: 3 fields, expected 2"),
    "a field": (["path,label", "a/1.png"], "line 2: 1 fields, expected 2"),
    "blank": (["path,label", "", "a/1.png,happy"], "line 2: empty; rows are counted"),
    "up": (["path,label", "../set/a/1.png,happy"], "line 2: '../set/a/1.png' leaves the folder"),
    "up inside": (["path,label", "a/../a/1.png,happy"], "line 2: .* leaves the folder"),
    "absolute": (["path,label", "/etc/passwd.png,happy"], "line 2: '/etc/passwd.png' leaves"),
    "drive": (["path,label", "C:/a.png,happy"], "line 2: 'C:/a.png' leaves the folder"),
    "no path": (["path,label", ",happy"], "line 2: '' is not a path"),
    "control": (["path,label", '"a/1\n.png",happy'], r"line 3: 'a/1\\n.png' is not a path"),
    "no image": (
        ["path,label", "faces.csv,happy"],
        "line 2: 'faces.csv' is not a picture",
    ),
    "no file": (["path,label", "a/1.png,happy", "a/7.png,sad"], "line 3: no file .*/a/7.png"),
    "a folder": (["path,label", "a,happy"], "line 2: no file .*a"),
    "twice": (
        ["path,label", "a/1.png,happy", "./a//1.png,sad"],
        "line 3: a/1.png is already in line 2",
    ),
    "label": (["path,label", "a/1.png,hapy"], "line 2: label 'hapy' is no known class"),
    "no labels": (["path,label", "a/1.png,"], "no labels; give the names of the classes"),
    "split": (
        ["path,label,split", "a/1.png,happy,dev"],
        "line 2: split 'dev', expected train, val",
    ),
    "no split": (["path,label,split", "a/1.png,happy,"], "line 2: no split, but there is a column"),
    "no subject": (["path,label,subject", "a/1.png,happy, "], "line 2: no subject, but there is"),
    "NUL": (b"path,label\na/1.png,hap\0py\n", "line 2: not UTF-8 text"),
    "latin-1": (b"path,label\na/1.png,happy\na/\xe9.png,sad\n", "line 3: not UTF-8 text"),
    "utf-16": ("path,label\na/1.png,happy\n".encode("utf-16"), "line 1: not UTF-8 text"),
    "open quote": (
        ["path,label", 'a/1.png,"happy', "a/2.png,sad"],
        r"line 3: not a csv row \(unexpected end of data\)",
    ),
    "long line": (b"path,label\na/1.png," + b"x" * 70000, "line 2: longer than 65536 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(root, case):
    rows, message = BROKEN[case]
    path = manifest(root, rows)
    with pytest.raises(DataError, match=message) as error:
        list_files(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_such_file(root):
    with pytest.raises(DataError, match="none.csv: no such file"):
        list_files(root / "none.csv")


def test_too_many_rows(root, monkeypatch):
    monkeypatch.setattr(ferdata.sources.manifest, "MAX_ROWS", 3)
    with pytest.raises(DataError, match="line 5: more than 3 rows"):
        list_files(manifest(root))


FIELD = st.sampled_from(
    [
        "path",
        "label",
        "subject",
        "split",
        "a/1.png",
        "a/2.png",
        "happy",
        "sad",
        "train",
        "",
        "..",
        '"',
    ]
)


def joined(rows):
    return "\n".join(",".join(row) for row in rows).encode()


@given(st.binary(max_size=60) | st.lists(st.lists(FIELD, max_size=4)).map(joined))
def test_any_bytes_give_a_listing_or_one_error(tmp_path_factory, data):
    root = tmp_path_factory.getbasetemp()
    for place in ("a/1.png", "a/2.png"):
        if not os.path.exists(root / place):
            write(root / place, "x")
    path = write(root / "any.csv", data)
    try:
        files = list_files(path)
    except DataError as error:
        assert str(error).startswith(str(path)) or str(path) in str(error)
    else:
        text = data.decode("utf-8-sig")
        assert all(p in text for p in files.paths) and set(files.paths) <= {"a/1.png", "a/2.png"}


def test_a_link_out_of_the_folder_is_refused_unless_root_is_its_target(root, tmp_path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "1.png").write_bytes((root / "a/1.png").read_bytes())
    (root / "out.png").symlink_to(outside / "1.png")
    (root / "far").symlink_to(outside)
    for place in ("out.png", "far/1.png"):
        path = manifest(root, ["path,label", "a/1.png,happy", f"{place},sad"])
        with pytest.raises(DataError, match=f"line 3: .*{place} is a link out of the folder"):
            list_files(path)
    path = manifest(root, ["path,label", "1.png,sad"])
    assert list_files(path, root=root / "far").paths == ("1.png",)


@pytest.mark.parametrize("column", ["subject", "split", "path"])
def test_one_long_name_does_not_take_memory_for_every_row(root, column):
    fields = dict(path="a/1.png", label="happy", subject="x", split="train")
    fields[column] = "x" * 401 + ".png"
    path = manifest(root, [",".join(fields), ",".join(fields.values())])
    expected = "is not a path" if column == "path" else f"a {column} of 405 characters"
    with pytest.raises(DataError, match=f"line 2: .*{expected}"):
        list_files(path)
