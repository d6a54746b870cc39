"""The same options and data give the networks and batches that recorded_arithmetic.json has.

Sweeps name their trials by ARITHMETIC_VERSION and BATCHES_VERSION, and use earlier results of the
same name.  Whoever changes what training computes raises one of them, then records anew:

    python tests/test_arithmetic_version.py

Bits depend on the processor and on NumPy, so results are compared to a tolerance: TOLERANCE of the
largest number for networks, on both backends; a level of grey for images.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toy_sweep import toy_images

import ferdata
from ferdata.training import batch_options
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.optim import optimizer_from_name
from tinycnn.run import ARITHMETIC_VERSION, TrainingData, TrainingOptions, TrainingRun
from tinycnn.train import Validation

RECORDED = Path(__file__).resolve().parent / "recorded_arithmetic.json"
TOLERANCE = 5e-5
"""The two backends, which round differently, differ by 1e-6."""

SMALL = dict(variant="v", size=16, epochs=3, learning_rate=3e-3, batch_norm=False)
"""Without BatchNorm, which "defaults" has: behind a BatchNorm, an input that is the same for all
images has a gradient of 0 but for rounding, and Adam makes a whole step of it."""
TRAININGS = {
    "defaults": dict(epochs=2, learning_rate=3e-3),
    "recipe paper": dict(SMALL, recipe="paper", size=48, learning_rate=1e-4),
    "kd-z, sgd, cosine": dict(SMALL, loss="kd-z", optimizer="sgd", schedule="cosine"),
    "dkd, adam, constant": dict(SMALL, loss="dkd", optimizer="adam", schedule="constant"),
    "dkd-z, p1": dict(SMALL, loss="dkd-z", variant="p1"),
    "dist, p2": dict(SMALL, loss="dist", variant="p2"),
    "no teacher, smoothing, dropout": dict(SMALL, loss="none", label_smoothing=0.1, dropout=0.3),
    "averaged, clipped": dict(SMALL, ema_decay=0.8, clip_norm=0.5, temperature=[2, 8]),
}


class FixedBatches:
    """Three batches of five images with soft labels, the same in every epoch."""

    n_images, n_batches = 15, 3

    def __call__(self, epoch):
        images, labels = toy_images(self.n_images, 0)
        soft = np.eye(3, dtype=np.float32)[labels] * 3 + np.arange(3, dtype=np.float32)
        for start in range(0, self.n_images, 5):
            which = slice(start, start + 5)
            yield images[which], labels[which], soft[which]


def trained(options, backend):
    """The logits of the network for six images after training, and the losses of the epochs."""
    images, labels = toy_images(6, 1)
    data = TrainingData(FixedBatches(), ("a", "b", "c"), Validation(images, labels))
    run = TrainingRun(TrainingOptions(**options), data, backend=backend, n_threads=1)
    losses = [record.train_loss for record in run.train()]
    return {"logits": run.network.predict_logits(images).tolist(), "losses": losses}


BATCHES = {
    "plain": dict(augment=False),
    "augmented": dict(augment=True),
    "half augmented": dict(augment=True, augment_strength=0.5, flipped_teacher=True),
    "mixed": dict(augment=False, mixup=0.4),
    "boxes": dict(augment=True, cutmix=1.0, has_teacher=False),
}


def faces():
    """24 images of six people, with gradients in all directions, so that any shift shows."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    slopes = rng.uniform(-2.5, 2.5, (24, 2, 1, 1))
    images = np.clip(128 + slopes[:, 0] * (x - 24) + slopes[:, 1] * (y - 24), 0, 255)
    soft = rng.normal(0, 2, (24, 3)).astype(np.float32)
    found = ferdata.FaceDataset(
        images=images.astype(np.uint8),
        ids=np.array([f"image {k}" for k in range(24)]),
        label_space=ferdata.LabelSpace("three", ("a", "b", "c")),
        labels=np.arange(24) % 3,
        subjects=np.array([f"S{k // 4}" for k in range(24)]),
    )
    return found.with_soft_labels(soft, soft[::-1].copy())


def batches_of(options):
    """For each image of an epoch: its grey level in four quarters, targets and soft labels."""
    settings = dict(seed=5, batch_size=7, augment_strength=1.0, mixup=0.0, cutmix=0.0)
    settings |= dict(has_teacher=True, flipped_teacher=False, input_px=84)
    made = ferdata.make_batches(faces(), SimpleNamespace(**settings | options))
    rows = []
    for images, targets, soft in made(1):
        quarters = images.reshape(len(images), 2, 42, 2, 42).mean(axis=(2, 4)).reshape(-1, 4)
        columns = [quarters, targets.reshape(len(images), -1)]
        rows.append(np.concatenate(columns + ([] if soft is None else [soft]), axis=1))
    return np.concatenate(rows).tolist()


def divided():
    """The numbers of the images in the three parts of a fold, by subject and at random."""
    return {
        protocol: [
            rows.tolist()
            for rows in ferdata.TrialFaces(faces(), protocol=protocol, n_folds=3)._rows(1)
        ]
        for protocol in ("subject", "random")
    }


def recorded():
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def assert_recorded(found, expected, allowed, version):
    found, expected = np.asarray(found), np.asarray(expected)
    message = f"the results have changed: raise {version}, then record anew (see above)"
    assert found.shape == expected.shape and np.abs(found - expected).max() <= allowed, message


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", TRAININGS)
def test_networks_are_those_of_this_version(name, backend):
    expected = recorded()["trainings"][name]
    found = trained(TRAININGS[name], backend)
    for part, values in expected.items():
        allowed = TOLERANCE * np.abs(values).max()
        assert_recorded(found[part], values, allowed, "tinycnn.run.ARITHMETIC_VERSION")


@pytest.mark.parametrize("name", BATCHES)
def test_batches_are_those_of_this_version(name):
    found, version = batches_of(BATCHES[name]), "ferdata.batch_options.BATCHES_VERSION"
    assert_recorded(found, recorded()["batches"][name], 1.0, version)
    order = np.asarray(recorded()["batches"][name])[:, 4:]
    assert_recorded(np.asarray(found)[:, 4:], order, 1e-5, version)


def test_folds_are_those_of_this_version():
    assert divided() == recorded()["folds"], "raise ferdata.batch_options.BATCHES_VERSION"


def test_the_recorded_versions_are_those_of_the_code():
    versions = [recorded()[name] for name in ("ARITHMETIC_VERSION", "BATCHES_VERSION")]
    assert versions == [ARITHMETIC_VERSION, batch_options.BATCHES_VERSION], "record anew"


def test_a_change_of_the_arithmetic_is_noticed(monkeypatch):
    """AdamW with another beta2 by default."""

    def another(name, **options):
        return optimizer_from_name(name, beta2=0.998, **options)

    monkeypatch.setattr("tinycnn.run.training.optimizer_from_name", another)
    with pytest.raises(AssertionError, match="raise tinycnn.run.ARITHMETIC_VERSION"):
        test_networks_are_those_of_this_version("defaults", "numpy")


if __name__ == "__main__":
    content = {
        "ARITHMETIC_VERSION": ARITHMETIC_VERSION,
        "BATCHES_VERSION": batch_options.BATCHES_VERSION,
        "trainings": {name: trained(options, "numpy") for name, options in TRAININGS.items()},
        "batches": {name: batches_of(options) for name, options in BATCHES.items()},
        "folds": divided(),
    }
    rounded = json.loads(json.dumps(content), parse_float=lambda text: round(float(text), 6))
    write_atomically(RECORDED, json.dumps(rounded, indent=None) + "\n")
