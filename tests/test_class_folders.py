"""Class folders: those of any data set, of CK+48 (people in the file names) and of FER2013."""

import shutil

import numpy as np
import pytest
from source_trees import Linked, faces, save, write

from ferdata.errors import DataError
from ferdata.labels import CK48, CK_PLUS, FER2013_FOLDERS
from ferdata.sources import ck_folders, fer2013_folders, folders
from ferdata.sources.dataset_loading import load_listed, recognise
from ferdata.warp import resize_images


def labels_by_folder(files):
    """{class folder: class name}; fails if a folder holds two classes."""
    found = {}
    for path, label in zip(files.paths, files.labels):
        name = files.label_space.classes[label]
        assert found.setdefault(path.split("/")[-2], name) == name
    return found


def class_tree(root, places):
    link = Linked(root)
    for place in places:
        link(place)
    return link.root


# Any class folders.


def test_classes_are_the_folders_in_alphabetical_order(tmp_path):
    root = class_tree(tmp_path / "mine", ["sad/1.png", "Happy/2.png", "angry/3.png", "angry/4.png"])
    files = folders.list_files(root)
    assert files.label_space.classes == ("angry", "Happy", "sad")
    assert labels_by_folder(files) == {"angry": "angry", "Happy": "Happy", "sad": "sad"}
    assert files.paths == ("Happy/2.png", "angry/3.png", "angry/4.png", "sad/1.png")
    assert files.split is None and files.subjects is None and files.framing is None


def test_splits(tmp_path):
    places = ["train/happy/1.png", "train/sad/1.png", "val/happy/1.png", "val/sad/9.png"]
    root = class_tree(tmp_path / "mine", [*places, "Testing/happy/3.png", "Testing/sad/3.png"])
    files = folders.list_files(root)
    assert dict(zip(files.paths, files.split.tolist())) == {
        "Testing/happy/3.png": "test",
        "Testing/sad/3.png": "test",
        "train/happy/1.png": "train",
        "train/sad/1.png": "train",
        "val/happy/1.png": "validation",
        "val/sad/9.png": "validation",
    }
    assert recognise(root).why.endswith("happy, sad in Testing/, train/, val/")


def test_classes_spelt_differently_in_two_splits_are_one_class(tmp_path):
    places = ["train/happy/1.png", "train/sad/1.png", "test/Happiness/1.png", "test/Sad/9.png"]
    files = folders.list_files(class_tree(tmp_path / "mine", places))
    by_path = dict(zip(files.paths, files.labels.tolist()))
    assert len(files.label_space) == 2
    assert by_path["train/happy/1.png"] == by_path["test/Happiness/1.png"]
    assert by_path["train/sad/1.png"] == by_path["test/Sad/9.png"]


def test_class_folders_inside_one_more_folder(tmp_path):
    root = class_tree(tmp_path / "mine", ["data/faces/happy/1.png", "data/faces/sad/1.png"])
    assert folders.list_files(root).paths == ("data/faces/happy/1.png", "data/faces/sad/1.png")


def test_named_classes_order_any_folders(tmp_path):
    root = class_tree(tmp_path / "mine", ["0/1.png", "1/1.png", "2/1.png"])
    with pytest.raises(DataError, match="expected one folder with folders named after emotions"):
        folders.list_files(root)
    root = class_tree(tmp_path / "more" / "mine", ["b/1.png", "a/1.png"])
    files = folders.list_files(root, classes=("b", "a"))
    assert labels_by_folder(files) == {"a": "a", "b": "b"}
    assert files.label_space.classes == ("b", "a")


def test_images_are_resized_whole(tmp_path):
    small = faces().images[:2, ::2, ::2]
    for i, name in enumerate(("happy", "sad")):
        save(tmp_path / "mine" / name / "1.png", small[i])
    data = load_listed(folders.list_files(tmp_path / "mine"))
    np.testing.assert_array_equal(data.images, resize_images(small, 84))
    assert data.ids.tolist() == ["happy/1.png", "sad/1.png"]


