"""Every layout and form in docs/data.md is read, and comes as that list says."""

import re
from pathlib import Path

import numpy as np
import pytest
from data_layouts import LAYOUTS, csv_text, zipped
from source_trees import write

import ferdata
from ferdata.errors import DataError
from ferdata.labels import canonical_name
from ferdata.sources import dataset_loading

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data.md"
ROW = re.compile(
    r"\| `(?P<name>[a-z0-9-]+)` \| (?P<layout>[^|]+) \| (?P<source>[^|]+) \|"
    r" (?P<classes>[^|]+) \| (?P<split>[^|]+) \| (?P<people>[^|]+) \|"
)
TABLE = {row["name"]: row for row in map(ROW.fullmatch, PAGE.read_text().splitlines()) if row}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))


def test_the_list_and_the_tests_are_the_same():
    assert set(TABLE) == set(LAYOUTS)
    assert len(TABLE) >= 40
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == len(TABLE), "each line has its own name and six columns"


def recognised_with(path, options):
    """The source that is recognised; the names of classes and columns help."""
    return dataset_loading.identify(path, None, options.get("classes"), options).source


def source_of(made):
    """The name of the source: recognised, unless the data set has to be named."""
    if "source" in made.options:
        return made.options["source"]
    if ferdata.is_packed(made.path):
        return "packed"
    return recognised_with(made.path, made.options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_recognised_and_comes_as_the_list_says(name, tmp_path):
    made = LAYOUTS[name](tmp_path / "data")
    data = ferdata.open(made.path, **made.options)
    row = TABLE[name]
    assert row["source"] == source_of(made)
    assert row["classes"] == str(len(data.classes))
    splits = [] if data.split is None else sorted(set(data.split.tolist()))
    order = [s for s in ("train", "validation", "test") if s in splits]
    assert row["split"] == (", ".join(order) or "-")
    assert row["people"] == ("-" if data.subjects is None else "yes")
    has_label = np.ones(len(data), bool) if data.has_label is None else data.has_label
    found = {
        i: canonical_name(data.classes[label]) if known else None
        for i, label, known in zip(data.ids.tolist(), data.labels, has_label)
    }
    assert found == {i: c and canonical_name(c) for i, c in made.classes.items()}
    if made.left_out:
        assert data.unread is not None
        assert made.left_out.items() <= dict(data.unread.left_out).items()
    assert all(image.max() > image.min() for image in data.images)


ARCHIVES = {
    "csv names that only loading prefers": {"test.csv": "pixels\n1\n", "train.csv": "{csv}"},
    "icml beside others": {"a.csv": "x\n1\n", "deep/icml_face_data.csv": "{csv}"},
    "ckextended beside others": {"a.csv": "x\n1\n", "ckextended.csv": "{csv}"},
    "files of macOS": {"__MACOSX/._fer2013.csv": "x", "._fer2013.csv": "x", "any.csv": "{csv}"},
}


@pytest.mark.parametrize("name", [*LAYOUTS, *ARCHIVES])
def test_recognition_is_never_stricter_than_loading(name, tmp_path):
    """What loads when its source is named is recognised without the name."""
    if name in ARCHIVES:
        text = csv_text()
        members = {n: c.replace("{csv}", text) for n, c in ARCHIVES[name].items()}
        path, options, source = zipped(tmp_path / "some.zip", members), {}, "fer2013"
    else:
        made = LAYOUTS[name](tmp_path / "data")
        path, options = made.path, dict(made.options)
        if ferdata.is_packed(path) or "source" in options:
            pytest.skip("has no source that is recognised")
        source = TABLE[name]["source"]
    if source == "fer2013":
        assert len(ferdata.open(path, source, **options)) > 0
    else:
        assert len(ferdata.list_files(path, source, **options)) > 0
    assert recognised_with(path, options) == source


def test_every_source_is_in_the_list():
    assert {row["source"] for row in TABLE.values()} == {*dataset_loading.SOURCES, "packed"}


# ---- what is refused says what to do ---------------------------------------------------------


def test_a_copy_with_three_frames_is_told_which_protocol_fits(tmp_path, capsys):
    import ferdata.cli

    made = LAYOUTS["ck-plus-three-frames"](tmp_path / "data")
    message = "S005/001: 3 frames, the protocol needs 4 .*take protocol='last-three' or protocol="
    with pytest.raises(DataError, match=message):
        ferdata.open(made.path)
    assert ferdata.cli.main(["pack", str(made.path), str(tmp_path / "out.npz")]) == 2
    assert "take --protocol last-three or --protocol last-frame" in capsys.readouterr().err
    words = ["pack", str(made.path), str(tmp_path / "out.npz"), "--protocol", "last-three"]
    assert ferdata.cli.main(words) == 0


def test_ck48_has_no_first_frames_for_the_papers_protocol(tmp_path):
    made = LAYOUTS["ck48"](tmp_path / "data")
    with pytest.raises(DataError, match="no folder neutral; .* protocol='last-three' and prot"):
        ferdata.open(made.path, protocol="paper")
    assert len(ferdata.list_files(made.path, protocol="last-three")) == 21
    (made.path / "anger/S010_001_00000003.png").unlink()
    with pytest.raises(DataError, match="2 frames of sequence S010_001, the protocol needs 3; pro"):
        ferdata.list_files(made.path, protocol="last-three")
    with_neutral = LAYOUTS["ck-folders-with-neutral"](tmp_path / "neutral")
    assert len(ferdata.list_files(with_neutral.path, protocol="paper")) == 22
    assert len(ferdata.list_files(with_neutral.path, protocol="last-three")) == 21


def test_a_photo_with_several_faces_is_not_resized_whole(tmp_path):
    made = LAYOUTS["expw"](tmp_path / "data")
    with pytest.raises(DataError, match="several faces in one photo; .*framing='fer2013' cuts"):
        ferdata.open(made.path, framing=None)
    data = ferdata.open(made.path)
    left, right = data.images[:2]
    assert not np.array_equal(left, right)
    one = ferdata.find_faces(
        made.path / "image/origin/pair_1.jpg", "fer2013", boxes=[[240, 40, 120, 120]]
    )
    np.testing.assert_array_equal(right, one.images[0])


def test_affectnet_cuts_faces_out_by_the_boxes_of_its_lists(tmp_path):
    made = LAYOUTS["affectnet-lists"](tmp_path / "data")
    data = ferdata.open(made.path)
    for i, name in enumerate(data.ids.tolist()):
        expected = ferdata.find_faces(made.path / name, "fer2013", boxes=[[60, 40, 120, 120]])
        np.testing.assert_array_equal(data.images[i], expected.images[0])


def test_the_check_tells_what_affectnet_leaves_out(tmp_path):
    made = LAYOUTS["affectnet"](tmp_path / "data")
    told = ferdata.check(made.path).inspected.dataset.unread
    assert told.left_out["images without a face (10)"] == 2 and not told.look_wrong


def test_votes_of_the_output_of_ferplus(tmp_path):
    made = LAYOUTS["ferplus-program"](tmp_path / "data")
    voted = ferdata.open(made.path, target="votes")
    assert len(voted) == 4 and voted.has_label.tolist().count(False) == 1
    np.testing.assert_allclose(voted.targets.sum(1), 1, rtol=1e-6)
    by_id = dict(zip(voted.ids.tolist(), voted.targets))
    np.testing.assert_allclose(
        by_id["FER2013Train/fer0000001.png"], np.array([0, 0, 0, 0, 2, 0, 0, 8]) / 10, rtol=1e-6
    )
    faces = ferdata.open_training_faces(made.path, target="votes")
    assert faces.targets == "distribution" and faces.framing == "fer2013"
    assert faces.dataset.label_space == ferdata.MICROEXPNET8 and len(faces.dataset) == 4
    labels = ferdata.open_training_faces(made.path)
    assert labels.targets == "labels" and len(labels.dataset) == 3
    with pytest.raises(ValueError, match="target='votes' needs votes, and jaffe has none"):
        ferdata.open_training_faces(LAYOUTS["jaffe"](tmp_path / "j").path, target="votes")


def test_train_csv_has_no_splits_and_takes_no_votes(tmp_path):
    made = LAYOUTS["fer2013-train-csv"](tmp_path / "data")
    votes = LAYOUTS["fer2013-csv-with-votes"](tmp_path / "votes").options["votes"]
    with pytest.raises(DataError, match="no column Usage, by which the rows of .* are checked; th"):
        ferdata.open(made.path, votes=votes)


# ---- what is wrong is named ------------------------------------------------------------------


def affectnet_row(text):
    def spoil(root):
        path = root / "Manually_Annotated_file_lists/training.csv"
        path.write_text(path.read_text() + text + "\n")

    return spoil


def remove(place):
    return lambda root: (root / place).unlink()


def text(place, content):
    return lambda root: write(root / place, content)


def npy(place, array):
    return lambda root: np.save(root / place, array, allow_pickle=array.dtype.hasobject)


NOTES = "train_set/annotations"
BROKEN = {
    "affectnet": {
        "number 11": (
            npy(f"{NOTES}/0_exp.npy", np.array(11)),
            "0_exp.npy: expression '11', expect",
        ),
        "two numbers": (npy(f"{NOTES}/0_exp.npy", np.array([1, 2])), r"of shape \(2,\), expected"),
        "objects": (npy(f"{NOTES}/0_exp.npy", np.array([None])), "0_exp.npy: .* holds Python obj"),
        "no npy": (text(f"{NOTES}/0_exp.npy", "3"), "0_exp.npy: no readable .npy file"),
        "long": (npy(f"{NOTES}/0_exp.npy", np.zeros(9999)), "at most 4,096 are read"),
        "cut": (text(f"{NOTES}/0_exp.npy", b"\x93NUMPY\x01\0v\0{"), "no readable .npy file"),
    },
    "affectnet-lists": {
        "number": (affectnet_row("689/a.jpg,1,1,9,9,x,12,0,0"), "line 7: expression '12'"),
        "no number": (affectnet_row("689/a.jpg,1,1,9,9,x,,0,0"), "line 7: expression ''"),
        "twice": (
            affectnet_row("689/a.jpg,1,1,9,9,x,1,0,0"),
            "line 7: .*a.jpg is already in .*line 2",
        ),
        "fields": (affectnet_row("689/a.jpg,1"), "line 7: 2 fields, expected 9"),
        "box": (affectnet_row("2/c.JPG,NULL,1,9,9,x,1,0,0"), "line 7: face_x, .* expected whole"),
        "no box": (affectnet_row("2/c.JPG,1,1,0,9,x,1,0,0"), "line 7: a face of 0 x 9 px"),
        "outside": (
            affectnet_row("../x.jpg,1,1,9,9,x,1,0,0"),
            "line 7: '../x.jpg': expected the p",
        ),
    },
    "ferplus-program": {
        "no votes": (text("FER2013Test/fer9.png", b"x"), r"fer9.png: no votes in .*\(1 such im"),
        "no image": (remove("FER2013Test/fer0000003.png"), "line 1: no image .* writes the images"),
        "11 votes": (
            text("FER2013Test/label.csv", "a.png,9,0,0,0,2,0,0,0,0,0\n"),
            "line 1: 11 votes",
        ),
        "9 columns": (
            text("FER2013Test/label.csv", "a.png,9,0,0,0,0,0,0,0,0\n"),
            "line 1: 'a.png,9",
        ),
        "a box": (
            text("FER2013Test/label.csv", 'a.png,"(0, 0, 9, 9)",9,0,0,0,0,0,0,0,0,0'),
            "line 1",
        ),
        "letters": (
            text("FER2013Test/label.csv", "a.png,x,0,0,0,0,0,0,0,0,0"),
            "neutral has 'x' vot",
        ),
    },
    "expw": {
        "fields": (
            text("label/label.lst", "a.jpg 0 1 2 3 4 5\n"),
            "line 1: 'a.jpg 0 1 2 3 4 5', exp",
        ),
        "label 7": (
            text("label/label.lst", "pair_1.jpg 0 1 1 9 9 5 7\n"),
            r"line 1: label 7, .*0\.\.6",
        ),
        "box": (text("label/label.lst", "pair_1.jpg 0 1 9 9 9 5 0\n"), "line 1: a box from left 9"),
        "no photo": (
            text("label/label.lst", "x.jpg 0 1 1 9 9 5 0\n"),
            "folder with the photo 'x.jpg'",
        ),
        "slash": (text("label/label.lst", "../x.jpg 0 1 1 9 9 5 0\n"), "line 1: '../x.jpg 0"),
        "other numbers": (
            text("label/label.lst", "pair_1.jpg 0 1 1 9 9 5 0\npair_1.jpg 0 1 1 9 9 5 3\n"),
            "line 2: face 0 of 'pair_1.jpg' is already in line 1, with other numbers",
        ),
        "empty": (text("label/label.lst", ""), "label.lst: empty, expected lines such as"),
    },
    "kdef": {
        "twice": (text("x/AF01ANS.JPG", b"x"), "AF01ANS.JPG: the same name as .*AF01ANS"),
        "folder": (text("happy/BF09ANS.JPG", b"x"), "angry by its name, but in the folder happy/"),
    },
    "sfew": {
        "class": (
            lambda root: (root / "Train_Aligned_Faces/Bored").mkdir(),
            "unexpected folder, exp",
        ),
        "twice": (
            lambda root: (root / "Train_Aligned_Faces").rename(root / "Val_Aligned_Faces"),
            "the same split as",
        ),
    },
    "raf-db-compound": {
        "label 12": (
            text("EmoLabel/list_patition_label.txt", "train_00001.jpg 12\n"),
            "line 1: 'train_00001.jpg 12', expected",
        ),
        "not compound": (
            text("EmoLabel/list_patition_label.txt", "train_00001.jpg 8\n"),
            "line 1: 'train_00001.jpg 8', expected an image and a label 1 to 7",
        ),
    },
}


@pytest.mark.parametrize("name, case", [(n, c) for n in BROKEN for c in BROKEN[n]])
def test_broken_copies(name, case, tmp_path):
    made = LAYOUTS[name](tmp_path / "data")
    spoil, message = BROKEN[name][case]
    spoil(made.path)
    with pytest.raises(DataError, match=message):
        ferdata.list_files(made.path, TABLE[name]["source"])


@pytest.mark.parametrize("at, message", [(0, "damaged"), (-2000, "ends within a file|incomplete")])
def test_damaged_tar(at, message, tmp_path):
    made = LAYOUTS["fer2013-tar"](tmp_path / "data")
    content = bytearray(made.path.read_bytes())
    if at:
        content = content[: len(content) // 2]
    else:
        content[1024 + 130] ^= 5  # in the header of the second member
    write(made.path, bytes(content))
    with pytest.raises(DataError, match=f"fer2013.tar: .*({message})"):
        ferdata.open(made.path)
