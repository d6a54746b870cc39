"""Listing CK+: the published counts on a full-size copy, labels by name, every kind of damage."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from source_trees import (
    CK_CLASSES,
    Linked,
    ck_emotion,
    ck_frame,
    ck_plus,
    full_ck_plus,
    write,
)

import ferdata.sources.ck_plus
from ferdata.errors import DataError
from ferdata.labels import CK_PLUS, MICROEXPNET8
from ferdata.photos.faces import find_faces
from ferdata.sources.ck_plus import list_files
from ferdata.sources.dataset_loading import load_listed, recognise


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_ck_plus(tmp_path_factory.mktemp("full") / "CK+")


@pytest.fixture
def tree(tmp_path):
    """S005/001 disgust with 5 frames, S010/002 happy with 12, S010/003 unlabelled with 4."""
    link = Linked(tmp_path / "CK+")
    for sequence, n in (("S005/001", 5), ("S010/002", 12), ("S010/003", 4)):
        for number in range(1, n + 1):
            link(f"cohn-kanade-images/{ck_frame(sequence, number)}")
    ck_emotion(link.root / "Emotion", "S005/001", 5, "   3.0000000e+00\n")
    ck_emotion(link.root / "Emotion", "S010/002", 12, "   5.0000000e+00\n")
    return link.root


def by_path(files):
    """{file name: class name, None without a label}."""
    known = np.ones(len(files), bool) if files.has_label is None else files.has_label
    names = [files.label_space.classes[i] if k else None for i, k in zip(files.labels, known)]
    return {path.rpartition("/")[2]: name for path, name in zip(files.paths, names)}


# Published counts


def test_full_size_paper(full):
    files = list_files(full)
    assert len(files) == 1574
    counts = files.counts
    assert (counts["sequences"], counts["labelled sequences"]) == (593, 327)
    assert counts["subjects"] == counts["subjects of all sequences"] == 123
    assert [counts[c] for c in CK_CLASSES] == [593, 135, 54, 177, 75, 207, 84, 249]
    assert counts == files.published
    assert "593 sequences, 327 labelled sequences" in files.summary()


@pytest.mark.parametrize(
    "protocol, unlabelled, n, n_people",
    [
        ("last-frame", False, 327, 118),
        ("last-three", False, 981, 118),
        ("last-frame", True, 593, 123),
        ("last-three", True, 3 * 593, 123),
        ("paper", True, 1574 + 3 * 266, 123),
    ],
)
def test_full_size_other_protocols(full, protocol, unlabelled, n, n_people):
    files = list_files(full, protocol=protocol, unlabelled=unlabelled)
    assert len(files) == n and files.counts["subjects"] == n_people
    assert files.counts == files.published
    assert (files.has_label is not None) == unlabelled


# Which images are taken, with which labels.


def test_paper_takes_the_last_three_and_every_first_frame(tree):
    files = list_files(tree)
    assert by_path(files) == {
        "S005_001_00000001.png": "neutral",
        "S005_001_00000003.png": "disgust",
        "S005_001_00000004.png": "disgust",
        "S005_001_00000005.png": "disgust",
        "S010_002_00000001.png": "neutral",
        "S010_002_00000010.png": "happy",
        "S010_002_00000011.png": "happy",
        "S010_002_00000012.png": "happy",
        "S010_003_00000001.png": "neutral",
    }
    assert files.paths[0] == "cohn-kanade-images/S005/001/S005_001_00000001.png"
    assert files.subjects.tolist() == ["S005"] * 4 + ["S010"] * 5
    assert files.framing == "paper" and files.has_label is None


def test_last_frame_with_unlabelled(tree):
    files = list_files(tree, protocol="last-frame", unlabelled=True)
    assert by_path(files) == {
        "S005_001_00000005.png": "disgust",
        "S010_002_00000012.png": "happy",
        "S010_003_00000004.png": None,
    }


def test_class_numbers_are_those_of_the_readme(tmp_path):
    """0=neutral, 1=anger, 2=contempt, 3=disgust, 4=fear, 5=happy, 6=sadness, 7=surprise."""
    documented = dict(enumerate(CK_CLASSES))
    link = Linked(tmp_path / "CK+")
    for number in documented:
        for frame in (1, 2, 3, 4):
            link(f"cohn-kanade-images/{ck_frame(f'S01{number}/001', frame)}")
        ck_emotion(link.root / "Emotion", f"S01{number}/001", 4, f"   {number}.0000000e+00\n")
    files = list_files(link.root, protocol="last-frame")
    assert {int(s[3]): n for s, n in zip(files.subjects, by_path(files).values())} == documented
    assert CK_PLUS.classes == MICROEXPNET8.classes


def test_frames_are_ordered_by_number_not_by_name(tmp_path):
    link = Linked(tmp_path / "CK+")
    for number in (1, 2, 9, 10, 100):
        link(f"cohn-kanade-images/S005/001/S005_001_{number}.png")
    ck_emotion(link.root / "Emotion", "S005/001", 100, "3")
    assert list(by_path(list_files(link.root, protocol="last-three"))) == [
        "S005_001_9.png",
        "S005_001_10.png",
        "S005_001_100.png",
    ]


@pytest.mark.parametrize(
    "text", ["   3.0000000e+00\n", "3", "3.", " 3.0\r\n", "\ufeff3.0", "3.0e0", "3.000E+000\n\n"]
)
def test_forms_of_the_class_number(tree, text):
    ck_emotion(tree / "Emotion", "S005/001", 5, text)
    assert by_path(list_files(tree))["S005_001_00000005.png"] == "disgust"


@pytest.mark.parametrize(
    "images, emotion",
    [
        ("cohn-kanade-images", "Emotion_labels"),
        ("cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
        ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion/Emotion"),
        ("CK+/cohn-kanade-images", "CK+/Emotion"),
    ],
)
def test_nested_and_renamed_folders(tree, images, emotion):
    for old, new in (("cohn-kanade-images", images), ("Emotion", emotion)):
        shutil.move(tree / old, tree / "moving")
        (tree / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tree / "moving", tree / new)
    assert recognise(tree).source == "ck_plus"
    assert by_path(list_files(tree))["S010_002_00000012.png"] == "happy"


def test_photos_become_framed_faces(tmp_path):
    root = ck_plus(tmp_path / "CK+", {"S005/001": (7, 4)})
    data = load_listed(list_files(root))
    assert data.images.shape == (4, 84, 84) and data.classes == CK_PLUS.classes
    assert [data.classes[i] for i in data.labels] == ["neutral"] + ["surprise"] * 3
    assert data.ids.tolist() == [
        f"cohn-kanade-images/{ck_frame('S005/001', n)}" for n in (1, 2, 3, 4)
    ]
    for i in (0, 3):
        expected = find_faces(root / str(data.ids[i]), "paper").images[0]
        np.testing.assert_array_equal(data.images[i], expected)


# Errors


def emotion_file(tree, sequence="S005/001", number=5):
    name = f"{sequence.replace('/', '_')}_{number:08d}_emotion.txt"
    return tree / "Emotion" / sequence / name


BROKEN = {
    "no emotion folder": (
        lambda t: shutil.rmtree(t / "Emotion"),
        "expected one folder called Emotion or Emotion_labels .* found none",
    ),
    "no images": (
        lambda t: shutil.rmtree(t / "cohn-kanade-images"),
        "expected one folder called cohn-kanade-images .* found none",
    ),
    "two emotion folders": (
        lambda t: shutil.copytree(t / "Emotion", t / "Emotion_labels"),
        "found .*Emotion, .*Emotion_labels",
    ),
    "not one label": (
        lambda t: [f.unlink() for f in (t / "Emotion").rglob("*.txt")],
        "no emotion files",
    ),
    "two labels": (
        lambda t: ck_emotion(t / "Emotion", "S005/001", 4, "4"),
        "S005/001: more than one label: .*00000004_emotion.txt",
    ),
    "a label of another sequence": (
        lambda t: emotion_file(t).rename(t / "Emotion/S005/001/S010_002_00000005_emotion.txt"),
        "S010_002_00000005_emotion.txt: expected a name such as S005_001_0",
    ),
    "a label without its sequence": (
        lambda t: shutil.rmtree(t / "cohn-kanade-images/S010/002"),
        r"no sequence S010/002, but .*label .*\(1 such labels\)",
    ),
    "the peak is missing": (
        lambda t: (t / "cohn-kanade-images" / ck_frame("S005/001", 5)).unlink(),
        "S005/001: no frame 5, which its emotion file names",
    ),
    "no frames": (
        lambda t: [f.unlink() for f in (t / "cohn-kanade-images/S010/003").iterdir()],
        "S010/003: a sequence without images",
    ),
    "too few frames": (
        lambda t: [(t / "cohn-kanade-images" / ck_frame("S005/001", n)).unlink() for n in (1, 2)],
        "S005/001: 3 frames, the protocol needs 4",
    ),
    "a frame of another sequence": (
        lambda t: (t / "cohn-kanade-images" / ck_frame("S005/001", 2)).rename(
            t / "cohn-kanade-images/S005/001/S005_002_00000002.png"
        ),
        "S005_002_00000002.png: not the name of a frame of this sequence, such as S005_001_0",
    ),
    "one frame twice": (
        lambda t: shutil.copy(
            t / "cohn-kanade-images" / ck_frame("S005/001", 2),
            t / "cohn-kanade-images/S005/001/S005_001_2.png",
        ),
        "are both frame 2",
    ),
    "a copied frame": (
        lambda t: shutil.copy(
            t / "cohn-kanade-images" / ck_frame("S005/001", 2),
            t / "cohn-kanade-images/S005/001/S005_001_00000002 (1).png",
        ),
        r"00000002 \(1\).png: not the name of a frame",
    ),
    "a strange subject": (
        lambda t: (t / "cohn-kanade-images/backup/001").mkdir(parents=True),
        "backup: unexpected folder, expected a subject",
    ),
    "a strange sequence": (
        lambda t: (t / "cohn-kanade-images/S005/old").mkdir(),
        "S005/old: unexpected folder, expected a sequence",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_trees(tree, case):
    spoil, message = BROKEN[case]
    spoil(tree)
    with pytest.raises(DataError, match=message):
        list_files(tree)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "8",
        "-1",
        "3.5",
        "nan",
        "disgust",
        "3 4",
        "3.0\n4.0\n",
        "3\0",
        "3e1",
        "\x1c3",
        "3" + 300 * " " + "4",
    ],
)
def test_broken_numbers(tree, text):
    file = ck_emotion(tree / "Emotion", "S005/001", 5, text)
    with pytest.raises(DataError, match=r"expected one number 0\.\.7") as error:
        list_files(tree)
    assert str(file) in str(error.value) and len(str(error.value)) < 400


@given(st.binary(max_size=40) | st.from_regex(r"\s*\d\.?\d{0,3}(e[+-]\d\d)?\s*").map(str.encode))
@example(b"   7.0000000e+00\n")
def test_any_bytes_give_a_label_or_one_error(tmp_path_factory, data):
    file = write(tmp_path_factory.getbasetemp() / "emotion.txt", data)
    try:
        label = ferdata.sources.ck_plus._emotion(file)
    except DataError as error:
        assert str(file) in str(error)
    else:
        assert label == float(data.decode("utf-8-sig")) and label in range(8)


def test_an_emotion_file_that_cannot_be_read(tree, monkeypatch):
    emotion_file(tree).unlink()
    emotion_file(tree).mkdir()
    files = list_files(tree, protocol="last-frame")  # a folder is not taken for an emotion file
    assert list(by_path(files)) == ["S010_002_00000012.png"]
    with pytest.raises(DataError, match="Emotion: cannot be read"):
        ferdata.sources.ck_plus._emotion(tree / "Emotion")


def test_frames_after_the_peak_are_counted(tree):
    emotion_file(tree, "S010/002", 12).rename(emotion_file(tree, "S010/002", 11))
    assert list_files(tree).counts["sequences that go on after their peak"] == 1


def test_a_sequence_without_an_emotion_folder_is_unlabelled(tree):
    assert not os.path.exists(tree / "Emotion/S010/003")
    assert list_files(tree).counts["labelled sequences"] == 2


def test_unknown_protocol(tree):
    with pytest.raises(ValueError, match="protocol: expected one of paper, last-frame, last-three"):
        list_files(tree, protocol="peak")
