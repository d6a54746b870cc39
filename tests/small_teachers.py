"""A small teacher and small data sets, for the tests of soft labels and of their files."""

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.labels import LabelSpace

THREE = LabelSpace("three", ("happy", "sad", "neutral"))
CLASSES = ["neutral", "sadness", "happiness"]  # another order and other spellings than the data set
LOGITS = np.array([[1, 2, 3], [4, 5, 6], [-7, 8, 9]], dtype=np.float32)
PROBS = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.25, 0.75, 0.0]])
NAN, INF = LOGITS.copy(), LOGITS.copy()
NAN[1, 2], INF[2, 0] = np.nan, np.inf


def masked(array):
    """The array with its first value masked."""
    return np.ma.masked_array(array, np.arange(array.size) == 0)


def dataset(rows=(0, 1, 2), space=THREE):
    rows = np.array(rows)
    return FaceDataset(
        images=np.zeros((len(rows), 2, 2), dtype=np.uint8),
        ids=np.array([f"f/{r}" for r in rows.tolist()], dtype=np.str_),
        label_space=space,
        rows=rows,
    )


def write_npz(folder, drop=(), **changes):
    """teacher.npz: logits of rows 0, 1, 2; arrays can be replaced, added or left out."""
    parts = dict(logits=LOGITS, rows=np.arange(3), classes=np.array(CLASSES))
    parts = {k: v for k, v in {**parts, **changes}.items() if k not in drop}
    np.savez(folder / "teacher.npz", **parts)
    return folder / "teacher.npz"


def write_table(folder, *lines, header="row,neutral,sadness,happiness", first="# logits"):
    """teacher.csv."""
    path = folder / "teacher.csv"
    path.write_text("\n".join([*filter(None, [first]), header, *lines]) + "\n")
    return path


def pictures(n=3):
    rng = np.random.default_rng(7)
    return FaceDataset(
        images=rng.integers(0, 256, (n, 5, 3), dtype=np.uint8),
        ids=np.array([f"any/{i}" for i in range(n)]),
        label_space=THREE,
    )
