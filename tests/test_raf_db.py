"""Listing RAF-DB: numbers 1..7 get their documented names; the list must fit the images."""

import shutil

import numpy as np
import pytest
from source_trees import Linked, faces, save, write

from ferdata.errors import DataError
from ferdata.labels import RAF_DB
from ferdata.sources.dataset_loading import load_listed, recognise
from ferdata.sources.raf_db import list_files

# As published with the data: 1 Surprise 2 Fear 3 Disgust 4 Happiness 5 Sadness 6 Anger 7 Neutral.
DOCUMENTED = dict(
    enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), 1)
)
TRAIN = dict(zip(DOCUMENTED, (1290, 281, 717, 4772, 1982, 705, 2524)))
TEST = dict(zip(DOCUMENTED, (329, 74, 160, 1185, 478, 162, 680)))


def raf(root, labels, images="Image/aligned", lists="EmoLabel"):
    """A small RAF-DB.  labels: {"train_00001": "5"}."""
    link = Linked(root)
    for stem in labels:
        link(f"{images}/{stem}_aligned.jpg")
    text = "".join(f"{stem}.jpg {label}\n" for stem, label in labels.items())
    write(root / lists / "list_patition_label.txt", text)
    return root


SMALL = {f"{s}_{n:05d}": str(n) for s in ("train", "test") for n in range(1, 8)}


def test_full_size(tmp_path):
    labels, number = {}, 0
    for split, counts in (("train", TRAIN), ("test", TEST)):
        for label, n in counts.items():
            for _ in range(n):
                number += 1
                labels[f"{split}_{number:05d}"] = label
    files = list_files(raf(tmp_path / "raf", labels))
    assert files.counts == files.published and len(files) == 15339
    assert (files.counts["in train"], files.counts["in test"]) == (12271, 3068)


def test_numbers_by_name(tmp_path):
    files = list_files(raf(tmp_path / "raf", SMALL))
    assert RAF_DB.classes == tuple(DOCUMENTED.values())
    for path, label, split, row in zip(files.paths, files.labels, files.split, files.rows):
        stem = path.rpartition("/")[2].removesuffix("_aligned.jpg")
        assert RAF_DB.classes[label] == DOCUMENTED[int(SMALL[stem])]
        assert split == stem.split("_")[0] and list(SMALL)[row] == stem
    assert files.framing is None and files.subjects is None


@pytest.mark.parametrize(
    "images, lists",
    [
        ("Image/aligned/aligned", "EmoLabel"),
        ("basic/Image/aligned", "basic/EmoLabel"),
        ("RAF-DB/basic/Image/aligned", "RAF-DB/basic/EmoLabel"),
    ],
)
def test_nested_folders(tmp_path, images, lists):
    root = raf(tmp_path / "raf", SMALL, images, lists)
    assert recognise(root).source == "raf_db"
    assert len(list_files(root)) == 14


def numbered(root):
    link = Linked(root)
    for stem, label in SMALL.items():
        link(f"DATASET/{stem.split('_')[0]}/{label}/{stem}_aligned.jpg")
    return root


def test_numbered_folders(tmp_path):
    root = numbered(tmp_path / "raf")
    write(root / "train_labels.csv", "image,label\n")
    assert recognise(root).source == "raf_db"
    files = list_files(root)
    for path, label, split in zip(files.paths, files.labels, files.split):
        _, folder, number, _ = path.split("/")
        assert RAF_DB.classes[label] == DOCUMENTED[int(number)] and split == folder


def test_images_are_resized_whole(tmp_path):
    root = raf(tmp_path / "raf", {"train_00001": 4})
    (root / "Image/aligned/train_00001_aligned.jpg").unlink()
    save(root / "Image/aligned/train_00001_aligned.png", np.full((100, 100), 77, np.uint8))
    data = load_listed(list_files(root))
    assert data.images.shape == (1, 84, 84) and (data.images == 77).all()
    assert data.split.tolist() == ["train"] and data.classes[data.labels[0]] == "happiness"
    assert len(faces()) == 32


