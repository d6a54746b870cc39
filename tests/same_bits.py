"""One training from pixels to weights; prints hashes, to be compared with those of other processes.

    python tests/same_bits.py N_THREADS [FOLDER [STOP]]

prints one line for the augmented images and one for the weights of each dtype.  Checkpoints are
kept in FOLDER, and training resumes from them if there are any.  With STOP, training stops in the
middle of that epoch.
"""

import contextlib
import hashlib
import sys
from pathlib import Path

import numpy as np

import ferdata
from tinycnn import (
    AdamW,
    Conv2D,
    Dense,
    Distillation,
    Dropout,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    OneCycle,
    ReLU,
    checkpoint,
    iter_epochs,
)
from tinycnn.train import Callback, Validation

N_IMAGES, BATCH_SIZE, N_EPOCHS, SIZE_PX = 53, 20, 3, 24
DTYPES = (np.float32, np.float64)


def layers():
    """Small layers of every kind that MicroExpNet has, dropout included."""
    block = lambda F, K: [Conv2D(F, K, stride=2), ReLU(), MaxPool2D(2)]  # noqa: E731
    return [*block(6, 8), *block(9, 4), Flatten(), Dense(7), ReLU(), Dropout(0.3), Dense(8)]


def make_batches(n_threads):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N_IMAGES, 31, 29), dtype=np.uint8)
    dataset = ferdata.FaceDataset(
        images=images,
        ids=np.arange(N_IMAGES).astype(str),
        label_space=ferdata.MICROEXPNET8,
        labels=rng.integers(0, 8, N_IMAGES),
        soft_labels=rng.normal(0, 2, (N_IMAGES, 8)).astype(np.float32),
    )
    options = dict(batch_size=BATCH_SIZE, size_px=SIZE_PX, augment=ferdata.Augmentation())
    return ferdata.Batches(dataset, **options, n_threads=n_threads)


class StopIn(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_step(self, record):
        if (record.epoch, record.batch) == (self.epoch, 1):
            raise KeyboardInterrupt


def trained(n_threads, dtype, folder=None, stop=None):
    """The parameters at the end of training, or when it was stopped."""
    batches = make_batches(n_threads)
    spec = InputSpec(SIZE_PX, SIZE_PX, scaling="standardized")
    network = Network(layers(), spec, dtype=dtype, n_threads=n_threads, seed=1)
    held_out = np.concatenate([images for images, _, _ in batches(9)])
    resume = folder is not None and checkpoint.path_in(folder).exists()
    records = iter_epochs(
        network,
        batches,
        loss=Distillation(4.0, 0.5, "hinton"),
        optimizer=AdamW(3e-3),
        schedule=OneCycle(3e-3, N_EPOCHS * batches.n_batches),
        n_epochs=N_EPOCHS,
        validation=Validation(held_out, np.arange(N_IMAGES) % 8),
        callbacks=[] if stop is None else [StopIn(stop)],
        folder=folder,
        resume=resume,
    )
    with contextlib.suppress(KeyboardInterrupt):
        list(records)
    return network.parameter_vector


def sha256(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


if __name__ == "__main__":
    n_threads = int(sys.argv[1])
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    stop = int(sys.argv[3]) if len(sys.argv) > 3 else None
    epochs = [make_batches(n_threads)(epoch) for epoch in range(2)]
    print("images", sha256(*(images for epoch in epochs for images, _, _ in epoch)))
    for dtype in DTYPES:
        folder = None if place is None else place / np.dtype(dtype).name
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        print(np.dtype(dtype).name, sha256(trained(n_threads, dtype, folder, stop)))
