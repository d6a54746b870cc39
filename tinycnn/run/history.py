"""history.jsonl: a line for each epoch of a training run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .. import checkpoint
from ..ground.atomic_file import write_atomically
from ..train import Callback, EpochRecord

NAME = "history.jsonl"


class History(Callback):
    """Writes the file in `folder` anew after each epoch, beginning with the records of `done`: a
    crash may have left it an epoch behind the checkpoint."""

    def __init__(self, folder: Path, done: Sequence[EpochRecord] = ()) -> None:
        self.path, self.records = folder / NAME, list(done)
        self._write()

    def on_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)
        self._write()

    def _write(self) -> None:
        lines = [json.dumps(record.to_dict()) + "\n" for record in self.records]
        write_atomically(self.path, "".join(lines))


def has_begun(folder: Path) -> bool:
    """Whether an epoch was completed in this folder: if not, there is nothing to resume."""
    path = folder / NAME
    return checkpoint.path_in(folder).exists() or path.is_file() and path.stat().st_size > 0
