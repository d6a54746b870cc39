"""Batches of images, targets and soft labels for a training loop, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np

from ferdata.arguments import check_whole_numbers, checked_option
from ferdata.augment import Augmentation
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.mixing import Mixing
from ferdata.warp import resize_images, resize_matrix, warp_images

TARGETS = ("labels", "distribution")

Batch = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]

# Order, augmentation and mixing have a random stream each: switching one off leaves the others as
# they were.
_ORDER, _AUGMENT, _MIX = 0, 1, 2


BATCHES_VERSION = 1
"""Raised, on purpose, by whoever changes which batches, or which training, validation and test
images, the same data set and options give.  The keys of a sweep's data depend on it, and a run is
only resumed with the batches of the version that it began with."""


class Batches:
    """batches(epoch) yields (images, targets, soft_labels), every image once per epoch.

    images       uint8 (n, size_px, size_px): resized and augmented in one bilinear interpolation.
                 If the dataset's images are larger than size_px, the constructor shrinks them
                 first, with anti-aliasing
    targets      int64 (n,) for targets="labels" without `mix`;  float32 (n, K) for
                 targets="distribution", and for "labels" with `mix`
    soft_labels  float32 (n, K) from the dataset, or None. An image that the augmentation mirrors
                 gets its row of the dataset's flipped_soft_labels, if there are any

    n is batch_size, or less in the last batch. All arrays are new each time. What batches(epoch)
    yields depends only on the dataset, the settings and the epoch: not on earlier epochs, other
    Batches or n_threads. How an image is augmented does not depend on the order or the batch size
    either. After the augmentation, `mix` combines pairs of images (`ferdata.Mixing`).

    Attributes: n_images, n_batches, version (BATCHES_VERSION), classes (names in the order of
    targets and soft labels).

    Raises DataError if the dataset is empty or lacks what `targets` asks for, ValueError for
    settings out of range. `progress(done, total)` counts the images that were shrunk.
    """

    version = BATCHES_VERSION

    def __init__(
        self,
        dataset: FaceDataset,
        *,
        batch_size: int = 64,
        size_px: int = 84,
        augment: Augmentation | None = None,
        mix: Mixing | None = None,
        shuffle: bool = True,
        seed: int = 0,
        targets: str = "labels",
        n_threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        check_whole_numbers(1, batch_size=batch_size, size_px=size_px)
        check_whole_numbers(0, seed=seed)
        if not len(dataset):
            raise DataError("no images to make batches of")
        self.classes = dataset.classes
        self.n_images = len(dataset)
        self.n_batches = -(-self.n_images // batch_size)
        self._targets = _targets(dataset, targets)
        if mix and self._targets.ndim == 1:
            self._targets = np.eye(len(dataset.classes), dtype=np.float32)[self._targets]
        self._soft_labels = dataset.soft_labels
        self._flipped_soft_labels = dataset.flipped_soft_labels
        self._batch_size, self._size_px = batch_size, size_px
        self._augment, self._shuffle, self._seed = augment, shuffle, seed
        self._mix = mix or None
        self._n_threads = n_threads
        self._images = dataset.images
        if max(self._images.shape[1:]) > size_px:
            self._images = resize_images(self._images, size_px, progress)

    def __repr__(self) -> str:
        return f"<Batches: {self.n_images:,} images, {self.n_batches:,} batches>"

    def __call__(self, epoch: int) -> Iterator[Batch]:
        check_whole_numbers(0, epoch=epoch)
        return self._epoch(epoch)

    def _epoch(self, epoch: int) -> Iterator[Batch]:
        order = np.arange(self.n_images)
        if self._shuffle:
            np.random.default_rng([self._seed, epoch, _ORDER]).shuffle(order)
        matrices = self._matrices(epoch)
        soft_labels = self._soft_labels
        if soft_labels is not None and self._flipped_soft_labels is not None:
            mirrored = _is_mirrored(matrices) if matrices is not None else False
            soft_labels = np.where(mirrored, self._flipped_soft_labels, soft_labels)
        rng = np.random.default_rng([self._seed, epoch, _MIX])
        with ThreadPoolExecutor(self._n_threads) if self._n_threads > 1 else nullcontext() as pool:
            for start in range(0, self.n_images, self._batch_size):
                which = order[start : start + self._batch_size]
                soft = None if soft_labels is None else soft_labels[which]
                if matrices is None:
                    images = self._images[which]
                else:
                    images = warp_images(
                        self._images, matrices[which], self._size_px, which, self._n_threads, pool
                    )
                batch = images, self._targets[which], soft
                yield self._mix(rng, *batch) if self._mix else batch

    def _matrices(self, epoch: int) -> np.ndarray | None:
        """(N, 2, 3) in the dataset's order; None if the images need no change."""
        height, width = self._images.shape[1:]
        if self._augment is not None:
            rng = np.random.default_rng([self._seed, epoch, _AUGMENT])
            return self._augment.matrices(rng, self.n_images, height, width, self._size_px)
        if (height, width) == (self._size_px, self._size_px):
            return None
        matrix = resize_matrix(height, width, self._size_px)
        return np.broadcast_to(matrix, (self.n_images, 2, 3))


def _is_mirrored(matrices: np.ndarray) -> np.ndarray:
    """bool (N, 1): a matrix mirrors its image if its determinant is negative."""
    (a, b), (c, d) = np.moveaxis(matrices[:, :, :2], 0, -1)
    return (a * d < b * c)[:, None]


def _targets(dataset: FaceDataset, kind: str) -> np.ndarray:
    checked_option("targets", kind, TARGETS)
    found = dataset.labels if kind == "labels" else dataset.targets
    if found is None:
        raise DataError(f"targets={kind!r}: this dataset has no {kind}")
    if kind == "labels" and dataset.has_label is not None and not dataset.has_label.all():
        raise DataError(
            f"targets='labels': {int((~dataset.has_label).sum())} of {len(dataset)} images have no "
            f"label; use dataset.labelled() to leave them out"
        )
    return found
