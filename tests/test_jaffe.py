"""Listing JAFFE: expression and person come from the file name, as its ReadMe says."""

import numpy as np
import pytest
from source_trees import Linked, photo, save, write

from ferdata.errors import DataError
from ferdata.labels import JAFFE
from ferdata.photos.faces import find_faces
from ferdata.sources.dataset_loading import load_listed, recognise
from ferdata.sources.jaffe import list_files

# Photos by the code in their names, 213 in all, and the ten women.
PUBLISHED = dict(AN=30, DI=29, FE=32, HA=31, NE=30, SA=31, SU=30)
PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
DOCUMENTED = dict(
    AN="anger", DI="disgust", FE="fear", HA="happiness", NE="neutral", SA="sadness", SU="surprise"
)


def jaffe(root, names):
    link = Linked(root)
    for name in names:
        link(name)
    return root


def all_names():
    number = 0
    for code, n in PUBLISHED.items():
        for i in range(n):
            number += 1
            yield f"{PEOPLE[i % 10]}.{code}{i // 10 + 1}.{number}.tiff"


@pytest.mark.parametrize("folder", ["", "jaffe/", "jaffedbase/jaffe/"])
def test_the_complete_data_set(tmp_path, folder):
    root = jaffe(tmp_path / "set", [folder + name for name in all_names()])
    write(root / folder / "README_FIRST.txt", "read me")
    assert recognise(root).source == "jaffe"
    files = list_files(root)
    assert len(files) == 213 and files.counts == files.published
    for path, label, subject in zip(files.paths, files.labels, files.subjects):
        person, code, _, _ = path.rpartition("/")[2].split(".")
        assert subject == person and JAFFE.classes[label] == DOCUMENTED[code[:2]]
    assert JAFFE.classes == tuple(DOCUMENTED.values()) and files.framing == "paper"


def test_in_class_folders(tmp_path):
    names = ["Anger/KA.AN1.39.tiff", "Happy/KL.HA1.158.tiff", "Sad/KL.SA1.159.jpg"]
    root = jaffe(tmp_path / "JAFFE", names)
    assert recognise(root).source == "jaffe"
    files = list_files(root)
    assert [JAFFE.classes[i] for i in files.labels] == ["anger", "happiness", "sadness"]
    assert files.subjects.tolist() == ["KA", "KL", "KL"]


def test_photos_become_framed_faces(tmp_path):
    root = tmp_path / "jaffe"
    for name, person, emotion in (("KA.HA1.29.tiff", 0, "happy"), ("KM.NE1.13.tiff", 1, "neutral")):
        save(root / name, photo(person, emotion, 256, 256))
    data = load_listed(list_files(root))
    assert data.ids.tolist() == ["KA.HA1.29.tiff", "KM.NE1.13.tiff"]
    assert [data.classes[i] for i in data.labels] == ["happiness", "neutral"]
    expected = find_faces(root / "KM.NE1.13.tiff", "paper").images[0]
    np.testing.assert_array_equal(data.images[1], expected)


@pytest.mark.parametrize(
    "names, message",
    [
        (["KA.XX1.39.tiff"], "unknown expression 'XX', expected one of AN, DI, FE"),
        (["lena.png"], "lena.png: expected a name such as KA.AN1.39.tiff"),
        (["KA.AN1.tiff"], "KA.AN1.tiff: expected a name"),
        (["ka.an1.39.tiff"], "the same name as .*KA.AN1.39.tiff|same name as ka.an1.39.tiff"),
        (["KA.AN1.39.png"], "KA.AN1.39.tiff: the same name as KA.AN1.39.png"),
        (["copy/KA.AN1.39.tiff"], "copy/KA.AN1.39.tiff: the same name as KA.AN1.39.tiff"),
        (["Happy/KM.SA1.9.tiff"], "KM.SA1.9.tiff: sadness by its name, but in the folder Happy/"),
    ],
)
def test_broken_folders(tmp_path, names, message):
    root = jaffe(tmp_path / "jaffe", ["KA.AN1.39.tiff", *names])
    with pytest.raises(DataError, match=message):
        list_files(root)


def test_a_folder_without_jaffe_files(tmp_path):
    with pytest.raises(DataError, match="no images named like KA.AN1.39.tiff"):
        list_files(jaffe(tmp_path / "set", ["1.png"]))