BROKEN = {
    "an unknown class": (
        lambda t: (t / "train/hapy").mkdir(),
        "train/hapy: the name is not a known class .like 'happy'.; rename the folder",
    ),
    "a class twice": (
        lambda t: shutil.copytree(t / "train/happy", t / "train/Happiness"),
        "happy: the same class as Happiness/ beside it",
    ),
    "a folder in a class": (
        lambda t: (t / "train/happy/more").mkdir(),
        "happy/more: a folder inside a class folder",
    ),
    "a class without images": (
        lambda t: [(t / s / "happy/1.png").unlink() for s in ("train", "test")],
        "no images of class 'happy'",
    ),
    "classes beside splits": (
        lambda t: [(t / name).mkdir() for name in ("happy", "sad")],
        "class folders beside test/, which holds class folders too",
    ),
    "a split twice": (
        lambda t: shutil.copytree(t / "test", t / "testing"),
        "two folders of the same split among test/, testing/, train/",
    ),
    "an unknown split": (
        lambda t: shutil.copytree(t / "test", t / "extra"),
        "extra: class folders of an unknown split",
    ),
    "two sets": (
        lambda t: shutil.copytree(t / "test", t / "older" / "copy" / "faces"),
        "expected one folder with .* found .*, .*older/copy/faces",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders(tmp_path, case):
    spoil, message = BROKEN[case]
    root = class_tree(
        tmp_path / "mine", [f"{s}/{c}/1.png" for s in ("train", "test") for c in ("happy", "sad")]
    )
    assert len(folders.list_files(root)) == 4
    spoil(root)
    with pytest.raises(DataError, match=message):
        folders.list_files(root)


# CK+48 and similar copies.

CK48_COUNTS = dict(anger=135, contempt=54, disgust=177, fear=75, happy=207, sadness=84)
CK48_COUNTS["surprise"] = 249


def test_ck48_in_full(tmp_path):
    link = Linked(tmp_path / "CK+48")
    sequence = 0
    for name, n in CK48_COUNTS.items():
        for i in range(n // 3):
            for frame in range(14, 17):
                link(f"{name}/S{sequence % 118 + 10:03d}_{sequence // 118 + 1:03d}_{frame:08d}.png")
            sequence += 1
    assert recognise(link.root).source == "ck_folders"
    files = ck_folders.list_files(link.root)
    assert len(files) == 981 and files.counts["subjects"] == 118
    assert files.counts == files.published
    assert {k: files.counts[k] for k in CK48_COUNTS} == CK48_COUNTS
    assert files.label_space is CK48 and CK48.classes == tuple(CK48_COUNTS)
    assert labels_by_folder(files) == {name: name for name in CK48_COUNTS}


def ck_tree(tmp_path, *places):
    """The seven classes with one image each, then `places`."""
    each = [f"{name}/S{10 + i:03d}_001_00000015.png" for i, name in enumerate(CK48.classes)]
    return class_tree(tmp_path / "CK+48", [*each, *places])


def test_subjects_and_labels_by_name(tmp_path):
    root = ck_tree(tmp_path, "happy/S502_004_00000009_flip.png")
    files = ck_folders.list_files(root)
    assert dict(zip(files.paths, files.subjects.tolist())) == {
        "anger/S010_001_00000015.png": "S010",
        "contempt/S011_001_00000015.png": "S011",
        "disgust/S012_001_00000015.png": "S012",
        "fear/S013_001_00000015.png": "S013",
        "happy/S014_001_00000015.png": "S014",
        "happy/S502_004_00000009_flip.png": "S502",
        "sadness/S015_001_00000015.png": "S015",
        "surprise/S016_001_00000015.png": "S016",
    }
    assert files.framing is None


def test_with_a_neutral_folder_the_classes_are_those_of_ck_plus(tmp_path):
    root = ck_tree(tmp_path, "neutral/S010_001_00000001.png", "neutral/S011_001_00000001.png")
    files = ck_folders.list_files(root)
    assert files.label_space is CK_PLUS and files.published == {}
    assert labels_by_folder(files) == {c: c for c in CK_PLUS.classes}


@pytest.mark.parametrize(
    "place, message",
    [
        ("happy/S010_001_00000014.png", "happy, but anger/S010_001_00000015.png of the same seque"),
        ("happy/face.png", "happy/face.png: expected a name such as S010_0"),
        ("happy/S10_001_00000014.png", "S10_001_00000014.png: expected a name such as S010_0"),
        (
            "bored/S020_001_00000014.png",
            "bored: unexpected folder, expected one of anger, cont",
        ),
    ],
)
def test_broken_ck_folders(tmp_path, place, message):
    with pytest.raises(DataError, match=message):
        ck_folders.list_files(ck_tree(tmp_path, place))


# FER2013 as folders


def fer2013_tree(root, splits=("train", "test"), side_px=48):
    image = faces().images[0, :side_px, :side_px]
    usage = {"train": "Training", "test": "PrivateTest", "validation": "PublicTest"}
    for split in splits:
        for i, name in enumerate(FER2013_FOLDERS.classes):
            save(root / split / name / f"{usage[split]}_{i + 10}.png", image)
    return root


def test_fer2013_classes_are_alphabetical(tmp_path):
    """The order in which libraries list folders: angry 0 .. neutral 4, sad 5, surprise 6."""
    files = fer2013_folders.list_files(fer2013_tree(tmp_path / "fer"))
    assert files.label_space is FER2013_FOLDERS
    documented = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    assert labels_by_folder(files) == {name: name for name in documented}
    assert [FER2013_FOLDERS.index(name) for name in documented] == list(range(7))
    assert files.split.tolist() == ["test"] * 7 + ["train"] * 7
    assert files.published["images"] == 35887 == sum(files.published[c] for c in documented)
    assert files.published["in train"] + files.published["in test"] == 35887


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "validation"), ("train",)])
def test_fer2013_folders_are_recognised(tmp_path, splits):
    root = fer2013_tree(tmp_path / "fer", splits)
    assert recognise(root).source == "fer2013_folders"
    assert "48 x 48" in recognise(root).why


