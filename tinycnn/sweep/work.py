"""What a worker does, here or on a cluster: run one trial, from its lock to its result."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import checkpoint
from ..run import ARITHMETIC_VERSION
from .folder import BusyError, SweepFolder, SweepFolderError
from .soft_labels import FILE as SOFT_LABELS
from .soft_labels import from_bytes
from .trial import Source, Trial, run_trial


class SweepError(RuntimeError):
    """The sweep cannot go on with any trial.  The message says why, and what to do."""


class Cancelled(Exception):
    """Raised by on_epoch to stop a trial whose result nobody waits for any more."""


class Report(NamedTuple):
    """A worker's message about a trial.  status: "done", "failed", "busy" (another process works on
    the trial) or "impossible" (no trial can be run).  result, model: of a trial that is done.
    soft_labels: of a teacher that is done, as the content of their file."""

    status: str
    error: str = ""
    traceback: str = ""
    result: dict[str, Any] | None = None
    model: bytes | None = None
    soft_labels: bytes | None = None


def work(
    trial: Trial,
    name: str,
    source: Source,
    folder: SweepFolder,
    *,
    n_threads: int,
    backend: str,
    with_model: bool,
    wait: bool = False,
    soft_of_teacher: bytes | None = None,
    on_epoch: Callable[[int], None] = lambda n_epochs: None,
    keep: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run a trial in `folder`, unless that has its result already.

    name  the trial's in the sweep; a worker with another version or data computes another one
    wait  wait for another process that works on the trial, instead of reporting "busy"
    soft_of_teacher  the file of the soft labels that a student learns from; None: it is in `folder`
    keep  called with the report of a trial that is done or failed, while it is still locked
    """
    if trial.name(source.key) != name:
        return Report(
            "impossible",
            f"a worker's tinycnn (arithmetic version {ARITHMETIC_VERSION}) or data "
            f"({source.key[:12]}) differ from those of the sweep: install the same version "
            "everywhere, and start the sweep again",
        )
    try:
        with folder.locked(name, wait):
            if folder.is_done(name, with_model, trial.is_teacher):
                soft = folder.soft_labels(name) if trial.is_teacher else None
                return Report("done", result=folder.result(name), soft_labels=soft)
            teacher, place = trial.teacher(), folder.work_path(name)
            if teacher is not None and soft_of_teacher is None:
                soft_of_teacher = folder.soft_labels(teacher.name(source.key))
            try:
                soft_of = None if soft_of_teacher is None else from_bytes(soft_of_teacher)
                result = run_trial(
                    trial,
                    source,
                    place,
                    n_threads=n_threads,
                    backend=backend,
                    soft_of_teacher=soft_of,
                    on_epoch=on_epoch,
                )
                model = (place / checkpoint.BEST).read_bytes() if with_model else None
                soft = (place / SOFT_LABELS).read_bytes() if trial.is_teacher else None
                report = Report("done", result=result, model=model, soft_labels=soft)
            except (Cancelled, SweepFolderError, OSError):
                raise
            except Exception as error:
                text = "".join(traceback.format_exception_only(error)).strip()
                report = Report("failed", text, traceback.format_exc())
            keep(report)
            return report
    except BusyError:
        return Report("busy")
    except SweepFolderError as error:
        return Report("impossible", str(error))
    except OSError as error:  # a full or missing disk: no trial's fault, but all would fail
        return Report("impossible", f"{error}; when that is solved, the same sweep goes on")
