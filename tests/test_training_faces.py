"""Data sets for training: labels, distributions, framing, and a validation part split off."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from source_trees import ck_plus

import ferdata
from ferdata.errors import DataError
from ferdata.training.training_faces import fold_of, open_training_faces, with_validation


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))


def fer2013(folder, n=6):
    pixels = " ".join(["10 200"] * 1152)
    usage = ["Training"] * (n - 2) + ["PublicTest"] * 2
    rows = [f"{i % 7},{pixels},{usage[i]}" for i in range(n)]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    votes = [
        f"{usage[i]},f.png,{'10' if i % 2 else '6'},{'0' if i % 2 else '4'},0,0,0,0,0,0,0,0"
        for i in range(n)
    ]
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    (folder / "votes.csv").write_text("\n".join([f"Usage,Image name,{names}", *votes]) + "\n")
    return folder / "fer2013.csv", folder / "votes.csv"


def manifest(folder, rows, header="path,label"):
    for name in {row.split(",")[0] for row in rows}:
        Image.new("L", (48, 48), 60).save(folder / name)
    path = folder / "faces.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def dataset(n=40, n_people=None, split=None, n_labelled=None):
    rng = np.random.default_rng(0)
    return ferdata.FaceDataset(
        images=rng.integers(0, 256, (n, 8, 8), dtype=np.uint8),
        ids=np.array([f"i{k}" for k in range(n)]),
        label_space=ferdata.CK_PLUS,
        labels=np.arange(n) % 8,
        subjects=None if n_people is None else np.array([f"S{k % n_people}" for k in range(n)]),
        split=split,
    )


def test_fer2013_with_and_without_votes(tmp_path):
    csv, votes = fer2013(tmp_path)
    plain = open_training_faces(csv)
    assert plain.targets == "labels" and plain.framing == "fer2013"
    assert plain.dataset.classes == ferdata.FER2013.classes and plain.dataset.labels[1] == 1
    voted = open_training_faces(csv, votes=votes, target="votes")
    assert voted.targets == "distribution" and voted.dataset.classes == ferdata.MICROEXPNET8.classes
    happy = ferdata.MICROEXPNET8.index("happy")
    assert voted.dataset.targets[:2, happy].tolist() == pytest.approx([0.4, 0])
    majority = open_training_faces(csv, votes=votes, target="majority")
    assert majority.targets == "labels" and (majority.dataset.labels == 0).all()


def test_framed_photos_know_their_framing_and_photos_without_a_face_are_named(tmp_path):
    root = ck_plus(tmp_path / "CK", {"S005/001": (1, 4), "S010/001": (5, 4)})
    faces = open_training_faces(root)
    assert faces.framing == "paper" and faces.targets == "labels"
    assert np.array_equal(faces.dataset.images, ferdata.open(root).images)
    Image.new("L", (320, 245), 90).save(root / "cohn-kanade-images/S005/001/S005_001_00000004.png")
    with pytest.raises(DataError, match="00000004.png: no face found, as in 1 of 8"):
        open_training_faces(root)
    assert len(open_training_faces(root, on_missing="whole").dataset) == 8


def test_images_without_a_label_are_left_out(tmp_path):
    path = manifest(tmp_path, ["a.png,happy", "b.png,", "c.png,sadness"])
    faces = open_training_faces(path)
    assert faces.dataset.ids.tolist() == ["a.png", "c.png"] and faces.framing is None


def test_a_data_set_without_labels_is_refused(tmp_path):
    nobody = replace(dataset(), has_label=np.zeros(40, bool))
    ferdata.save_packed(nobody, tmp_path / "faces.npz")
    with pytest.raises(DataError, match="faces.npz: none of its images has a label"):
        open_training_faces(tmp_path / "faces.npz")


def test_folds_do_not_depend_on_the_placeholder_of_missing_labels():
    first = dataset(n_people=8)
    known = np.arange(40) % 3 > 0
    others = np.where(known, first.labels, 7 - first.labels)
    folds = [
        fold_of(replace(first, labels=labels, has_label=known), np.arange(40), 4, 0, 1, True)
        for labels in (first.labels, others)
    ]
    assert [part.tolist() for part in folds[0]] == [part.tolist() for part in folds[1]]
    assert sorted(np.concatenate(folds[0])) == list(range(40)) and len(folds[0][1])


def test_a_packed_data_set(tmp_path):
    ferdata.save_packed(dataset(n_people=5), tmp_path / "p.npz")
    faces = open_training_faces(tmp_path / "p.npz")
    assert len(faces.dataset) == 40 and faces.framing is None
    ferdata.save_packed(
        ferdata.FaceDataset(images=dataset().images, ids=dataset().ids), tmp_path / "q.npz"
    )
    with pytest.raises(DataError, match="q.npz: no labels to train against"):
        open_training_faces(tmp_path / "q.npz")


def test_votes_are_only_accepted_for_fer2013(tmp_path):
    path = manifest(tmp_path, ["a.png,happy"])
    with pytest.raises(DataError, match="votes belong to FER2013's csv, and this is manifest"):
        open_training_faces(path, votes=tmp_path / "votes.csv", target="votes")


def test_a_given_validation_part_is_kept():
    split = np.array(["train"] * 30 + ["validation"] * 4 + ["test"] * 6)
    found, told = with_validation(dataset(split=split))
    assert told == "" and found.split.tolist() == split.tolist()


@pytest.mark.parametrize("n_people", [10, 3, 2])
def test_the_validation_part_has_other_people(n_people):
    found, told = with_validation(dataset(n_people=n_people))
    kept = set(found.subjects[found.split == "validation"])
    assert len(kept) == 1 and not kept & set(found.subjects[found.split == "train"])
    assert "images of train are used for it, all those of 1 person" in told
    assert with_validation(dataset(n_people=n_people))[0].split.tolist() == found.split.tolist()


def test_without_subjects_images_are_divided_and_the_test_part_does_not_change():
    split = np.array(["test"] * 10 + ["train"] * 30)
    found, told = with_validation(dataset(split=split))
    assert (found.split[:10] == "test").all() and (found.split == "validation").sum() == 3
    assert "3 images of train" in told
    other, _ = with_validation(dataset(split=split), seed=1)
    assert other.split.tolist() != found.split.tolist()


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(split=np.full(40, "test")), "no images in split 'train'; splits present: test"),
        (dict(n_people=1), "folds|people|subject"),
        (dict(n=1), "fold|too few"),
    ],
)
def test_data_that_cannot_be_divided_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        with_validation(dataset(**given))
