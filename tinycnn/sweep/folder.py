"""The folder of a sweep.

    results/<name>.json         the result of a trial that is done
    failures/<name>.json        the error of a trial that failed; removed when it is run again
    models/<name>.safetensors   the network of a trial that is done, if networks are kept
    soft_labels/<name>.npy      of a teacher that is done: for the training images of its fold
    work/<name>/                the checkpoint of a trial that is running; removed when it is done

Every file is written atomically, and a running trial is locked, so several sweeps, shards or
machines can share a folder.  The lock ends with its process, even if that is killed.  On a
network disk without locks give each machine a folder and a shard of its own, and copy the results
into one folder afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..ground.atomic_file import write_atomically
from ..ground.file_lock import can_lock, lock_file
from ..ground.regular_file import read_text_file
from ..run.options import option_table
from .trial import Trial, read_trial

MAX_FILE_BYTES = 32 << 20
"""Enough for the classes and probabilities of a million images in a result."""
MAX_SOFT_LABEL_BYTES = 128 << 20
"""Enough for the soft labels of four million images."""

SUBFOLDERS = ("results", "failures", "models", "soft_labels", "work")

_Types = dict[str, type | tuple[type, ...]]
_RESULT: _Types = {"name": str, "trial": dict, "data": str, "best_epoch": int, "n_parameters": int}
_RESULT |= {"seconds": (int, float), "validation": dict, "test": (dict, type(None))}
_FAILURE: _Types = {"name": str, "trial": dict, "error": str}


class SweepFolderError(ValueError):
    """A sweep's folder cannot be used.  The message names the file and what is wrong."""


class BusyError(Exception):
    """Another process works on this trial."""


@dataclass
class Outcome:
    """The results and the errors of a sweep's trials, by name, in the order of the trials."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class SweepFolder:
    """The folder of a sweep; it is made if it does not exist.  Raises OSError if that fails."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        for name in SUBFOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def result_path(self, name: str) -> Path:
        return self.path / "results" / f"{name}.json"

    def failure_path(self, name: str) -> Path:
        return self.path / "failures" / f"{name}.json"

    def model_path(self, name: str) -> Path:
        return self.path / "models" / f"{name}.safetensors"

    def soft_labels_path(self, name: str) -> Path:
        return self.path / "soft_labels" / f"{name}.npy"

    def work_path(self, name: str) -> Path:
        return self.path / "work" / name

    def is_done(self, name: str, with_model: bool = False, is_teacher: bool = False) -> bool:
        """Whether a trial has its result; also its network, or its soft labels if it is a
        teacher."""
        if with_model and not self.model_path(name).exists():
            return False
        if is_teacher and not self.soft_labels_path(name).exists():
            return False
        return self.result_path(name).exists()

    def result(self, name: str) -> dict[str, Any]:
        """A trial's result.  Raises SweepFolderError for a file that is not a result."""
        path = self.result_path(name)
        result = _read(path, _RESULT)
        for part in ("validation", "test"):
            scores = result[part]
            for key, largest in (("accuracy", 1.0), ("loss", math.inf)):
                if scores is not None and not _is_number(scores.get(key), largest):
                    raise _not_a_trial(
                        path, f"{part} without accuracy and loss, or not of a network"
                    )
        for key in ("best_epoch", "n_parameters", "seconds"):
            if not _is_number(result[key]):
                raise _not_a_trial(path, f"{key} is {result[key]!r:.40}")
        for key in ("train_accuracy", "val_accuracy", "train_loss", "val_loss"):
            largest = 1.0 if key.endswith("accuracy") else math.inf
            values = result.get(key, [])
            is_list = isinstance(values, list)
            if is_list and key.startswith("val_") and set(map(type, values)) == {type(None)}:
                continue  # a training without validation
            if not is_list or not all(_is_number(v, largest) for v in values):
                raise _not_a_trial(path, f"{key} is not a list of the epochs' values")
        try:
            for option, entry in option_table(Trial).items():
                # an option with one default may be newer than the result
                if option not in result["trial"] and not entry.is_same_for_all_recipes:
                    raise _not_a_trial(path, f"a trial without {option}")
            trial = read_trial(result["trial"])
        except ValueError as error:
            raise _not_a_trial(path, error) from None
        if result["name"] != name or trial.name(result["data"]) != name:
            raise _not_a_trial(path, "the result of another trial, other data or another version")
        return result

    def soft_labels(self, name: str) -> bytes:
        """The content of a teacher's file of soft labels.  Raises SweepFolderError if its hash is
        not the one in the teacher's result."""
        path = self.soft_labels_path(name)
        expected = self.result(name).get("soft_labels_sha256")
        try:
            if path.stat().st_size > MAX_SOFT_LABEL_BYTES:
                raise ValueError(f"more than {MAX_SOFT_LABEL_BYTES:,} bytes")
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise _no_soft_labels(path, error) from None
        if hashlib.sha256(content).hexdigest() != expected:
            raise _no_soft_labels(path, f"its sha256 is not the one in {self.result_path(name)}")
        return content

    def failure(self, name: str) -> dict[str, Any]:
        """A failed trial's options, error and traceback.  Raises SweepFolderError like `result`."""
        return _read(self.failure_path(name), _FAILURE)

    def outcome(self, named: Mapping[str, Trial], with_models: bool = False) -> Outcome:
        """The results and errors in the folder.  Raises SweepFolderError like `result`."""
        found = Outcome()
        for name, trial in named.items():
            if self.is_done(name, with_models, trial.is_teacher):
                found.results[name] = self.result(name)
            elif self.failure_path(name).exists():
                found.failures[name] = self.failure(name)["error"]
        return found

    def save_result(
        self,
        name: str,
        result: dict[str, Any],
        model: bytes | None = None,
        soft_labels: bytes | None = None,
    ) -> None:
        """Write a result, and the network and the soft labels if they are given.  Removes the
        trial's other files."""
        if model is not None:
            write_atomically(self.model_path(name), model)
        if soft_labels is not None:
            write_atomically(self.soft_labels_path(name), soft_labels)
        write_atomically(self.result_path(name), json.dumps(result) + "\n")
        self.failure_path(name).unlink(missing_ok=True)
        shutil.rmtree(self.work_path(name), ignore_errors=True)
        with contextlib.suppress(PermissionError):  # Windows keeps it: it is open here
            self._lock_path(name).unlink(missing_ok=True)  # who waits for it sees the result

    def save_failure(self, name: str, trial: Trial, error: str, traceback: str = "") -> None:
        failure = {"name": name, "trial": asdict(trial), "error": error, "traceback": traceback}
        write_atomically(self.failure_path(name), json.dumps(failure, indent=2) + "\n")

    @contextlib.contextmanager
    def locked(self, name: str, wait: bool = False) -> Iterator[None]:
        """Lock a trial, so that no other process works on it.

        If another process has the lock: waits for it (wait=True), or raises BusyError.  Raises
        SweepFolderError if the disk has no locks.
        """
        if not can_lock():
            yield
            return
        with open(self._lock_path(name), "ab") as file:
            try:
                lock_file(file.fileno(), wait)
            except BlockingIOError:
                raise BusyError(name) from None
            except OSError as error:
                raise SweepFolderError(
                    f"{self.path}: this disk cannot lock files ({error}): give each machine its "
                    "own folder and its own shard"
                ) from None
            yield

    def is_locked(self, name: str) -> bool:
        """Whether a process works on this trial.  Raises SweepFolderError like `locked`."""
        if not self._lock_path(name).exists():
            return False
        try:
            with self.locked(name):
                return False
        except BusyError:
            return True

    def _lock_path(self, name: str) -> Path:
        return self.path / "work" / f"{name}.lock"


