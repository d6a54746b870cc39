"""If no data set is recognised, the message says what was seen and what can be done."""

import pytest
from source_trees import Linked, write

from ferdata.errors import DataError
from ferdata.sources.dataset_loading import recognise


def message_on(path):
    with pytest.raises(DataError) as error:
        recognise(path)
    message = str(error.value)
    assert message.startswith(f"{path}: no data set recognised") and "\n" not in message
    return message


def tree(root, *places):
    link = Linked(root)
    for place in places:
        link(place)
    return link.root


def test_kinds_and_depth_of_files(tmp_path):
    root = tree(tmp_path / "set", *(f"a/b/{k}.png" for k in range(3)), "a/b/face.jpg")
    write(root / "film.mp4", b"x")
    message = message_on(root)
    assert (
        "It holds 5 files (3 .png, 1 .mp4, 1 .jpg), such as film.mp4, a/b/0.png, a/b/face.jpg, in "
        in message
    )
    assert "in 2 folders, 2 levels deep." in message
    assert (
        "Nothing says which class its pictures are of: put them into one folder for each" in message
    )


@pytest.mark.parametrize(
    "names, advice",
    [
        ("bored keen", "give the names of all classes in label order: classes=..."),
        ("0 1 2", "name them in order: classes=..., or one by one: classes='0=happy,1=sad'."),
        ("Ekel Freude", "name the classes: classes='Ekel=disgust,Freude=happiness'."),
        ("suprise hapy", "name the classes: classes='hapy=happy,suprise=surprise'."),
    ],
)
def test_folders_that_may_be_classes(tmp_path, names, advice):
    root = tree(tmp_path / "set", *(f"{name}/1.png" for name in names.split()))
    message = message_on(root)
    assert f"Pictures are in the folders {', '.join(sorted(names.split()))}; if these" in message
    assert advice in message and len(message) < 800


def test_a_list_in_the_folder_is_named(tmp_path):
    root = tree(tmp_path / "set", "images/1.png", "images/2.png")
    path = write(root / "labels.csv", "image;emotion\nimages/1.png;happy\nimages/2.png;sad\n")
    message = message_on(root)
    assert (
        f"It holds a csv with the columns image,emotion, separated by semicolons: open {path}."
        in message
    )
    write(root / "labels.csv", "image;a;b\nimages/1.png;1;2\n")
    assert "to be opened by its own path: " in message_on(root)
    assert "label_column=..." in message_on(root)


def test_archives_and_nothing(tmp_path):
    root = tmp_path / "set"
    write(root / "faces.zip", b"PK")
    assert "No pictures in it; unpack faces.zip." in message_on(root)
    (tmp_path / "empty").mkdir()
    assert "It holds no files. There are no pictures in it: is the path right?" in message_on(
        tmp_path / "empty"
    )


def test_columns_of_a_file(tmp_path):
    path = write(tmp_path / "data.csv", "id,name,text\n1,Ann,hello\n")
    message = message_on(path)
    assert (
        "its first line has 3 columns: id, name, text, and no column has names of image files"
        in message
    )
    assert "path_column=..., label_column=..." in message
    path = write(tmp_path / "notes.txt", "Some notes\n")
    assert "its first line is 'some notes'" in message_on(path)


def test_no_content_beyond_short_quotes(tmp_path):
    path = write(tmp_path / "data.csv", "x" * 9000 + "," + "y" * 3000 + "\n1,2\n")
    assert len(message_on(path)) < 900
    path = write(tmp_path / "rows.csv", "path,label\n" + "z" * 390 + ".png,happy\n")
    with pytest.raises(DataError) as error:
        recognise(tmp_path / "rows.csv"), __import__("ferdata").list_files(path)
    assert len(str(error.value)) < 1200
