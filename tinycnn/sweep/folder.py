"""What a sweep keeps on disk.

    results/<name>.json         one file a trial that is done, written when it is done
    failures/<name>.json        the error of a trial that failed, until it is tried again
    models/<name>.safetensors   its network, where networks are kept
    work/<name>/                the checkpoint of a trial under way; removed when it is done

Every file is written atomically, and a trial under way is locked, so several sweeps, shards or
machines may share one folder: nothing is trained twice.  The lock is the system's (flock): it ends
with its process, however that ends.  On a network disk that knows no locks give each machine a
folder of its own and a shard, and copy the results together.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..ground.atomic_file import write_atomically
from .trial import Trial, read_trial

try:
    import fcntl
except ImportError:  # Windows: one sweep at a time in a folder
    fcntl = None  # type: ignore[assignment]


MAX_FILE_BYTES = 32 << 20
"""Of a trial's file: a class and a probability for each of a million images."""

_PARTS = {"best_epoch": int, "n_parameters": int, "seconds": (int, float)}
_PARTS |= {"name": str, "trial": dict, "validation": dict, "test": (dict, type(None))}
_FAILURE = {"name": str, "trial": dict, "error": str}


class SweepFolderError(ValueError):
    """A folder that holds no usable sweep; the message names the file and what is wrong."""


class BusyError(Exception):
    """Another process is at work on this trial."""


@dataclass
class Outcome:
    """What became of a sweep's trials: results and errors by name, in the order of the trials."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class SweepFolder:
    """The folder of a sweep.  Raises OSError where it cannot be made."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        for name in ("results", "failures", "models", "work"):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def result_path(self, name: str) -> Path:
        return self.path / "results" / f"{name}.json"

    def failure_path(self, name: str) -> Path:
        return self.path / "failures" / f"{name}.json"

    def model_path(self, name: str) -> Path:
        return self.path / "models" / f"{name}.safetensors"

    def work_path(self, name: str) -> Path:
        return self.path / "work" / name

    def is_done(self, name: str, with_model: bool = False) -> bool:
        return self.result_path(name).exists() and not (
            with_model and not self.model_path(name).exists()
        )

    def result(self, name: str) -> dict[str, Any]:
        """A trial's result.  Raises SweepFolderError for a file that is not one."""
        path = self.result_path(name)
        result = _read(path, _PARTS)
        for part in ("validation", "test"):
            scores = result[part]
            if scores is not None and not all(
                isinstance(scores.get(key), (int, float)) for key in ("accuracy", "loss")
            ):
                raise _not_a_trial(path, f"{part} without accuracy and loss")
        try:
            missing = [f.name for f in fields(Trial) if f.name not in result["trial"]]
            if missing:
                raise _not_a_trial(path, f"a trial without {missing[0]}")
            read_trial(result["trial"])
        except ValueError as error:
            raise _not_a_trial(path, error) from None
        return result

    def failure(self, name: str) -> dict[str, Any]:
        """A failed trial's options, error and traceback.  Errors as `result`."""
        return _read(self.failure_path(name), _FAILURE)

    def outcome(self, named: Mapping[str, Trial], with_models: bool = False) -> Outcome:
        """What is known of trials, given by their names.  Errors as `result`."""
        known = Outcome()
        for name in named:
            if self.is_done(name, with_models):
                known.results[name] = self.result(name)
            elif self.failure_path(name).exists():
                known.failures[name] = self.failure(name)["error"]
        return known

    def save_result(self, name: str, result: dict[str, Any], model: bytes | None = None) -> None:
        """Keep a result, and the network if there is one; what was left of the work goes."""
        if model is not None:
            write_atomically(self.model_path(name), model)
        write_atomically(self.result_path(name), json.dumps(result) + "\n")
        self.failure_path(name).unlink(missing_ok=True)
        shutil.rmtree(self.work_path(name), ignore_errors=True)
        self._lock_path(name).unlink(missing_ok=True)  # who waits for it finds the result

    def save_failure(self, name: str, trial: Trial, error: str, traceback: str = "") -> None:
        failure = {"name": name, "trial": asdict(trial), "error": error, "traceback": traceback}
        write_atomically(self.failure_path(name), json.dumps(failure, indent=2) + "\n")

    @contextlib.contextmanager
    def locked(self, name: str, wait: bool = False) -> Iterator[None]:
        """Only one process at a time works on a trial; the lock ends with its process.

        Raises BusyError where another one has it, unless `wait`; SweepFolderError without locks.
        """
        if fcntl is None:
            yield
            return
        with open(self._lock_path(name), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise BusyError(name) from None
            except OSError as error:
                raise SweepFolderError(
                    f"{self.path}: this disk locks no files ({error}): give each machine a folder "
                    "of its own and a shard"
                ) from None
            yield

    def _lock_path(self, name: str) -> Path:
        return self.path / "work" / f"{name}.lock"


def _read(path: Path, parts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        wrong = [key for key, kind in parts.items() if not isinstance(content.get(key, ...), kind)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} missing, or of the wrong kind")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise _not_a_trial(path, error) from None


def _not_a_trial(path: Path, reason: object) -> SweepFolderError:
    return SweepFolderError(
        f"{path}: not a trial's file: {reason}; remove it, and the trial is run again"
    )
