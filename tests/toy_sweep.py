"""A sweep small enough to be killed many times; its data source logs what was trained.

As a program: `python tests/toy_sweep.py FOLDER N_PROCESSES LOG PAUSE_S` runs `TRIALS`.
"""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tinycnn import sweep

N_EPOCHS, N_TRAIN, N_HELD_OUT, BATCH_SIZE = 4, 16, 6, 8
TOY = dict(variant="v", size=4, epochs=N_EPOCHS, batch_size=BATCH_SIZE)
TEACHER = 99
"""In the log: a teacher that was trained for other trials, instead of its seed."""
TRIALS = sweep.grid(**TOY, loss=["none", "kd"], temperature=[2, 8], seed=[0, 1])


class ToyBatches:
    def __init__(self, source, trial_seed, with_teacher, soft_labels=None):
        self.source, self.seed, self.with_teacher = source, trial_seed, with_teacher
        self.soft_labels = soft_labels
        self.n_images, self.n_batches = N_TRAIN, N_TRAIN // BATCH_SIZE

    def __call__(self, epoch):
        self.source.tell(self.seed, self.with_teacher, epoch)
        images, labels = toy_images(N_TRAIN, 0)
        soft = np.eye(3, dtype=np.float32)[labels] * 4
        soft = soft if self.soft_labels is None else self.soft_labels
        order = np.random.default_rng([self.seed, epoch]).permutation(N_TRAIN)
        for k in range(self.n_batches):
            which = order[k * BATCH_SIZE : (k + 1) * BATCH_SIZE]
            yield images[which], labels[which], soft[which] if self.with_teacher else None


class ToySource:
    """log: file to which each epoch adds a line; pause_s: pause in each epoch.  bad: what goes
    wrong in epoch 1 of the trials with seed `bad_seed`: "raise", "die" or "die once".  Nothing
    goes wrong if the file `unless` exists.
    """

    key = "toy"
    classes = ("one", "two", "three")

    def __init__(self, log=None, pause_s=0.0, bad_seed=None, bad="raise", unless="/nowhere"):
        self.log, self.pause_s = log and str(log), pause_s
        self.bad_seed, self.bad, self.unless = bad_seed, bad, str(unless)

    def parts(self, options, n_threads, soft_labels=None):
        assert options.batch_size == BATCH_SIZE or options.is_teacher
        assert (soft_labels is not None) == (options.teacher_network is not None)
        held_out = [
            SimpleNamespace(images=images, labels=labels, targets=None)
            for images, labels in (toy_images(N_HELD_OUT, 1), toy_images(N_HELD_OUT, 2))
        ]
        seed = TEACHER if options.is_teacher else options.seed
        batches = ToyBatches(self, seed, options.has_teacher, soft_labels)
        return SimpleNamespace(
            batches=batches,
            validation=held_out[0],
            test=held_out[1],
            training_images=lambda: [toy_images(N_TRAIN, 0)[0]],
        )

    def tell(self, seed, with_teacher, epoch):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{seed} {with_teacher:d} {epoch} {os.getpid()}\n")
        time.sleep(self.pause_s)
        if seed == self.bad_seed and epoch == 1 and not os.path.exists(self.unless):
            if self.bad == "die once":
                Path(self.unless).touch()
            if self.bad.startswith("die"):
                os.kill(os.getpid(), 9)
            raise ValueError("epoch 1 is bad")


def toy_images(n, seed):
    """uint8 (n, 84, 84) with a bright band in one of three places, and the labels: which place."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 200, (n, 84, 84), dtype=np.uint8)
    for image, label in zip(images, labels):
        image[28 * label : 28 * label + 20] = 255
    return images, labels


def epochs_trained(log):
    """The lines of a log, each as (seed, with_teacher, epoch, process)."""
    path = Path(log)
    text = path.read_text() if path.exists() else ""
    return [tuple(int(word) for word in line.split()) for line in text.splitlines()]


def untimed(outcome):
    return {
        name: {key: value for key, value in result.items() if key != "seconds"}
        for name, result in outcome.results.items()
    }


if __name__ == "__main__":
    folder, n_processes, log, pause_s = sys.argv[1:]
    source = ToySource(log, float(pause_s))
    sweep.run(TRIALS, source, folder, n_processes=int(n_processes), backend="numpy")
