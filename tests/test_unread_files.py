"""Every file below a data set's folder is read, or counted and named by its kind."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from source_trees import Linked, ck_plus, full_ck_plus, oulu_casia, save, write

import ferdata
from ferdata import cli as ferdata_cli
from ferdata.doctor.diagnosis import check
from ferdata.sources.folder_tree import find_unread
from ferdata.unread_files import kinds
from tinycnn.cli import training_faces
from tinycnn.cli.photo_files import find_photos
from tinycnn.cli.train import TrainArguments

RANDOM = np.random.default_rng(0)


def noise():
    """A smooth picture that no other one looks like: uint8 (48, 48)."""
    small = Image.fromarray(RANDOM.integers(0, 256, (6, 6), dtype=np.uint8))
    return np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC))


def jpeg(path, pixels=None):
    """A JPEG under any name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if pixels is None else pixels).save(path, format="JPEG", quality=95)
    return path


def class_folders(root, splits=("",), n=3):
    for split in splits:
        for name in ("fear", "happy", "sad"):
            for i in range(n):
                save(root / split / name / f"{i}.png", noise())
    return root


def kinds_of(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


# ---- pictures are recognised by what they hold ------------------------------------------------


def test_pictures_under_other_names_are_read(tmp_path):
    root = class_folders(tmp_path / "set")
    for name in ("a.jfif", "b", "c.JPG", "d.dat", "e.png", "f.jpe"):
        jpeg(root / "happy" / name)
    dataset = ferdata.open(root)
    assert len(dataset) == 15 and not dataset.unread
    assert {"happy/a.jfif", "happy/b", "happy/d.dat"} <= set(dataset.ids.tolist())
    assert check(root).is_clean


def test_half_of_the_faces_as_jfif(tmp_path):
    """The case that was reported: 21 .png and 21 .jfif gave 21 images."""
    root = class_folders(tmp_path / "set", n=7)
    for name in ("fear", "happy", "sad"):
        for i in range(7):
            jpeg(root / name / f"{i}.jfif")
    assert len(ferdata.open(root)) == 42


def test_a_list_takes_pictures_of_any_name(tmp_path):
    jpeg(tmp_path / "a"), jpeg(tmp_path / "b.jfif")
    write(tmp_path / "list.csv", "path,label\na,happy\nb.jfif,sad\n")
    dataset = ferdata.open(tmp_path / "list.csv")
    assert len(dataset) == 2 and not dataset.unread


# ---- what is not read, in each layout ---------------------------------------------------------


def test_files_beside_and_in_class_folders_are_counted_by_kind(tmp_path):
    root = class_folders(tmp_path / "set")
    for i in range(3):
        jpeg(root / f"loose{i}.jfif")
    write(root / "happy/film.mp4", "x")
    write(root / "README", "x")
    write(root / "happy/labels.csv", "x")
    for hidden in ("happy/.DS_Store", "Thumbs.db", "__MACOSX/a.jpg", ".cache/a.jpg", "._a.jpg"):
        write(root / hidden, "x")
    os.mkfifo(root / "pipe")
    unread = ferdata.list_files(root).unread
    assert unread.pictures == ("loose0.jfif", "loose1.jfif", "loose2.jfif")
    assert unread.documents == ("README", "happy/labels.csv")
    assert unread.others == ("pipe", "happy/film.mp4") and len(unread) == 7
    assert unread.summary() == (
        "7 files not read: 3 .jfif, 2 without a suffix, 1 .mp4, 1 .csv, in the folder itself (5), "
        "happy/ (2)"
    )


@pytest.mark.parametrize("name", ["Test", "val"])
def test_a_flat_split_folder_beside_class_folders(tmp_path, name):
    root = class_folders(tmp_path / "set")
    jpeg(root / name / "1.jpg")
    dataset = ferdata.open(root)
    assert len(dataset) == 9 and dataset.unread.pictures == (f"{name}/1.jpg",)
    assert "1 file not read: .jpg, in " + name in repr(dataset)


def test_a_flat_test_folder_beside_the_splits(tmp_path):
    root = class_folders(tmp_path / "set", ("train", "val"))
    jpeg(root / "Test/1.jpg")
    assert ferdata.open(root).unread.pictures == ("Test/1.jpg",)


def test_val_beside_train_and_test_of_raf_db(tmp_path):
    link = Linked(tmp_path / "raf")
    for split in ("train", "test"):
        for k in range(1, 8):
            link(f"DATASET/{split}/{k}/{split}_{k:05d}_aligned.jpg")
    link("DATASET/val/1/x_aligned.jpg")
    unread = ferdata.list_files(tmp_path / "raf", "raf_db").unread
    assert unread.pictures == ("DATASET/val/1/x_aligned.jpg",)


def test_the_other_files_of_a_complete_ck_plus_are_left_out_on_purpose(tmp_path):
    root = full_ck_plus(tmp_path / "ck")
    files = ferdata.list_files(root)
    assert not files.unread
    n_frames = sum(5 + i % 11 for i in range(593))
    assert files.unread.left_out == {
        "frames that the protocol does not take": n_frames - 1574,
        "emotion files": 327,
        "FACS codes and landmarks": 2 * 593,
    }
    jpeg(root / "more/1.jpg")
    assert ferdata.list_files(root).unread.pictures == ("more/1.jpg",)


def test_every_source_that_reads_a_folder(tmp_path):
    """A picture and a film in a folder of their own are counted whatever the data set is."""
    trees = {
        "ck_plus": ck_plus(tmp_path / "a", {"S005/001": (3, 4), "S010/001": (5, 4)}),
        "oulu_casia": oulu_casia(tmp_path / "b"),
        "folders": class_folders(tmp_path / "c", ("train", "val")),
    }
    for k, name in enumerate(ferdata.CK48.classes):
        save(tmp_path / "d/CK+48" / name / f"S0{k}0_001_00000001.png", noise())
    for code in ("AN", "HA"):
        save(tmp_path / "e" / f"KA.{code}1.39.tiff", noise())
    for split in ("train", "test"):
        for name in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
            save(tmp_path / "f" / split / name / "1.png", noise())
    trees |= {
        "ck_folders": tmp_path / "d",
        "jaffe": tmp_path / "e",
        "fer2013_folders": tmp_path / "f",
    }
    for source, root in trees.items():
        jpeg(root / "besides/x.jpg")
        write(root / "besides/film.mov", "x")
        unread = ferdata.list_files(root, source).unread
        assert unread.pictures == ("besides/x.jpg",), source
        assert unread.others == ("besides/film.mov",), source
    pixels = " ".join(["7"] * 2304)
    write(tmp_path / "g/fer2013.csv", f"emotion,pixels,Usage\n0,{pixels},Training\n")
    jpeg(tmp_path / "g/besides/x.jpg")
    assert ferdata.open(tmp_path / "g", cache=False).unread.pictures == ("besides/x.jpg",)


def test_a_list_and_the_pictures_that_it_does_not_name(tmp_path):
    jpeg(tmp_path / "a.jpg"), jpeg(tmp_path / "b.jpg"), jpeg(tmp_path / "more/c.heic")
    write(tmp_path / "list.csv", "path,label\na.jpg,happy\n")
    files = ferdata.list_files(tmp_path / "list.csv")
    assert files.unread.pictures == ("b.jpg", "more/c.heic") and not files.unread.documents
    assert files.unread.summary() == (
        "2 files not read: 1 .jpg, 1 .heic, in the folder itself (1), more/ (1)"
    )


def test_a_folder_that_cannot_be_searched_is_named(tmp_path):
    root = class_folders(tmp_path / "set")
    (root / "aside").mkdir()
    os.symlink(root / "gone", root / "aside/link")
    found = find_unread(root, [])
    assert len(found.pictures) == 9 and "aside/link: a broken link" in found.unsearched[0]
    assert found.look_wrong and "not searched: " in found.summary()


def test_kinds():
    assert kinds(["a.JFIF", "b.jfif"]) == ".jfif"
    assert kinds(["a.mov", "b", "c.mov", "d. no suffix"]) == "2 .mov, 2 without a suffix"
    assert kinds([f"a.x{i}" for i in range(9)]).endswith("1 .x5 and 3 more kinds or folders")


# ---- the doctor -------------------------------------------------------------------------------


def test_the_doctor_counts_them_and_compares_their_pictures(tmp_path, capsys):
    root = class_folders(tmp_path / "set", ("train", "val"))
    same = np.asarray(Image.open(root / "train/happy/0.png"))
    save(root / "Test/copy.png", same)
    jpeg(root / "Test/near.jpg", np.clip(same.astype(int) + 9, 0, 255).astype(np.uint8)[:, ::-1])
    jpeg(root / "Test/other.jpg")
    write(root / "Test/damaged.jpg", "x")
    diagnosis = check(root)
    found = {finding.kind: finding for finding in diagnosis.findings}
    assert list(found) == [
        "files-not-read",
        "duplicates-of-unread-pictures",
        "near-duplicates-of-unread-pictures",
    ]
    assert found["files-not-read"].message == "4 files not read: 3 .jpg, 1 .png, in Test/"
    assert found["duplicates-of-unread-pictures"].groups == (
        ("train/happy/0.png", "Test/copy.png"),
    )
    assert found["near-duplicates-of-unread-pictures"].groups == (
        ("train/happy/0.png", "Test/near.jpg"),
    )
    assert ferdata_cli.main(["check", str(root), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["not_read"]["pictures"]) == 4


def test_texts_are_named_but_are_nothing_suspicious(tmp_path, capsys):
    root = class_folders(tmp_path / "set")
    write(root / "LICENSE", "x"), write(root / "notes.txt", "x")
    assert ferdata_cli.main(["check", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "2 files not read: 1 without a suffix, 1 .txt, in the folder itself" in shown
    assert "nothing suspicious" in shown


def test_pack_says_what_was_not_read(tmp_path, capsys):
    root = class_folders(tmp_path / "set")
    jpeg(root / "loose.jpg")
    assert ferdata_cli.main(["pack", str(root), str(tmp_path / "set.npz")]) == 0
    assert capsys.readouterr().err == "note: 1 file not read: .jpg, in the folder itself\n"
    assert ferdata.open(tmp_path / "set.npz").unread is None


# ---- training and prediction ------------------------------------------------------------------


def test_training_says_what_was_not_read(tmp_path):
    root = class_folders(tmp_path / "set", ("train", "val"))
    jpeg(root / "Test/1.jpg")
    args = TrainArguments(data=str(root))
    faces = training_faces.load_faces(args, args.training)
    assert faces.notes[0] == "1 file not read: .jpg, in Test/"


def test_prediction_finds_pictures_by_content(tmp_path):
    for name in ("a.jfif", "b", "c/d.JPG"):
        jpeg(tmp_path / name)
    write(tmp_path / "e.heic", "x"), write(tmp_path / "f.avif", "x")
    write(tmp_path / "film.mov", "x"), write(tmp_path / ".DS_Store", "x")
    found = list(find_photos([tmp_path], None))
    assert [str(f.name) for f in found if f.is_picture] == [
        *("a.jfif", "b", "c/d.JPG", "e.heic", "f.avif")
    ]
    assert [str(f.name) for f in found if not f.is_picture] == ["film.mov"]
