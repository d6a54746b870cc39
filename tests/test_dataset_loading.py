"""Data sets are recognised, with the reason; if that is impossible, one error says why."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest
from source_trees import (
    Linked,
    ck_plus,
    faces,
    full_ck_plus,
    full_oulu_casia,
    oulu_casia,
    photo,
    save,
    write,
)

import ferdata.sources.dataset_loading
from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS8, FERPLUS10
from ferdata.photos.faces import find_faces
from ferdata.sources.dataset_loading import SOURCES, list_files, load_listed, recognise

open_faces = ferdata.sources.dataset_loading.open


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))


def linked(root, *places):
    link = Linked(root)
    for place in places:
        link(place)
    return link.root


def fer2013_csv(path, n=6):
    usages = ["Training"] * (n - 2) + ["PublicTest", "PrivateTest"]
    pixels = " ".join(["7"] * 48 * 48)
    lines = [f"{i % 7},{pixels},{usage}" for i, usage in enumerate(usages)]
    return write(path, "\n".join(["emotion,pixels,Usage", *lines]) + "\n")


def votes_csv(path, n=6):
    usages = ["Training"] * (n - 2) + ["PublicTest", "PrivateTest"]
    header = "Usage,Image name," + ",".join(FERPLUS10.classes)
    lines = [f"{u},fer{i}.png,0,10,0,0,0,0,0,0,0,0" for i, u in enumerate(usages)]
    return write(path, "\n".join([header, *lines]) + "\n")


def fer_folders(root):
    for split in ("train", "test"):
        for name in sorted(FER2013.classes):
            save(root / split / name / "1.png", np.full((48, 48), 9, np.uint8))
    return root


# Recognition

LAYOUTS = {
    "ck_plus": (lambda t: full_ck_plus(t), "cohn-kanade-images/ holds CK"),
    "oulu_casia": (lambda t: full_oulu_casia(t), "VL/Strong/ holds Oulu-CASIA's subject folders"),
    "ck_folders": (
        lambda t: linked(t, "happy/S010_006_00000015.png", "anger/S011_001_00000014.png"),
        "CK.'s names",
    ),
    "kdef": (lambda t: linked(t, "KDEF/AF01/AF01ANS.JPG"), "such as KDEF/AF01/AF01ANS.JPG"),
    "sfew": (
        lambda t: linked(
            t,
            "Train/Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png",
            "Train/Train_Aligned_Faces/Sad/Airheads_000519240_00000006.png",
        ),
        "Train_Aligned_Faces/ with class folders",
    ),
    "expw": (
        lambda t: write(t / "label/label.lst", "a_1.jpg 0 28 113 226 311 22.9 0\n").parent.parent,
        "ExpW's list of faces, label/label.lst",
    ),
    "affectnet": (
        lambda t: (
            write(t / "lists/training.csv", "subDirectory_filePath,expression\n").parent.parent
        ),
        "AffectNet's list of images, lists/training.csv",
    ),
    "ferplus_folders": (
        lambda t: write(t / "FER2013Valid/label.csv", "").parent.parent,
        "FER2013Valid/ with FER",
    ),
    "raf_db": (
        lambda t: write(t / "EmoLabel/list_patition_label.txt", "").parent.parent,
        "EmoLabel/list_patition_label.txt",
    ),
    "jaffe": (lambda t: linked(t, "jaffe/KA.AN1.39.tiff"), "such as jaffe/KA.AN1.39.tiff"),
    "fer2013_folders": (fer_folders, "test/, train/ with FER2013's seven class folders"),
    "fer2013": (lambda t: fer2013_csv(t / "fer2013/fer2013.csv").parent.parent, "fer2013.csv"),
    "folders": (lambda t: linked(t, "happy/1.png", "Sad/2.png"), "after classes: Sad, happy"),
    "manifest": (
        lambda t: write(t / "list.csv", "path,label,split\na.png,sad,train\n"),
        "a csv with the columns path,label,split",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_recognised_and_says_why(tmp_path, source):
    build, why = LAYOUTS[source]
    path = build(tmp_path / "data")
    found = recognise(path)
    assert found.source == source
    assert why.replace("CK.", "CK+") in found.why


@pytest.mark.parametrize(
    "name, pack",
    [
        ("fer2013.csv", lambda data: data),
        ("anything.csv", lambda data: data),
        ("fer2013.csv.gz", gzip.compress),
        ("icml_face_data.csv", lambda data: data.replace(b"on,pix", b"on, pix")),
    ],
)
def test_fer2013_files_are_recognised_by_their_header(tmp_path, name, pack):
    data = fer2013_csv(tmp_path / "plain.csv").read_bytes()
    path = write(tmp_path / name, pack(data))
    assert recognise(path).source == "fer2013"
    found = open_faces(path)
    assert found.images.shape == (6, 48, 48) and found.label_space is FER2013


def test_fer2013_zip_folder_and_votes(tmp_path):
    csv = fer2013_csv(tmp_path / "plain.csv")
    (tmp_path / "fer").mkdir()
    with zipfile.ZipFile(tmp_path / "fer/fer2013.zip", "w") as archive:
        archive.write(csv, "fer2013/fer2013.csv")
    votes = votes_csv(tmp_path / "fer/fer2013new.csv")
    assert recognise(tmp_path / "fer/fer2013.zip").source == "fer2013"
    assert open_faces(tmp_path / "fer").labels.tolist() == [0, 1, 2, 3, 4, 5]
    found = open_faces(tmp_path / "fer", votes=votes, target="majority", cache=False)
    assert found.label_space is FERPLUS8 and found.labels.tolist() == [1] * 6


def test_for_votes_alone_the_error_says_what_they_are(tmp_path):
    with pytest.raises(DataError, match="FER.'s votes, .*; open FER2013's csv with votes="):
        recognise(votes_csv(tmp_path / "fer2013new.csv"))


def test_real_fer2013(shared):
    folder = shared / "data/fer2013"
    assert recognise(folder).source == recognise(folder / "fer2013.csv.gz").source == "fer2013"
    with pytest.raises(DataError, match="FER.'s votes"):
        recognise(folder / "fer2013new.csv")


# What cannot be recognised.


def test_if_nothing_is_recognised_the_error_lists_what_was_expected(tmp_path):
    root = linked(tmp_path / "data", "holiday/beach.png", "1.png")
    with pytest.raises(DataError) as error:
        recognise(root)
    message = str(error.value)
    assert message.startswith(
        f"{root}: no data set recognised. It holds 2 files (2 .png), such as "
    )
    assert "Looked for CK+" in message
    for words in ("cohn-kanade-images", "CK+48", "Oulu-CASIA", "list_patition_label.txt"):
        assert words in message
    for words in ("KA.AN1.39.tiff", "fer2013.csv", "train/", "path,label"):
        assert words in message
    assert "\n" not in message


def test_if_several_are_recognised_the_error_names_them(tmp_path):
    root = oulu_casia(tmp_path / "data", n_people=1)
    linked(root / "more", "jaffe/KA.AN1.39.tiff")
    with pytest.raises(
        DataError, match="more than one data set: oulu_casia .* and jaffe .*source="
    ):
        recognise(root)
    assert list_files(root, "jaffe").paths == ("more/jaffe/KA.AN1.39.tiff",)
    assert len(list_files(root, source="oulu_casia")) == 18


def test_the_csv_beside_the_folders_is_ambiguous(tmp_path):
    root = fer_folders(tmp_path / "data")
    fer2013_csv(root / "fer2013.csv")
    with pytest.raises(DataError, match="more than one data set: fer2013_folders .* and fer2013 "):
        open_faces(root)
    assert len(open_faces(root, "fer2013")) == 6
    shutil.copy(root / "fer2013.csv", root / "icml_face_data.csv")
    with pytest.raises(DataError, match="expected .* one file of FER2013, found .*csv, .*csv$"):
        open_faces(root, "fer2013")


def test_a_named_source_overrides_what_is_recognised(tmp_path):
    root = linked(tmp_path / "data", "happy/S010_006_00000015.png", "sad/S011_001_00000014.png")
    assert recognise(root).source == "ck_folders"
    assert list_files(root, "folders").subjects is None
    with pytest.raises(DataError, match="expected one folder called cohn-kanade-images"):
        list_files(root, "ck_plus")


@pytest.mark.parametrize("source", [s for s in SOURCES if s not in ("manifest", "fer2013")])
def test_every_source_refuses_an_empty_folder_and_a_file(tmp_path, source):
    (tmp_path / "empty").mkdir()
    file = write(tmp_path / "file.csv", "path,label\n")
    for path in (tmp_path / "empty", file, tmp_path / "none"):
        with pytest.raises(DataError, match=str(path)):
            list_files(path, source)


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("empty.csv", b"", "empty file, expected a csv with a header"),
        ("image.png", b"\x89PNG\r\n\x1a\n", "no csv with a header in UTF-8"),
        ("nul.csv", b"path\0,label\n", "no csv with a header in UTF-8"),
        (
            "long.csv",
            b"path," * 9000,
            "no column is known to hold paths .*9,001 in all",
        ),
        ("cut.csv.gz", gzip.compress(b"emotion,pixels,Usage\n" * 99)[:30], "damaged or incomplete"),
        ("some.csv", b"emotion,faces\n0,1 2\n", "no data set recognised"),
        ("test.csv", b"pixels\n1 2\n", "images without labels, .* icml_face_data.csv have them"),
        ("other.csv", b"name,label\n1,sad\n", "no data set recognised; .* 2 columns: name, label"),
    ],
)
def test_files_that_are_not_data_sets(tmp_path, name, data, message):
    path = write(tmp_path / name, data)
    with pytest.raises(DataError, match=message) as error:
        recognise(path)
    assert str(path) in str(error.value) and len(str(error.value)) < 600


def test_an_archive_of_images_must_be_unpacked_first(tmp_path):
    with zipfile.ZipFile(tmp_path / "CK+.zip", "w") as archive:
        archive.writestr("cohn-kanade-images/S005/001/S005_001_00000001.png", b"x")
    with pytest.raises(DataError, match="archives of other data sets have to be unpacked"):
        recognise(tmp_path / "CK+.zip")


def test_no_such_path(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file"):
        recognise(tmp_path / "nowhere")


# Options and loading


def test_unknown_sources_and_options(tmp_path):
    root = ck_plus(tmp_path / "CK+", {"S005/001": (3, 4)})
    with pytest.raises(ValueError, match="source: expected one of fer2013, ck_plus, .* found 'ck'"):
        open_faces(root, "ck")
    with pytest.raises(
        ValueError,
        match="votes=...: ck_plus has no such argument; it has protocol=..., unl",
    ):
        open_faces(root, votes="v.csv")
    with pytest.raises(ValueError, match="root=...: jaffe has no such argument; it has none"):
        list_files(root, "jaffe", root="a")
    csv = fer2013_csv(tmp_path / "fer2013.csv")
    with pytest.raises(
        ValueError, match="protocol=...: fer2013 has no such argument; it has votes=..., target="
    ):
        open_faces(csv, protocol="paper")
    with pytest.raises(ValueError, match="framing='paper': FER2013's csv holds cropped faces"):
        open_faces(csv, framing="paper")
    with pytest.raises(DataError, match="FER2013's csv holds its images"):
        list_files(csv)


class Loader:
    """In place of load_faces: keeps its arguments, returns images filled with their number."""

    def __call__(self, paths, **options):
        self.paths, self.options = list(paths), options
        assert all(p.is_file() for p in self.paths)
        return np.stack([np.full((84, 84), i, np.uint8) for i in range(len(self.paths))])


@pytest.fixture
def loader(monkeypatch):
    monkeypatch.setattr(ferdata.sources.dataset_loading, "load_faces", loader := Loader())
    return loader


def test_everything_listed_is_in_the_data_set(tmp_path, loader):
    root = linked(tmp_path / "set", "a/1.png", "a/2.png")
    path = write(
        root / "m.csv", "path,label,subject,split\na/2.png,sad,Ann,test\na/1.png,,Bob,train\n"
    )
    data = open_faces(path, progress=print, n_workers=3, on_missing="whole")
    assert data.ids.tolist() == ["a/2.png", "a/1.png"]
    assert loader.paths == [root / "a/2.png", root / "a/1.png"]
    assert data.images[:, 0, 0].tolist() == [0, 1]
    assert data.classes == ("sad",) and data.has_label.tolist() == [True, False]
    assert data.subjects.tolist() == ["Ann", "Bob"] and data.split.tolist() == ["test", "train"]
    assert data.rows.tolist() == [0, 1]
    assert loader.options["progress"] is print and loader.options["n_workers"] == 3
    assert loader.options["on_missing"] == "whole"


def test_framing_of_the_source_or_of_the_caller(tmp_path, loader):
    root = ck_plus(tmp_path / "CK+", {"S005/001": (3, 4)})
    keys = set()
    for given, expected in (({}, "paper"), ({"framing": "fer2013"}, "fer2013")):
        open_faces(root, **given)
        assert loader.options["framing"] == expected
        keys.add(loader.options["cache_key"])
    open_faces(root, framing=None, protocol="last-frame")
    assert loader.options["framing"] is None
    keys.add(loader.options["cache_key"])
    assert len(keys) == 2  # one for each protocol; frame_photos adds the framing
    assert all(str(root) in key and "ck_plus" in key for key in keys)


def test_one_photo_from_path_to_face(tmp_path):
    save(tmp_path / "set/happy/1.png", photo(0, "happy", 320, 240))
    save(tmp_path / "set/sad/1.png", photo(1, "sadness", 240, 320))
    data = open_faces(tmp_path / "set", framing="fer2013")
    for i, place in enumerate(("happy/1.png", "sad/1.png")):
        expected = find_faces(tmp_path / "set" / place, "fer2013").images[0]
        np.testing.assert_array_equal(data.images[i], expected)


def test_given_boxes_replace_the_face_search(tmp_path):
    save(tmp_path / "set/happy/1.png", photo(0, "happy", 320, 240))
    save(tmp_path / "set/sad/1.png", photo(1, "sadness", 320, 240))
    boxes = np.array([[10, 20, 90, 90], [60, 40, 120, 110]])
    data = load_listed(list_files(tmp_path / "set"), framing="paper", boxes=boxes)
    for i, place in enumerate(("happy/1.png", "sad/1.png")):
        expected = find_faces(tmp_path / "set" / place, "paper", boxes=boxes[i : i + 1]).images[0]
        np.testing.assert_array_equal(data.images[i], expected)


def test_a_broken_image_is_named(tmp_path):
    root = linked(tmp_path / "set", "happy/1.png", "sad/1.png")
    (root / "sad/1.png").unlink()
    write(root / "sad/1.png", faces().images[0].tobytes()[:99])
    with pytest.raises(DataError, match="sad/1.png"):
        open_faces(root)


def test_listed_images_must_have_one_label_each(tmp_path):
    files = list_files(linked(tmp_path / "set", "happy/1.png", "sad/1.png"))
    assert files.summary() == "folders: 2 images, 1 happy, 1 sad"
    assert load_listed(files).labelled().labels.tolist() == [0, 1]


def test_a_packed_data_set_is_read_unchanged(tmp_path):
    images = np.arange(2 * 84 * 84, dtype=np.uint32).astype(np.uint8).reshape(2, 84, 84)
    ferdata.save_packed(
        ferdata.FaceDataset(images=images, ids=np.array(["a", "b"])), tmp_path / "faces.npz"
    )
    back = ferdata.open(tmp_path / "faces.npz")
    np.testing.assert_array_equal(back.images, images)
    assert back.ids.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="protocol"):
        ferdata.open(tmp_path / "faces.npz", protocol="paper")
