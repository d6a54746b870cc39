"""`ferdata.check` finds each defect that a test puts in, and nothing in a clean data set."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ferdata.dataset import FaceDataset
from ferdata.doctor import checks
from ferdata.doctor.diagnosis import check, check_dataset
from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS10
from ferdata.sources.rendered import render_faces
from ferdata.teachers.agreement import agreement
from ferdata.teachers.soft_labels import save_soft_labels


@pytest.fixture(scope="module")
def faces():
    """160 images of 20 people, 4 of them for validation."""
    return render_faces(n_subjects=20, n_per_class=1, size_px=48)


def changed(dataset, **parts):
    """A copy of the data set with some entries changed, for example images={5: image}."""
    arrays = {}
    for name, entries in parts.items():
        arrays[name] = getattr(dataset, name).copy()
        for i, value in entries.items():
            arrays[name][i] = value
    return replace(dataset, **arrays)


def found(diagnosis):
    return {finding.kind: finding for finding in diagnosis.findings}


def test_the_built_in_faces_are_clean(faces):
    diagnosis = check_dataset(faces)
    assert diagnosis.is_clean and diagnosis.findings == ()
    assert "nothing suspicious" in diagnosis.as_text()
    lines = diagnosis.as_text().splitlines()
    assert lines[1] == "160 images of 48 x 48 px; 20 subjects"
    assert [line.split()[-1] for line in lines if line.startswith(("class", "anger", "all"))] == [
        "images",
        "20",
        "160",
    ]  # a row is a line


def test_constant_and_blank_images(faces):
    slope = np.linspace(0, 200, 48).astype(np.uint8) * np.ones((48, 1), np.uint8)
    dark = (faces.images[12] // 5).astype(np.uint8)
    diagnosis = check_dataset(changed(faces, images={3: 77, 9: slope, 12: dark}))
    findings = found(diagnosis)
    assert set(findings) == {"constant-images", "blank-images"}
    assert findings["constant-images"].indices == ((3,),)
    assert findings["blank-images"].groups == ((str(faces.ids[9]),),)


def test_duplicates_across_splits_and_within_one(faces):
    inside = np.flatnonzero(faces.split == "train")
    outside = np.flatnonzero(faces.split == "validation")
    images = faces.images
    data = changed(
        faces,
        images={
            outside[0]: images[inside[0]],  # both neutral
            outside[8]: images[inside[0]],
            inside[17]: images[inside[9]],  # both anger
            inside[40]: images[inside[2]],  # neutral and contempt
        },
    )
    findings = found(check_dataset(data))
    assert set(findings) == {
        "duplicates-across-splits",
        "duplicates-with-other-labels",
        "duplicates",
    }
    across = findings["duplicates-across-splits"]
    assert across.n == 2 and across.indices == ((0, outside[0], outside[8]),)
    assert "2 images outside the training split are also in another split" in across.message
    other = findings["duplicates-with-other-labels"]
    assert other.indices == ((inside[2], inside[40]),) and other.n == 1
    within = findings["duplicates"]
    assert within.n == 3 and len(within.indices) == 3  # two inside, two of validation


def test_one_copy_in_each_of_two_splits_is_no_repetition_in_one_split(faces):
    outside = int(np.flatnonzero(faces.split == "validation")[0])  # neutral, as image 0
    data = changed(faces, images={outside: faces.images[0]})
    assert set(found(check_dataset(data))) == {"duplicates-across-splits"}


def test_near_duplicates_across_splits(faces):
    outside = int(np.flatnonzero(faces.split == "validation")[5])
    data = changed(faces, images={outside: np.clip(faces.images[3] * 0.9, 0, 255)})
    findings = found(check_dataset(data))
    assert set(findings) == {"near-duplicates-across-splits"}
    assert findings["near-duplicates-across-splits"].indices == ((3, outside),)
    within = changed(faces, images={11: np.clip(faces.images[3] * 0.9, 0, 255)})
    assert check_dataset(within).is_clean
    assert set(found(check_dataset(replace(within, split=None)))) == {"near-duplicates"}
    one_person = changed(faces, images={5: np.clip(faces.images[3] * 0.9, 0, 255)})
    assert check_dataset(replace(one_person, split=None)).is_clean


def test_subjects_on_both_sides(faces):
    outside = int(np.flatnonzero(faces.split == "validation")[0])
    findings = found(check_dataset(changed(faces, subjects={outside: "S000"})))
    assert set(findings) == {"shared-subjects"}
    assert findings["shared-subjects"].message == "1 subject is in more than one split: S000"


def test_classes_without_images(faces):
    no_fear = faces.select(faces.labels != faces.label_space.index("fear"))
    assert found(check_dataset(no_fear))["empty-classes"].message == "no image of fear"
    partly = faces.select((faces.labels != 4) | (faces.split == "train"))
    message = found(check_dataset(partly))["empty-classes"].message
    assert message == "no image of fear in split 'validation'"


def test_labels_where_has_label_is_false_do_not_count(faces):
    group = np.array([0, 10])  # neutral and contempt
    data = changed(faces, images={10: faces.images[0]})
    assert "duplicates-with-other-labels" in found(check_dataset(data))
    known = np.ones(len(faces), bool)
    known[group] = False
    diagnosis = check_dataset(replace(data, has_label=known))
    assert set(found(diagnosis)) == {"duplicates"}
    assert "without a label" in diagnosis.as_text()


def test_a_data_set_of_images_without_labels():
    images = np.random.default_rng(0).integers(0, 256, (5, 30, 20), dtype=np.uint8)
    data = FaceDataset(images=images, ids=np.array(list("abcde")))
    diagnosis = check_dataset(data)
    assert diagnosis.is_clean and "5 images of 20 x 30 px" in diagnosis.as_text()
    ElementTree.fromstring(diagnosis.as_html().split("\n", 1)[1])
    with pytest.raises(DataError, match="no images"):
        check_dataset(data.select(np.zeros(5, bool)))


# Folders


@pytest.fixture
def folder(tmp_path, faces):
    for i in range(24):
        place = tmp_path / "set" / faces.classes[faces.labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[i]).save(place / f"p{i:02d}.png")
    return tmp_path / "set"


def test_unreadable_files_are_listed_and_the_others_checked(folder, faces):
    assert check(folder).is_clean
    whole = (folder / "happy" / "p05.png").read_bytes()
    (folder / "happy" / "p05.png").write_bytes(whole[: len(whole) // 2])
    (folder / "fear" / "p04.png").write_bytes(b"")
    Image.fromarray(faces.images[6]).resize((90, 60)).save(folder / "sadness" / "wide.png")
    (folder / "anger" / "again.png").write_bytes((folder / "sadness" / "p14.png").read_bytes())
    diagnosis = check(folder)
    findings = found(diagnosis)
    unreadable = findings["unreadable-images"]
    assert unreadable.groups == (("fear/p04.png",), ("happy/p05.png",)) and unreadable.n == 2
    assert "p04.png" in unreadable.message
    assert findings["duplicates-with-other-labels"].groups == (
        ("anger/again.png", "sadness/p14.png"),
    )
    text = diagnosis.as_text()
    assert "24 images of 48 x 48 px (23), 90 x 60 px (1); 2 files that cannot be read" in text
    sizes = json.loads(diagnosis.as_json())["sizes"]
    assert sizes[1] == {"height": 60, "width": 90, "n": 1}


def test_a_teacher_by_hashes_of_the_opened_images(folder, tmp_path, monkeypatch):
    from ferdata.image_hashes import content_ids
    from ferdata.sources import dataset_loading

    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    opened = dataset_loading.open(folder)
    teacher = teacher_of(opened, tmp_path / "t.npz", hashes=content_ids(opened.images))
    diagnosis = check(folder, teachers=[teacher])
    assert diagnosis.is_clean and diagnosis.teachers[0].covers == "all"


def test_a_folder_without_any_picture_cannot_be_read(folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 24 images can be read"):
        check(folder)


def test_published_counts_of_an_incomplete_copy(tmp_path, faces):
    """JAFFE: 213 images of 10 people."""
    for i, subject in enumerate(("KA", "KL", "KM")):
        Image.fromarray(faces.images[i * 8]).save(tmp_path / f"{subject}.NE1.{i + 1}.tiff")
    diagnosis = check(tmp_path)
    assert diagnosis.inspected.source == "jaffe"
    message = found(diagnosis)["unexpected-counts"].message
    assert "images: 3 instead of 213" in message and "subjects: 3 instead of 10" in message
    assert "published" in diagnosis.as_text()


# Votes


def fer2013_files(folder, images, emotions, votes):
    """fer2013.csv and fer2013new.csv of Training rows."""
    lines = [
        f"{e},{' '.join(map(str, image.ravel()))},Training" for e, image in zip(emotions, images)
    ]
    (folder / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(lines) + "\n")
    lines = [f"Training,x.png,{','.join(map(str, v))}" for v in votes]
    header = f"Usage,Image name,{','.join(FERPLUS10.classes)}\n"
    (folder / "fer2013new.csv").write_text(header + "\n".join(lines) + "\n")
    return folder / "fer2013.csv", folder / "fer2013new.csv"


# the FER+ columns of fer2013's emotions: angry, disgust, fear, happy, sad, surprise, neutral
COLUMNS = [4, 5, 6, 1, 3, 2, 0]


@pytest.fixture
def fer(tmp_path, faces, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    emotions = rng.integers(0, 7, 120)
    votes = np.zeros((120, 10), int)
    votes[np.arange(120), [COLUMNS[e] for e in emotions]] = 8
    votes[np.arange(120), [COLUMNS[(e + 1) % 7] for e in emotions]] = 2
    images = faces.images[:120].copy()
    return images, emotions, votes, tmp_path


def kinds(fer, folder, images=None, votes=None):
    paths = fer2013_files(
        folder, fer[0] if images is None else images, fer[1], fer[2] if votes is None else votes
    )
    kinds = found(check(paths[0], votes=paths[1]))
    kinds.pop("unexpected-counts"), kinds.pop("near-duplicates", None)
    return kinds


def test_votes_that_are_right(fer):
    assert kinds(fer, fer[3]) == {}


def test_votes_with_an_unusual_sum(fer):
    fer[2][7, COLUMNS[fer[1][7]]] = 7
    finding = kinds(fer, fer[3])["odd-number-of-votes"]
    assert (
        finding.groups == (("fer2013/00007",),) and "with 9 votes instead of 10" in finding.message
    )


def test_votes_for_an_emotion_on_a_blank_image(fer):
    images, _, votes, folder = fer
    images[20], images[21] = 0, 255
    votes[20] = [0] * 9 + [10]
    finding = kinds(fer, folder)["votes-on-blank-images"]
    assert finding.groups == (("fer2013/00021",),)


def test_one_picture_with_different_votes(fer):
    images, emotions, votes, folder = fer
    images[[30, 60]], emotions[[30, 60]] = images[5], emotions[5]
    votes[30] = votes[5]
    votes[60] = np.roll(votes[5], 3)
    finding = kinds(fer, folder)["duplicates-with-other-votes"]
    assert finding.groups == (("fer2013/00005", "fer2013/00030", "fer2013/00060"),)


@pytest.mark.parametrize("shift", [-2, 1])
def test_votes_of_other_rows(fer, shift):
    """Entry i holds the votes of image i - shift."""
    finding = kinds(fer, fer[3], votes=np.roll(fer[2], shift, axis=0))["votes-shifted"]
    assert f"moved by {shift:+d} rows" in finding.message


def test_votes_that_cannot_be_joined(fer):
    finding = kinds(fer, fer[3], votes=fer[2][:100])["votes-do-not-fit"]
    assert "fer2013new.csv" in finding.message


# Teachers


def teacher_of(dataset, path, shift=0, classes=None, **keys):
    """A file of soft labels that are almost always right, with ids moved by `shift` entries."""
    n, k = len(dataset), len(dataset.classes)
    logits = np.random.default_rng(0).normal(0, 1, (n, k))
    logits[np.arange(n), dataset.labels] += 4
    keys = keys or {"ids": np.roll(dataset.ids, shift)}
    save_soft_labels(path, logits, "logits", classes or dataset.classes, **keys)
    return str(path)


def test_a_teacher_that_fits(faces, tmp_path):
    path = teacher_of(faces, tmp_path / "t.npz")
    diagnosis = check_dataset(faces, [path])
    assert diagnosis.is_clean
    (teacher,) = diagnosis.teachers
    assert teacher.covers == "all" and teacher.accuracy > 0.9 and teacher.key == "ids"
    assert "fits every image; agrees with 100.0 % of the labels" in diagnosis.as_text()


def test_a_teacher_only_for_the_training_images(faces, tmp_path):
    path = teacher_of(faces.in_split("train"), tmp_path / "t.npz")
    shuffled = faces.select(np.random.default_rng(2).permutation(len(faces)))
    diagnosis = check_dataset(shuffled, [path])
    assert diagnosis.is_clean and diagnosis.teachers[0].covers == "train"
    assert diagnosis.teachers[0].accuracy > 0.9


def test_a_teacher_whose_rows_are_shifted(faces, tmp_path):
    order = np.random.default_rng(0).permutation(len(faces))
    data = faces.select(order)
    path = teacher_of(data, tmp_path / "t.npz", shift=1)
    message = found(check_dataset(data, [path]))["teacher-shifted"].message
    assert "when moved by" in message and "-1 rows" in message


def test_a_teacher_whose_classes_are_named_in_another_order(faces, tmp_path):
    names = list(faces.classes)
    names[1], names[5] = names[5], names[1]
    path = teacher_of(faces, tmp_path / "t.npz", classes=names)
    message = found(check_dataset(faces, [path]))["teacher-misnamed"].message
    assert "anger is called happy, happy is called anger" in message


def test_a_teacher_that_guesses(faces, tmp_path):
    data = replace(faces, labels=np.random.default_rng(3).integers(0, 8, len(faces)))
    path = teacher_of(data, tmp_path / "t.npz")
    assert (
        "no better than guessing"
        in found(check_dataset(faces, [path]))["teacher-by-chance"].message
    )


def test_teachers_that_do_not_fit(faces, tmp_path):
    part = teacher_of(faces.select(np.arange(9)), tmp_path / "part.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK")
    findings = found(check_dataset(faces, [part, str(broken), str(tmp_path / "none.npz")]))
    assert "no entry for 151 of 160 images" in findings["teacher-does-not-fit"].message
    assert "none.npz: no such file" in findings["teacher-unreadable"].message


def test_a_teacher_with_an_extra_class(faces, tmp_path):
    seven = faces.to_label_space(FER2013, allow_lossy=True)
    path = teacher_of(faces, tmp_path / "t.npz")
    diagnosis = check_dataset(seven, [path])
    message = found(diagnosis)["teacher-has-other-classes"].message
    assert "contempt is no class of this data set; extra_classes='drop' leaves it out" in message
    assert "teacher-has-other-classes" not in found(
        check_dataset(seven, [path], extra_classes="drop")
    )
    assert diagnosis.teachers[0].accuracy > 0.9


def test_a_teacher_by_hashes_and_one_with_crops(faces, tmp_path):
    from ferdata.image_hashes import content_ids

    path = teacher_of(faces, tmp_path / "t.npz", hashes=content_ids(faces.images))
    diagnosis = check_dataset(faces, [path])
    assert diagnosis.is_clean and diagnosis.teachers[0].accuracy > 0.9
    logits = np.eye(8)[faces.labels][:, None] * np.array([3, 5])[:, None]
    save_soft_labels(tmp_path / "c.npz", logits, "logits", faces.classes, ids=faces.ids)
    diagnosis = check_dataset(faces, [str(tmp_path / "c.npz")])
    assert diagnosis.is_clean and diagnosis.teachers[0].n_crops == 2


# Agreement of teachers with labels


def test_agreement_by_hand():
    labels = np.array([0, 1, 2] * 20)
    said = labels.copy()
    said[:6] = 0  # wrong for two 1s and two 2s
    found = agreement(labels, said, 3)
    assert found.accuracy == 56 / 60 and found.mean_recall == pytest.approx((1 + 0.9 + 0.9) / 3)
    assert (found.shift, found.swapped, found.by_chance) == (0, {}, False)
    assert agreement(labels, np.full(60, -1), 3) is None
    assert agreement(labels[:49], said[:49], 3) is None
    renamed = agreement(labels, np.array([1, 0, 2])[said], 3)
    assert renamed.swapped == {0: 1, 1: 0} and renamed.swapped_accuracy == 56 / 60


def test_guessing_the_majority_class_counts_as_chance_whatever_its_accuracy():
    labels = np.array([0] * 90 + [1, 2] * 5)
    found = agreement(labels, np.zeros(100, int), 3)
    assert found.accuracy == 0.9 and found.by_chance


# Text, JSON and html.


def test_json_holds_every_id_and_plain_numbers(faces):
    data = changed(faces, images={i: 0 for i in range(30)})
    content = json.loads(check_dataset(data).as_json())
    kinds = {f["kind"]: f for f in content["findings"]}
    assert kinds["constant-images"]["n"] == 30 == len(kinds["constant-images"]["ids"])
    assert content["clean"] is False and content["n_images"] == 160
    assert content["classes"]["happy"] == {"train": 16, "validation": 4, "images": 20}


def test_the_page_is_well_formed_and_escapes_what_it_shows(faces):
    ids = np.array([f"<b>&\"'\x07{i}" for i in range(len(faces))])
    data = replace(changed(faces, images={5: 0, 21: faces.images[3]}), ids=ids)
    page = check_dataset(data).as_html()
    assert "<b>" not in page and "\x07" not in page and "&lt;b&gt;&amp;&quot;" in page
    root = ElementTree.fromstring(page.split("\n", 1)[1])
    images = list(root.iter("img"))
    assert all(img.get("src").startswith("data:image/png;base64,") for img in images)
    sheets = [img for img in images if img.get("class") == "sheet"]
    assert len(sheets) == 8 and not list(root.iter("script"))
    alts = {img.get("alt") for img in images}
    shown = ids[3].replace("\x07", "\ufffd")
    assert shown in alts and page == check_dataset(data).as_html()


def test_text_has_no_control_characters(faces):
    ids = np.array([f"\x1b[31m{i}" for i in range(len(faces))])
    text = check_dataset(replace(changed(faces, images={5: 0}), ids=ids)).as_text()
    assert "\x1b" not in text and "\ufffd[31m5" in text


# Real data


def test_known_defects_of_the_real_data_are_found(shared, tmp_path, monkeypatch):
    """The published files have 12 constant images, 280 PublicTest images that are in Training too,
    a blank image in row 5274 with another row's votes, and one row with nine votes."""
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(checks, "near_pairs", lambda *args: ([], True))
    folder = shared / "data"
    diagnosis = check(
        folder / "fer2013" / "fer2013.csv.gz",
        votes=folder / "fer2013" / "fer2013new.csv",
        teachers=[folder / "teacher_logits.npz"],
    )
    findings = found(diagnosis)
    assert findings["constant-images"].n == 12
    assert findings["duplicates-across-splits"].n == 280
    assert findings["votes-on-blank-images"].groups == (("fer2013/05274",),)
    assert ("fer2013/05274",) in findings["blank-images"].groups
    assert findings["odd-number-of-votes"].n == 1
    assert "images: 32,298 instead of 35,887" in findings["unexpected-counts"].message
    assert not {"votes-shifted", "teacher-shifted", "teacher-misnamed"} & set(findings)
    assert diagnosis.teachers[0].covers == "all"
    counts = json.loads(diagnosis.as_json())["classes"]
    assert counts["all"] == {
        "train": 28709,
        "validation": 3589,
        "images": 32298,
        "published": 35887,
    }
