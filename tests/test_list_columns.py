"""Lists of images as people have them: any separator, any columns, with or without a header."""

import numpy as np
import pytest
from source_trees import Linked, faces, save, write

import ferdata
import ferdata.cli
from ferdata.errors import DataError
from ferdata.sources.dataset_loading import list_files, recognise

NAMES = ("angry", "happy", "sad")


@pytest.fixture
def root(tmp_path):
    link = Linked(tmp_path / "set")
    for n in range(1, 4):
        link(f"image_{n}.jpg")
        link(f"faces/image_{n}.jpg")
    link("my face.png")
    return link.root


def found(files):
    """{path: class name}"""
    return {
        path: files.label_space.classes[label] for path, label in zip(files.paths, files.labels)
    }


TWO = {"image_2.jpg": "sad", "image_1.jpg": "angry"}

# content of the list -> (arguments, what is found, words of the note)
LISTS = {
    "no header, blanks": (
        "image_2.jpg 2\nimage_1.jpg 0\n",
        {"classes": NAMES},
        TWO,
        "no header; column 1 is the path, column 2 is the label; separated by blanks",
    ),
    "several blanks and tabs": (
        "image_2.jpg \t 2  \nimage_1.jpg\t0\n",
        {"classes": NAMES},
        TWO,
        "",
    ),
    "no header, commas": (
        "image_2.jpg,sad\nimage_1.jpg,angry\n",
        {},
        TWO,
        "no header; column 1 is",
    ),
    "no header, label first": ("sad,image_2.jpg\nangry,image_1.jpg", {}, TWO, "column 2 is the pa"),
    "no header, more columns": (
        "image_2.jpg 0.5 sad 7\nimage_1.jpg 0.7 angry 8\n",
        {},
        TWO,
        "column 3 is the label; not used: column 2, column 4; separated by blanks",
    ),
    "semicolons": (
        "file;emotion;conf\nimage_2.jpg;sad;0,5\nimage_1.jpg;angry;0,7\n",
        {},
        TWO,
        "columns: file is the path, emotion is the label; not used: conf; separated by semicolons",
    ),
    "tabs": (
        "user.id\timage\temotion\n3\timage_2.jpg\tsad\n3\timage_1.jpg\tangry\n",
        {},
        TWO,
        "image is the path, emotion is the label; not used: user.id; separated by tabs",
    ),
    "a byte order mark": ("\ufeffimage;label\nimage_2.jpg;sad\nimage_1.jpg;angry\n", {}, TWO, ""),
    "quoted fields": (
        '"Image Name";"Class"\r\n"my face.png";"Happy"\r\n"image_1.jpg";"angry"\r\n',
        {},
        {"my face.png": "happy", "image_1.jpg": "angry"},
        "Image Name is the path, Class is the label",
    ),
    "quoted, with blanks between": (
        '"my face.png" happy\nimage_1.jpg angry\n',
        {},
        {"my face.png": "happy", "image_1.jpg": "angry"},
        "separated by blanks",
    ),
    "a bar": ("img|label\nimage_2.jpg|sad\nimage_1.jpg|angry\n", {}, TWO, "separated by '|'"),
    "another character": (
        "img^label\nimage_2.jpg^sad\nimage_1.jpg^angry\n",
        {"separator": "^"},
        TWO,
        "",
    ),
    "backslashes": (
        "path,label\nfaces\\image_2.jpg,sad\nfaces\\image_1.jpg,angry\n",
        {},
        {"faces/image_2.jpg": "sad", "faces/image_1.jpg": "angry"},
        "",
    ),
    "named columns": (
        "a,b,c,d\nimage_2.jpg,1,Ann,2\nimage_1.jpg,1,Bob,0\n",
        {"label_column": "d", "subject_column": 3, "classes": NAMES},
        TWO,
        "a is the path, d is the label, c is the person; not used: b",
    ),
    "columns by number": (
        "2,Ann,image_2.jpg\n0,Bob,image_1.jpg\n",
        {"path_column": "3", "label_column": 1, "classes": NAMES},
        TWO,
        "no header; column 3 is the path, column 1 is the label; not used: column 2",
    ),
    "numbers with decimals": (
        "path,label\nimage_2.jpg,2.0\nimage_1.jpg,0.0\n",
        {"classes": NAMES},
        TWO,
        "classes, with their numbers of images: 0 (1) as angry, 2 (1) as sad",
    ),
    "an index column without a name": (
        ",image,label\n0,image_2.jpg,sad\n1,image_1.jpg,angry\n",
        {},
        TWO,
        "not used: column 1",
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_in_every_form_are_read_and_say_which_columns_are_used(root, case):
    text, arguments, expected, note = LISTS[case]
    path = write(root / "list.txt", text)
    files = list_files(path, **arguments)
    assert files.source == "manifest" and found(files) == expected
    assert files.rows.tolist() == list(range(len(files)))
    assert note in " | ".join(files.notes)


def test_people_and_splits_are_guessed_and_said(root):
    text = "image,emotion,Usage,person\nimage_2.jpg,sad,Training,7\nimage_1.jpg,angry,PrivateTest,8"
    files = list_files(write(root / "list.csv", text))
    assert files.subjects.tolist() == ["7", "8"] and files.split.tolist() == ["train", "test"]
    assert files.notes == (
        "columns: image is the path, emotion is the label, person is the person, Usage is the "
        "split",
    )
    files = list_files(root / "list.csv", subject_column="none")
    assert files.subjects is None and "not used: person" in files.notes[0]


def test_the_documented_columns_need_no_note(root):
    text = "path,label,subject\nimage_2.jpg,sad,Ann\n"
    assert list_files(write(root / "list.csv", text)).notes == ()


def test_a_misspelt_column_of_people_is_not_passed_over_in_silence(root):
    files = list_files(write(root / "list.csv", "path,label,subjet\nimage_2.jpg,sad,Ann\n"))
    assert files.subjects is None
    assert "not used: subjet (if it says who is shown: subject_column='subjet')" in files.notes[0]


def test_a_column_that_is_only_called_like_a_split_is_not_used(root):
    files = list_files(write(root / "list.csv", "path,label,set\nimage_2.jpg,sad,A\n"))
    assert files.split is None and "not used: set" in files.notes[0]
    path = write(root / "list.csv", "path,label,split\nimage_2.jpg,sad,A\n")
    with pytest.raises(DataError, match="line 2: split 'A', expected train, validation or test"):
        list_files(path)


def test_who_gave_the_labels_is_not_taken_for_who_is_shown(root):
    """The header of a public list: user.id is the annotator."""
    text = "user.id,image,emotion\n628,image_2.jpg,anger\n628,image_1.jpg,surprise\n"
    files = list_files(write(root / "legend.csv", text))
    assert files.subjects is None and "not used: user.id" in files.notes[0]


def test_absolute_paths_inside_of_the_root(root, tmp_path):
    text = f"path,label\n{root / 'image_2.jpg'},sad\n{root / 'faces/image_1.jpg'},angry\n"
    path = write(tmp_path / "lists/list.csv", text)
    files = list_files(path, root=root)
    assert found(files) == {"image_2.jpg": "sad", "faces/image_1.jpg": "angry"}
    with pytest.raises(
        DataError, match=r"line 2: .* leaves the folder of the images.*: root=\.\.\."
    ):
        list_files(path)


@pytest.mark.parametrize(
    "place, name, where",
    [
        ("lists/list.csv", "set/image_2.jpg", "it is in another folder: root='{root.parent}'"),
        ("list.csv", "image_2.jpg", "it is in another folder: root='{root}'"),
        ("set/faces/list.csv", "my face.png", "it is in another folder: root='{root}'"),
        ("set/list.csv", "data/faces/image_2.jpg", "there is faces/image_2.jpg, so remove data/"),
        ("set/list.csv", "image_9.jpg", "if paths are relative to another folder: root=..."),
    ],
)
def test_for_files_that_are_not_there_the_error_says_where_they_are(root, place, name, where):
    path = write(root.parent / place, f"path,label\n{name},sad\n")
    with pytest.raises(DataError, match="line 2: no file ") as error:
        list_files(path)
    assert where.format(root=root) in str(error.value)


BROKEN = {
    "two columns of paths": (
        "image,file,label\nimage_2.jpg,image_1.jpg,sad\n",
        {},
        "line 1: 1 'image' .'image_2.jpg'., 2 'file' .'image_1.jpg'. could each hold the path",
    ),
    "labels in no known column": (
        "a,b,c\nimage_2.jpg,1,2\n",
        {},
        "no column is known to hold labels; the columns are 1 'a' .'image_2.jpg'., 2 'b' .'1'., ",
    ),
    "no such column": (
        "image,label\nimage_2.jpg,sad\n",
        {"label_column": "emotion"},
        "line 1: no column 'emotion' for the label; the first line is 1 'image', 2 'label'",
    ),
    "no such number": (
        "image,label\na.jpg,sad\n",
        {"path_column": 3},
        "no column 3; expected 1 to 2",
    ),
    "a name without a header": (
        "image_2.jpg 2\n",
        {"label_column": "l"},
        "no column 'l' for the lab",
    ),
    "one column twice": (
        "image,label\nimage_2.jpg,sad\n",
        {"label_column": 2, "subject_column": 2},
        "one column for two purposes",
    ),
    "another number of fields": (
        "image_2.jpg 2\nmy face.png 1\n",
        {},
        "line 2: 3 fields, expected 2 as in the first line; they are separated by blanks",
    ),
    "numbers": (
        "image_2.jpg 2\nimage_1.jpg 0\n",
        {},
        "line 1: label '2' is no known class; give the names of all classes in label order, those "
        r"of 0, 1, 2, ...: classes=... \(the labels are 0, 2\)",
    ),
    "misspelt": (
        "path,label\nimage_1.jpg,happy\nimage_2.jpg,suprise\n",
        {},
        "line 3: label 'suprise' is no known class; name the classes: "
        "classes='happy,suprise=surprise'",
    ),
    "another language": (
        "path,label\nimage_1.jpg,Freude\nimage_2.jpg,müde\n",
        {},
        r"classes='Freude=happiness' \(this leaves out müde; add it to the list to use it\)",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_guessed_is_an_error_with_a_way_on(root, case):
    text, arguments, message = BROKEN[case]
    path = write(root / "list.txt", text)
    with pytest.raises(DataError, match=message) as error:
        list_files(path, "manifest", **arguments)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_separator_is_a_wrong_argument(root):
    path = write(root / "list.txt", "image_2.jpg 2\n")
    with pytest.raises(ValueError, match="separator: expected comma, semicolon, tab, space or one"):
        list_files(path, separator="blank")


def test_lists_are_recognised_and_say_why(root):
    path = write(root / "list.txt", "image_2.jpg 2\nimage_1.jpg 0\n")
    assert (
        recognise(path).why == "a list of images without a header, the first line is image_2.jpg,2"
    )
    path = write(root / "list.csv", "image;label\nimage_2.jpg;sad\n")
    assert recognise(path).why.endswith("columns image,label, separated by semicolons")


def test_every_command_has_the_options_and_says_what_it_uses(root, capsys):
    for n in (1, 2):
        (root / f"image_{n}.jpg").unlink()
        save(root / f"image_{n}.jpg", faces().images[n, :84, :84], quality=95)
    path = write(root / "list.txt", "x image_1.jpg 7 0\ny image_2.jpg 7 2\n")
    options = ("--label-column", "4", "--separator", "space", "--classes", "angry,happy,sad")
    out = root / "out.npz"
    assert ferdata.cli.main(["pack", str(path), str(out), *options]) == 0
    told = capsys.readouterr().err
    assert (
        "note: no header; column 2 is the path, column 4 is the label; not used: column 1" in told
    )
    packed = ferdata.load_packed(out)
    assert packed.labels.tolist() == [0, 2] and packed.classes == NAMES
    opened = ferdata.open(path, label_column=4, separator="space", classes="angry,happy,sad")
    np.testing.assert_array_equal(opened.images, packed.images)
    assert "column 4 is the label" in repr(opened)
    ferdata.cli.main(["check", str(path), *options])
    assert "note: no header; column 2 is the path" in capsys.readouterr().out
