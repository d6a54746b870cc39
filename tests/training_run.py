"""A training run small enough to be repeated often: interrupted, killed, in other processes.

As a program: `python tests/training_run.py SETUP FOLDER [backend=numba] [n_threads=3] ...`, with
the options of `train`, prints one line per epoch.
"""

import json
import sys

import numpy as np
from small_networks import small_network

from tinycnn import (
    SGD,
    Adam,
    AdamW,
    Constant,
    CosineWithWarmup,
    CrossEntropy,
    Distillation,
    OneCycle,
    ReduceLROnPlateau,
    RMSprop,
    Step,
)
from tinycnn.train import Callback, Validation, iter_epochs

N_EPOCHS, N_IMAGES, BATCH_SIZE = 4, 22, 8
N_BATCHES = 3
N_STEPS = N_EPOCHS * N_BATCHES

# name -> (optimizer class and options, schedule, loss); every optimizer and schedule occurs
SETUPS = {
    "adam constant": (Adam, dict(learning_rate=3e-3), None, CrossEntropy()),
    "adamw one-cycle": (
        AdamW,
        dict(learning_rate=9e-3),
        OneCycle(9e-3, N_STEPS),
        Distillation(4.0, 0.7, "hinton"),
    ),
    "adam cosine": (
        Adam,
        dict(weight_decay=1e-2),
        CosineWithWarmup(5e-3, N_STEPS, 2),
        Distillation(8.0, 0.5, "paper"),
    ),
    "sgd step": (SGD, dict(momentum=0.0), Step(0.05, milestones=(4, 7)), CrossEntropy()),
    "rmsprop plateau": (
        RMSprop,
        dict(centered=True, momentum=0.5),
        ReduceLROnPlateau(4e-3, factor=0.5, patience=1, min_delta=0.8),
        Distillation(4.0, 0.3, "hinton", class_weights=(0.5, 2.0, 1.0, 1.5)),
    ),
    "sgd nesterov": (
        SGD,
        dict(momentum=0.9, nesterov=True),
        Constant(0.01),
        Distillation(4.0, 0.3, "hinton"),
    ),
}

TIMING = ("seconds", "images_per_s")


class TinyBatches:
    """Random images, shuffled in each epoch; the class is the brightest of four rows."""

    def __init__(self, n_images=N_IMAGES, seed=5, shuffle=True):
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, 256, (n_images, 10, 9), dtype=np.uint8)
        self.targets = rng.integers(0, 4, n_images)
        self.images[np.arange(n_images), 2 * self.targets] = 255
        self.soft_labels = rng.normal(0, 2, (n_images, 4)).astype(np.float32)
        self.n_images, self.seed, self.shuffle = n_images, seed, shuffle
        self.n_batches = -(-n_images // BATCH_SIZE)
        self.asked = []

    def __call__(self, epoch):
        self.asked.append(epoch)
        order = np.arange(self.n_images)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.n_images)
        for start in range(0, self.n_images, BATCH_SIZE):
            which = order[start : start + BATCH_SIZE]
            yield self.images[which], self.targets[which], self.soft_labels[which]


def validation(n_images=16):
    held_out = TinyBatches(n_images, seed=6)
    return Validation(held_out.images, held_out.targets)


def make_network(backend="numpy", n_threads=None, seed=3, name="miniature"):
    return small_network(name, backend, np.float32, seed, n_threads=n_threads)


def optimizer_of(setup, backend="numpy"):
    kind, options, _, _ = SETUPS[setup]
    return kind(**options, backend=backend)


def begin(setup, folder, backend="numpy", n_threads=None, seed=3, **options):
    """(network, generator of records) of a run with dropout and validation."""
    network = make_network(backend, n_threads, seed)
    _, _, schedule, loss = SETUPS[setup]
    settings = dict(n_epochs=N_EPOCHS, validation=validation(), loss=loss, schedule=schedule)
    optimizer = optimizer_of(setup, backend)
    optimizer.clip_norm = options.pop("clip_norm", 0.0)
    settings |= dict(optimizer=optimizer, folder=folder, batches=TinyBatches())
    return network, iter_epochs(network, **settings | options)


def train(setup, folder, **options):
    """Run to the end: (network, records)."""
    network, records = begin(setup, folder, **options)
    return network, list(records)


def untimed(row):
    """A record without its times."""
    row = row if isinstance(row, dict) else row.to_dict()
    return {name: value for name, value in row.items() if name not in TIMING}


class StopAt(Callback):
    """Raises KeyboardInterrupt after step (epoch, batch), or after the epoch if batch is None."""

    def __init__(self, epoch, batch=None):
        self.at = (epoch, batch)

    def on_step(self, record):
        if (record.epoch, record.batch) == self.at:
            raise KeyboardInterrupt

    def on_epoch(self, record):
        if (record.epoch, None) == self.at:
            raise KeyboardInterrupt


if __name__ == "__main__":
    options = {}
    for text in sys.argv[3:]:
        option, value = text.split("=")
        options[option] = value if option == "backend" else json.loads(value)
    stop_at = options.pop("stop_at", None)
    if stop_at is not None:
        options["callbacks"] = [StopAt(*stop_at)]
    for epoch_record in begin(sys.argv[1], sys.argv[2], **options)[1]:
        print(f"epoch {epoch_record.epoch}", flush=True)
