"""Listing Oulu-CASIA: a full-size copy, both editions, every nesting, every kind of damage."""

import shutil

import numpy as np
import pytest
from source_trees import OULU_EMOTIONS, Linked, full_oulu_casia, oulu_casia, write

from ferdata.errors import DataError
from ferdata.labels import OULU_CASIA
from ferdata.photos.faces import find_faces
from ferdata.sources.dataset_loading import load_listed, recognise
from ferdata.sources.oulu_casia import list_files

STRONG = "OriginalImg/VL/Strong"


def linked(root, tops=(STRONG,), n_people=2, numbers=range(0, 12)):
    link = Linked(root)
    for top in tops:
        for person in range(n_people):
            for emotion in OULU_EMOTIONS:
                for number in numbers:
                    link(f"{top}/P{person + 1:03d}/{emotion}/{number:03d}.jpeg")
    return root


@pytest.mark.parametrize("first", [0, 1])
def test_full_size_paper(tmp_path, first):
    files = list_files(full_oulu_casia(tmp_path / "oulu", first=first))
    assert len(files) == 1440 and files.counts["subjects"] == 80
    assert [files.counts[c] for c in OULU_CASIA.classes] == [240] * 6
    assert files.counts == files.published
    assert files.counts["sequences"] == 480 and files.framing == "paper"


def test_classes_by_name(tmp_path):
    """The classes are the folders: six basic expressions, no neutral."""
    files = list_files(linked(tmp_path / "oulu"))
    assert OULU_CASIA.classes == tuple(e.lower() for e in OULU_EMOTIONS)
    for path, label, subject in zip(files.paths, files.labels, files.subjects):
        *_, person, emotion, _ = path.split("/")
        assert OULU_CASIA.classes[label] == emotion.lower() and subject == person


@pytest.mark.parametrize("numbers", [(0, 1, 2, 9, 10), (1, 2, 3, 99, 100)])
def test_the_last_three_by_number(tmp_path, numbers):
    link = Linked(tmp_path / "oulu")
    for number in numbers:
        link(f"{STRONG}/P001/Anger/{number}.jpeg")
    names = [p.rpartition("/")[2] for p in list_files(link.root).paths]
    assert names == [f"{n}.jpeg" for n in numbers[-3:]]
    (path,) = list_files(link.root, protocol="last-frame").paths
    assert path == f"{STRONG}/P001/Anger/{numbers[-1]}.jpeg"


@pytest.mark.parametrize(
    "top, kind",
    [
        ("B_OriginalImg/B_OriginalImg/OriginalImg/VL/Strong", "original"),
        ("B_OriginalImg/B_OriginalImg/VL/Strong", "original"),
        ("B_OriginalImg/VL/Strong", "original"),
        ("VL/Strong", "original"),
        ("vl/strong", "original"),
        ("Preprocess Img/VL/Strong", "preprocessed"),
        ("OriginalImg/Preprocess Img/VL/Strong", "preprocessed"),
        ("C_PreProcess Img/PreProcess Img/VL/Strong", "preprocessed"),
    ],
)
def test_nested_and_renamed_folders(tmp_path, top, kind):
    root = linked(tmp_path / "oulu", (top,))
    assert recognise(root).source == "oulu_casia"
    files = list_files(root)
    assert len(files) == 36 and f"{kind}, VL Strong" in files.protocol
    assert files.framing == ("paper" if kind == "original" else None)


def test_recordings_are_distinguished(tmp_path):
    tops = [
        f"{kind}/{spectrum}/{light}"
        for kind in ("OriginalImg", "Preprocess Img")
        for spectrum in ("VL", "NI")
        for light in ("Strong", "Weak", "Dark")
    ]
    root = linked(tmp_path / "oulu", tops, n_people=1, numbers=range(3))
    for top in tops:
        kind, spectrum, light = top.split("/")
        files = list_files(
            root,
            protocol="last-three",
            spectrum=spectrum,
            illumination=light,
            images="original" if kind == "OriginalImg" else "preprocessed",
        )
        assert len(files) == 18 and {p.startswith(top + "/") for p in files.paths} == {True}
    assert {p.startswith(STRONG) for p in list_files(root).paths} == {True}


