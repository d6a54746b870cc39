"""A packed data set is loaded as it was saved; other files are refused."""

import numpy as np
import pytest

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import FERPLUS8
from ferdata.sources.packed import is_packed, load_packed, save_packed

FIELDS = ("images", "ids", "labels", "has_label", "targets", "soft_labels", "subjects", "split")


def whole(n=6):
    rng = np.random.default_rng(0)
    return FaceDataset(
        images=rng.integers(0, 256, (n, 5, 7), dtype=np.uint8),
        ids=np.array([f"ü/{i}" for i in range(n)]),
        label_space=FERPLUS8,
        labels=rng.integers(0, 8, n),
        has_label=rng.random(n) < 0.5,
        targets=rng.dirichlet(np.ones(8), n).astype(np.float32),
        soft_labels=rng.standard_normal((n, 8)).astype(np.float32),
        subjects=np.array([f"s{i // 2}" for i in range(n)]),
        split=np.array(["train", "validation", "test"] * n)[:n],
        rows=np.arange(n) * 3,
    )


def test_written_and_read(tmp_path):
    data = whole()
    save_packed(data, tmp_path / "faces.npz")
    back = load_packed(tmp_path / "faces.npz")
    for name in (*FIELDS, "rows"):
        ours, theirs = getattr(data, name), getattr(back, name)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert back.label_space == data.label_space and is_packed(tmp_path / "faces.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["faces.npz"]


def test_only_images(tmp_path):
    data = FaceDataset(images=whole().images, ids=whole().ids)
    save_packed(data, tmp_path / "faces.npz")
    back = load_packed(tmp_path / "faces.npz")
    assert back.labels is None and back.label_space is None and len(back) == 6


@pytest.fixture
def packed(tmp_path):
    def packed(drop=(), **changes):
        path = tmp_path / "faces.npz"
        save_packed(whole(), path)
        with np.load(path) as file:
            parts = {name: file[name] for name in file.files}
        np.savez(path, **{k: v for k, v in {**parts, **changes}.items() if k not in drop})
        return path

    return packed


@pytest.mark.parametrize(
    "drop, changes, message",
    [
        (["format"], {}, "not a packed data set: `format` is '', expected 'ferdata-faces-1'"),
        ([], dict(format=np.array("ferdata-faces-2")), "`format` is 'ferdata-faces-2'"),
        (["images"], {}, "has no `images`"),
        ([], dict(labels=np.arange(6) + 4), "label 8 .* is outside 'ferplus8'"),
        ([], dict(labels=np.arange(5)), "labels: expected 6 integers"),
        ([], dict(images=np.zeros((6, 5, 7))), "images: expected uint8"),
        ([], dict(ids=np.array(["a"] * 6)), "ids: 'a' occurs more than once"),
        ([], dict(classes=np.arange(8)), "classes: expected names"),
        ([], dict(classes=np.array(["sad", "sadness"])), "names one class twice"),
        (["classes"], {}, "labels: given without a label_space"),
        ([], dict(ids=np.array([{}] * 6)), "no readable .npz file .*Python objects"),
    ],
)
def test_files_that_are_not_packed_data_sets(packed, drop, changes, message):
    with pytest.raises(DataError, match=f"faces.npz: .*{message}"):
        load_packed(packed(drop, **changes))


def test_damaged_and_missing_files(tmp_path, packed):
    path = packed()
    whole_file = bytearray(path.read_bytes())
    path.write_bytes(whole_file[:-30])
    with pytest.raises(DataError, match="no readable .npz"):
        load_packed(path)
    at = whole_file.index(whole().images.tobytes()[:50])
    whole_file[at] ^= 4
    path.write_bytes(whole_file)
    with pytest.raises(DataError, match="no readable .npz file .*CRC"):
        load_packed(path)
    with pytest.raises(DataError, match="none.npz: no such file"):
        load_packed(tmp_path / "none.npz")


def test_is_packed_of_other_things(tmp_path):
    assert not is_packed(tmp_path) and not is_packed(tmp_path / "none")
    (tmp_path / "t.csv").write_text("a,b\n")
    np.savez(tmp_path / "teacher.npz", logits=np.zeros((1, 2)), ids=np.array(["a"]))
    assert not is_packed(tmp_path / "t.csv") and not is_packed(tmp_path / "teacher.npz")