def test_larger_images_in_such_folders_are_not_fer2013(tmp_path):
    assert recognise(fer2013_tree(tmp_path / "raf", side_px=100)).source == "folders"


def test_fer2013_is_recognised_even_if_its_first_image_is_damaged(tmp_path):
    """A damaged image is reported when it is read, and does not change what the folders are."""
    root = fer2013_tree(tmp_path / "fer")
    for path in root.glob("*/angry/*"):
        path.write_bytes(b"no picture")
    assert recognise(root).source == "fer2013_folders"
    files = fer2013_folders.list_files(fer2013_tree(tmp_path / "half", ("train", "validation")))
    assert "in test" not in files.published and files.published["images"] == 35887


def test_fer2013_split_by_names(tmp_path):
    root = fer2013_tree(tmp_path / "fer")
    shutil.copy(root / "test/sad/PrivateTest_15.png", root / "test/sad/PublicTest_77.png")
    files = fer2013_folders.list_files(root, split="names")
    by_path = dict(zip(files.paths, files.split.tolist()))
    assert by_path["test/sad/PublicTest_77.png"] == "validation"
    assert by_path["test/sad/PrivateTest_15.png"] == "test"
    assert by_path["train/sad/Training_15.png"] == "train"
    folders_say = fer2013_folders.list_files(root)
    assert dict(zip(folders_say.paths, folders_say.split))["test/sad/PublicTest_77.png"] == "test"
    shutil.copy(root / "test/sad/PrivateTest_15.png", root / "test/sad/15.png")
    with pytest.raises(
        DataError,
        match="test/sad/15.png: expected a name such as Training_3908.jpg, which tells the split",
    ):
        fer2013_folders.list_files(root, split="names")
    with pytest.raises(ValueError, match="split: expected one of folders, names"):
        fer2013_folders.list_files(root, split="usage")


def test_broken_fer2013_folders(tmp_path):
    root = fer2013_tree(tmp_path / "fer")
    write(root / "train/contempt/1.png", "x")
    with pytest.raises(DataError, match="train/contempt: unexpected folder, expected one of angr"):
        fer2013_folders.list_files(root)
    shutil.rmtree(root / "train/contempt")
    shutil.rmtree(root / "train/sad")
    with pytest.raises(DataError, match="expected one folder with train/ and test/ of the folders"):
        fer2013_folders.list_files(root)


def test_labels_of_one_image_in_every_source_agree_by_name(tmp_path):
    """Different label spaces number a class differently, but find it by the same name."""
    spaces = [CK48, CK_PLUS, FER2013_FOLDERS]
    assert [space.index("happy") for space in spaces] == [4, 5, 3]
    assert [space.index("sad") for space in spaces] == [5, 6, 5]
