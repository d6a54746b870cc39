"""Progress bars of training runs and of sweeps."""

from __future__ import annotations

import sys

from tqdm import tqdm

from ..run import TrainingRun
from ..train import Callback, EpochRecord, StepRecord


class TrainingBar(Callback):
    """Shows a training run image by image, with loss and accuracy.  Used in a `with`."""

    def __init__(self, title: str, run: TrainingRun) -> None:
        self.n_images = run.data.batches.n_images
        self.bar = tqdm(
            desc=title,
            total=self.n_images * run.options.epochs,
            initial=self.n_images * len(run.records),
            unit="img",
            unit_scale=True,
            mininterval=_interval_s(),
        )
        self.val_accuracy = run.records[-1].val_accuracy if run.records else None

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def on_step(self, record: StepRecord) -> None:
        self.bar.update(record.epoch * self.n_images + record.n_images - self.bar.n)
        shown = {"loss": f"{record.mean_loss:.3f}", "acc": f"{record.mean_accuracy:.1%}"}
        if self.val_accuracy is not None:
            shown["val"] = f"{self.val_accuracy:.1%}"
        self.bar.set_postfix(shown, refresh=False)

    def on_epoch(self, record: EpochRecord) -> None:
        self.val_accuracy = record.val_accuracy


class TrialBar:
    """Shows the trials of a sweep; to be called with `(n_done, n_failed, n_trials)`.  Used in a
    `with`; it appears at the first call."""

    bar: tqdm | None = None

    def __enter__(self) -> TrialBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, n_done: int, n_failed: int, n_trials: int) -> None:
        n = n_done + n_failed
        if self.bar is None:
            self.bar = tqdm(desc="trials", total=n_trials, initial=n, mininterval=_interval_s())
        if n_failed:
            self.bar.set_postfix(failed=n_failed, refresh=False)
        self.bar.update(n - self.bar.n)


def _interval_s() -> float:
    """Time between two updates: few lines in a log file."""
    return 0.5 if sys.stderr.isatty() else 30
