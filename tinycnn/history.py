"""History: what `fit` returns, the records of all epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .ground.messages import aligned
from .train import EpochRecord

COLUMNS = {
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "val_loss": "val_loss",
    "val_accuracy": "val_accuracy",
    "learning_rate": "learning_rate",
}
"""The names of Keras, and the fields of an EpochRecord."""

MOST_ROWS = 12
"""The text of a history shows at most this many epochs."""


@dataclass(frozen=True, repr=False)
class History:
    """The records of a training run, an EpochRecord for each epoch.

    `history.history` has the same as Keras' History.history: lists by name.  `history["val_loss"]`
    is one of them.  As text it is a table; of a long run it shows the first and the last epochs.
    """

    epochs: tuple[EpochRecord, ...]

    @property
    def history(self) -> dict[str, list[float]]:
        """A list of one number for each epoch, by name: loss, accuracy, learning_rate, and with
        validation data val_loss and val_accuracy.  loss and accuracy are measured during training,
        as in EpochRecord."""
        found = {}
        for name, field in COLUMNS.items():
            values = [getattr(record, field) for record in self.epochs]
            if values and all(value is not None for value in values):
                found[name] = values
        return found

    @property
    def best(self) -> EpochRecord:
        """The epoch with the highest accuracy on the validation data, or without it the one with
        the lowest training loss; the first of equal ones."""
        return [record for record in self.epochs if record.is_best][-1]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        columns = self.history
        if name not in columns:
            raise KeyError(f"{name!r}: this history has {', '.join(columns)}")
        return columns[name]

    def __repr__(self) -> str:
        if not self.epochs:
            return "<History: no epochs>"
        columns = self.history
        names = [name for name in columns if name != "learning_rate"]
        shown = list(range(len(self)))
        if len(shown) > MOST_ROWS:
            shown[MOST_ROWS // 2 : -MOST_ROWS // 2] = []
        rows = [
            [str(self.epochs[k].epoch), *(f"{columns[n][k]:.4f}" for n in names)] for k in shown
        ]
        if len(shown) < len(self):
            rows.insert(MOST_ROWS // 2, ["..."] * (1 + len(names)))
        title = f"<History: {len(self)} epochs, the best is epoch {self.best.epoch}>"
        return f"{title}\n{aligned([['epoch', *names], *rows], 0)}"