def line(text, n=14):
    def spoil(root):
        file = root / "EmoLabel/list_patition_label.txt"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(lines[: n - 1] + [text] + lines[n:]) + "\n")

    return spoil


BROKEN = {
    "label 0": (line("test_00007.jpg 0"), "line 14: 'test_00007.jpg 0', expected an image and a"),
    "label 8": (line("test_00007.jpg 8"), "line 14: .* a label 1 to 7"),
    "label 07": (line("test_00007.jpg 07"), "line 14: "),
    "no label": (line("test_00007.jpg"), "line 14: 'test_00007.jpg', expected"),
    "a path": (line("../test_00007.jpg 7"), r"line 14: '../test_00007.jpg 7'"),
    "twice": (line("test_00006.jpg 7"), "line 14: test_00006.jpg is already in line 13"),
    "blank inside": (line("", 3), "line 3: '', expected an image"),
    "long": (line("x" * 5000), "line 14: 'xxx"),
    "NUL": (line("test_00007.jpg\0 7"), "line 14: "),
    "no image": (
        lambda t: (t / "Image/aligned/test_00003_aligned.jpg").unlink(),
        "line 10: no image test_00003_aligned.jpg in .*aligned",
    ),
    "no label for an image": (
        lambda t: shutil.copy(
            t / "Image/aligned/test_00003_aligned.jpg", t / "Image/aligned/test_99_aligned.jpg"
        ),
        r"test_99_aligned.jpg: no label in .*list_patition_label.txt \(1 such images\)",
    ),
    "a strange image": (
        lambda t: write(t / "Image/aligned/face.jpg", "x"),
        "face.jpg: expected a name such as train_00001_aligned.jpg",
    ),
    "one face twice": (
        lambda t: shutil.copy(
            t / "Image/aligned/test_00003_aligned.jpg", t / "Image/aligned/test_00003_aligned.png"
        ),
        "test_00003_aligned.jpg and test_00003_aligned.png are the same image",
    ),
    "no images": (
        lambda t: shutil.rmtree(t / "Image"),
        "expected one folder Image/aligned with images beside EmoLabel, found none",
    ),
    "two lists": (
        lambda t: shutil.copy(
            t / "EmoLabel/list_patition_label.txt", t / "EmoLabel/list_partition_label.txt"
        ),
        "expected one copy of RAF-DB.* found .*partition.*, .*patition",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_trees(tmp_path, case):
    spoil, message = BROKEN[case]
    root = raf(tmp_path / "raf", SMALL)
    spoil(root)
    with pytest.raises(DataError, match=message):
        list_files(root)


@pytest.mark.parametrize("end", ["", "\n", "\n\n \r\n"])
def test_blank_lines_at_the_end_and_crlf(tmp_path, end):
    root = raf(tmp_path / "raf", SMALL)
    text = "\ufeff" + "\r\n".join(f"{s}.jpg {n}" for s, n in SMALL.items()) + end
    write(root / "EmoLabel/list_patition_label.txt", text)
    assert len(list_files(root)) == 14


def test_broken_numbered_folders(tmp_path):
    root = numbered(tmp_path / "raf")
    (root / "DATASET/train/8").mkdir()
    with pytest.raises(DataError, match="train/8: unexpected folder, expected 1 to 7"):
        list_files(root)
    (root / "DATASET/train/8").rmdir()
    image = root / "DATASET/train/3/train_00003_aligned.jpg"
    shutil.copy(image, root / "DATASET/train/4/train_00003_aligned.jpg")
    with pytest.raises(
        DataError, match="4/train_00003_aligned.jpg: the same image as .*/3/train_0"
    ):
        list_files(root)
    image.rename(root / "DATASET/test/3/train_00003_aligned.jpg")
    with pytest.raises(DataError, match="an image of train/ by its name"):
        list_files(root)
