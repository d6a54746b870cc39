"""The shipped teacher: what its file holds, that it fits the built-in faces and no other images."""

import shutil
from configparser import ConfigParser
from dataclasses import replace
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from drawn_once import drawn_faces

import ferdata
from ferdata import load_rendered_teacher
from ferdata.labels import MICROEXPNET8
from ferdata.teachers import rendered_teacher

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def train():
    return drawn_faces().in_split("train")


@pytest.fixture(scope="module")
def shipped():
    with resources.as_file(resources.files("ferdata") / "teachers" / "rendered.npz") as path:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def other_file(monkeypatch, tmp_path, **changes):
    """Uses a changed copy of the shipped file instead of it."""
    source = resources.files("ferdata") / "teachers" / "rendered.npz"
    (tmp_path / "teachers").mkdir()
    with np.load(source, allow_pickle=False) as file:
        parts = {name: file[name] for name in file.files} | changes
    np.savez(tmp_path / "teachers" / "rendered.npz", **parts)
    monkeypatch.setattr(rendered_teacher.resources, "files", lambda package: tmp_path)
    return parts


def test_exported():
    """The function has another name than its module: else the module would hide it."""
    assert "load_rendered_teacher" in ferdata.__all__
    assert ferdata.load_rendered_teacher is rendered_teacher.load_rendered_teacher


def test_the_file_holds_what_its_readme_says(shipped, train):
    assert sorted(shipped) == ["classes", "ids", "images_sha256", "logits"]
    assert shipped["logits"].shape == (4096, 8) and shipped["logits"].dtype == np.float32
    assert np.isfinite(shipped["logits"]).all()
    assert tuple(shipped["classes"]) == MICROEXPNET8.classes
    assert sorted(shipped["ids"]) == sorted(train.ids)
    assert str(shipped["images_sha256"]) == train.content_hash()
    readme = (resources.files("ferdata") / "teachers" / "README.md").read_text()
    assert "examples/train_teacher.py" in readme and "4,096" in readme


def test_it_is_package_data():
    """A file that setup.cfg does not list is not installed, and loading it would fail."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    patterns = settings["options.package_data"]["ferdata.teachers"].split()
    for name in ("rendered.npz", "README.md"):
        file = resources.files("ferdata") / "teachers" / name
        assert file.is_file()
        assert any(fnmatch(name, pattern) for pattern in patterns)


def test_it_is_mostly_right_on_the_training_faces(train):
    logits = load_rendered_teacher(train)
    assert logits.shape == (4096, 8) and logits.dtype == np.float32
    said = logits.argmax(axis=1)
    # A student gets about 80 % of its own training images right; by chance it would be 12.5 %.
    assert (said == train.labels).mean() > 0.85
    for label in range(8):
        assert (said[train.labels == label] == label).mean() > 0.6, MICROEXPNET8.classes[label]
    # Soft: if one class had all of the probability, it would say no more than a label.
    probs = np.exp(logits / 4 - (logits / 4).max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    assert 0.2 < np.median(probs.max(axis=1)) < 0.99


def test_logits_are_matched_to_images_by_id(monkeypatch, tmp_path, shipped, train):
    order = np.random.default_rng(0).permutation(4096)
    columns = np.random.default_rng(1).permutation(8)
    other_file(
        monkeypatch,
        tmp_path,
        ids=shipped["ids"][order],
        logits=shipped["logits"][order][:, columns],
        classes=shipped["classes"][columns],
    )
    by_id = dict(zip(shipped["ids"].tolist(), shipped["logits"]))
    found = load_rendered_teacher(train)
    for row in (0, 1, 2047, 4095):
        assert np.array_equal(found[row], by_id[str(train.ids[row])])
    assert np.array_equal(found, [by_id[name] for name in train.ids.tolist()])


def assert_refused(dataset):
    with pytest.raises(ferdata.DataError) as caught:
        load_rendered_teacher(dataset)
    message = str(caught.value)
    assert "rendered.npz" in message and "not the ones that this teacher saw" in message
    assert dataset.content_hash()[:16] in message and "train_teacher.py" in message
    assert "\n" not in message


def test_one_pixel_is_enough_to_refuse(train):
    images = train.images.copy()
    images[3000, 40, 40] ^= 1
    assert_refused(replace(train, images=images))


def test_other_images_are_refused(train):
    assert_refused(train.select(np.arange(100)))
    assert_refused(train.select(np.arange(4096)[::-1]))
    assert_refused(drawn_faces().in_split("validation"))


def test_a_missing_file_says_what_to_do(monkeypatch, tmp_path, train):
    monkeypatch.setattr(rendered_teacher.resources, "files", lambda package: tmp_path)
    with pytest.raises(ferdata.DataError, match="shipped teacher is missing; install"):
        load_rendered_teacher(train)


def test_other_ids_are_refused(monkeypatch, tmp_path, shipped, train):
    ids = shipped["ids"].astype("U40")
    ids[17] = "rendered-0/S999/happy/0"
    other_file(monkeypatch, tmp_path, ids=ids)
    with pytest.raises(ferdata.DataError, match="no entry for 1 of 4096 images"):
        load_rendered_teacher(train)


def test_a_damaged_file_is_a_data_error(monkeypatch, tmp_path, train):
    source = resources.files("ferdata") / "teachers" / "rendered.npz"
    (tmp_path / "teachers").mkdir()
    target = tmp_path / "teachers" / "rendered.npz"
    with resources.as_file(source) as path:
        shutil.copy(path, target)
    target.write_bytes(target.read_bytes()[:5000])
    monkeypatch.setattr(rendered_teacher.resources, "files", lambda package: tmp_path)
    with pytest.raises(ferdata.DataError, match="rendered.npz"):
        load_rendered_teacher(train)
