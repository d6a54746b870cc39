"""The records of a training, one for each epoch, which is trained when its record is taken."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .divergence import DivergedError
from .ground.folder_lock import FolderLock
from .network import Network


@dataclass(frozen=True)
class EpochRecord:
    """An epoch.  Losses are means over images.  train_* are measured during training, with
    augmentation and dropout; val_* are None without validation data."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    images_per_s: float
    seconds: float
    is_best: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Epochs(Iterator[EpochRecord]):
    """The records of a training, which runs while these are taken.

    lock  of the run's folder, released when the training ends; None: there is no folder
    If no record was taken when this object is deleted, a RuntimeWarning says that nothing was
    trained.
    """

    def __init__(
        self, network: Network, records: Iterator[EpochRecord], lock: FolderLock | None
    ) -> None:
        self._records = _with_last_good_weights(network, records, lock)
        self._lock, self._has_begun = lock, False

    def __next__(self) -> EpochRecord:
        self._has_begun = True
        return next(self._records)

    def close(self) -> None:
        """End the training."""
        self._has_begun = True
        self._records.close()
        release(self._lock)  # a generator that has not begun does not do it

    def __del__(self) -> None:
        if not self._has_begun:
            warnings.warn(
                "nothing was trained: iter_epochs trains while its records are taken, for record "
                "in iter_epochs(...); tinycnn.fit trains when it is called",
                RuntimeWarning,
                stacklevel=2,
            )


def _with_last_good_weights(
    network: Network, epochs: Iterator[EpochRecord], lock: FolderLock | None
) -> Generator[EpochRecord, None, None]:
    """Yields the records of `epochs`; restores the weights from before an epoch that diverges, and
    releases the lock in the end.

    NumPy's warnings of overflow are switched off: DivergedError says more.
    """
    try:
        while True:
            weights = network.parameter_vector.copy()
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    record = network.training_thread.run(lambda: next(epochs, None))
            except DivergedError:
                network.parameter_vector[:] = weights
                raise
            if record is None:
                return
            yield record
    finally:
        release(lock)


def release(lock: FolderLock | None) -> None:
    """Release the lock of a folder, if there is one."""
    if lock is not None:
        lock.release()