def test_folders_that_are_not_illuminations_are_ignored(tmp_path):
    root = linked(tmp_path / "oulu", (STRONG, "OriginalImg/VL/Readme"))
    assert {path.startswith(STRONG) for path in list_files(root).paths} == {True}


def test_opened_at_an_inner_folder(tmp_path):
    root = linked(tmp_path / "oulu")
    assert len(list_files(root / "OriginalImg")) == len(list_files(root / "OriginalImg/VL")) == 36


def test_photos_become_framed_faces(tmp_path):
    root = oulu_casia(tmp_path / "oulu", n_people=1)
    for emotion in OULU_EMOTIONS[2:]:
        shutil.rmtree(root / STRONG / "P001" / emotion)
    data = load_listed(list_files(root, protocol="last-frame"))
    assert data.ids.tolist() == [f"{STRONG}/P001/{e}/003.jpeg" for e in ("Anger", "Disgust")]
    assert data.labels.tolist() == [0, 1]
    expected = find_faces(root / str(data.ids[1]), "paper").images[0]
    np.testing.assert_array_equal(data.images[1], expected)


BROKEN = {
    "another recording": (
        lambda t: (t / STRONG).rename(t / "OriginalImg/VL/Weak"),
        "expected one folder VL/Strong of original images .* there is: VL Weak",
    ),
    "two copies": (
        lambda t: shutil.copytree(t / "OriginalImg", t / "B_OriginalImg"),
        "found 2; there is: .*B_OriginalImg/VL/Strong, .*OriginalImg/VL/Strong",
    ),
    "an unknown class": (
        lambda t: (t / STRONG / "P001/Anger").rename(t / STRONG / "P001/Contempt"),
        "P001/Contempt: unexpected folder, expected one of anger, disgust",
    ),
    "a class twice": (
        lambda t: shutil.copytree(t / STRONG / "P001/Happiness", t / STRONG / "P001/Happy"),
        "P001/Happy: the same class as Happiness/",
    ),
    "a strange subject": (
        lambda t: (t / STRONG / "logs").mkdir(),
        "logs: unexpected folder, expected one such as P001",
    ),
    "a subject without images": (
        lambda t: (t / STRONG / "P003").mkdir(),
        "P003: no folders Anger",
    ),
    "two frames": (
        lambda t: [(t / STRONG / f"P001/Fear/{n:03d}.jpeg").unlink() for n in range(10)],
        "P001/Fear: 2 frames, the protocol needs 3",
    ),
    "a strange frame": (
        lambda t: write(t / STRONG / "P001/Fear/peak.jpeg", "x"),
        "peak.jpeg: not the name of a frame of this sequence, such as 000.jpeg",
    ),
    "a frame twice": (
        lambda t: write(t / STRONG / "P001/Fear/7.jpeg", "x"),
        "007.jpeg and 7.jpeg are both frame 7",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_trees(tmp_path, case):
    root = linked(tmp_path / "oulu")
    spoil, message = BROKEN[case]
    spoil(root)
    with pytest.raises(DataError, match=message):
        list_files(root)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"protocol": "first"}, "protocol: expected one of paper, last-frame, last-three"),
        ({"spectrum": "RGB"}, "spectrum: expected one of VL, NI"),
        ({"illumination": "Bright"}, "illumination: expected one of Strong, Weak, Dark"),
        ({"images": "cropped"}, "images: expected one of original, preprocessed"),
        ({"spectrum": "NI"}, "the paper's is VL Strong; for NI Strong ask for 'last-three'"),
    ],
)
def test_unknown_options(tmp_path, options, message):
    root = linked(tmp_path / "oulu", n_people=1)
    with pytest.raises(ValueError, match=message):
        list_files(root, **options)
