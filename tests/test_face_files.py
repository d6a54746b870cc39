"""Listings: each image once with one label, complete columns, correct counts."""

from pathlib import Path

import pytest

from ferdata.errors import DataError
from ferdata.labels import OULU_CASIA, LabelError
from ferdata.sources.face_files import UNLABELLED, FaceFile, face_files

ROOT = Path("faces")


def listing(*files, **about):
    return face_files(ROOT, list(files), OULU_CASIA, source="mine", **about)


def test_counts():
    files = listing(
        FaceFile("a.png", 0, "Ann", "train"),
        FaceFile("b.png", 3, "Ann", "test"),
        FaceFile("c.png", UNLABELLED, "Bob", "test"),
        extra={"sequences": 2},
        protocol="some",
    )
    expected = {"images": 3, "subjects": 2, "in test": 2, "in train": 1}
    expected |= dict(anger=1, disgust=0, fear=0, happiness=1, sadness=0, surprise=0)
    assert files.counts == expected | {"unlabelled": 1, "sequences": 2}
    assert files.labels.tolist() == [0, 3, 0] and files.has_label.tolist() == [True, True, False]
    assert files.files == [ROOT / "a.png", ROOT / "b.png", ROOT / "c.png"]
    assert files.summary().startswith("mine (some): 3 images, 2 subjects, 2 in test, 1 in train")


@pytest.mark.parametrize(
    "files, error, message",
    [
        ([], DataError, "faces: no images found"),
        ([FaceFile("a.png", 0), FaceFile("a.png", 1)], DataError, "faces/a.png: listed more than"),
        ([FaceFile("a.png", 0, "Ann"), FaceFile("b.png", 0)], DataError, "b.png: no subject, but"),
        ([FaceFile("a.png", 0), FaceFile("b.png", 0, row=1)], DataError, "a.png: no row, but"),
        ([FaceFile("a.png", 6)], LabelError, r"label 6 \(entry 0\) is outside 'oulu_casia'"),
    ],
)
def test_invalid_listings_are_refused(files, error, message):
    with pytest.raises(error, match=message):
        listing(*files)