def is_sweep_folder(folder: str | Path) -> bool:
    """Whether a sweep has begun in this folder."""
    return all((Path(folder) / name).is_dir() for name in SUBFOLDERS)


def refuse_foreign_folder(folder: str | Path, results: Iterable[str]) -> None:
    """Raise SweepFolderError if `folder` is not a sweep's, and holds a file that the results would
    overwrite.  results: their names, which may be patterns such as "curves*.png"."""
    if is_sweep_folder(folder):
        return
    found = [path for pattern in results for path in Path(folder).glob(pattern)]
    if found:
        raise SweepFolderError(
            f"{folder}: holds {found[0].name}, which would be overwritten, and is not the folder "
            "of a sweep; choose another folder"
        )


def _read(path: Path, types: _Types) -> dict[str, Any]:
    """A JSON object with at least these entries.  Raises SweepFolderError for anything else."""
    try:
        content = json.loads(read_text_file(path, MAX_FILE_BYTES))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        wrong = [key for key, kind in types.items() if not isinstance(content.get(key, ...), kind)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} missing, or of the wrong type")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise _not_a_trial(path, error) from None


def _is_number(value: object, largest: float = math.inf) -> bool:
    """Whether it is a finite number from 0 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= largest and value < math.inf


def _not_a_trial(path: Path, reason: object) -> SweepFolderError:
    return SweepFolderError(
        f"{path}: not a trial's file: {reason}; remove it, then the trial will run again"
    )


def _no_soft_labels(path: Path, reason: object) -> SweepFolderError:
    return SweepFolderError(
        f"{path}: not this teacher's soft labels: {reason}; remove it, then the teacher will be "
        "trained again"
    )
