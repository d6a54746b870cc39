"""The trials of a sweep that have no result yet, and which of them may start.

A student may start when its teacher's soft labels are in the sweep's folder.  The teacher may be
trained by this sweep or by another one, such as another shard in the same folder.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from .folder import SweepFolder
from .trial import Trial
from .work import Report, SweepError

GRACE_S = 30.0
"""So long a teacher of another sweep is waited for while no process works on it."""
CHECK_EVERY_S = 1.0
"""Between two looks for such a teacher."""

_N_SHOWN = 3


class WaitingTrials:
    """Hands out trials: teachers first, and a student only when its teacher's soft labels exist.

    trials: by name.  A trial that was taken must be reported by `ended`, or put back.
    """

    def __init__(self, trials: Mapping[str, Trial], data_key: str, folder: SweepFolder) -> None:
        self.trials, self.folder = dict(trials), folder
        ordered = sorted(trials, key=lambda name: not trials[name].is_teacher)
        self._queue = dict.fromkeys(ordered, 0.0)  # with the earliest time to start
        self._not_ended = set(trials)
        self._have_soft_labels: set[str] = set()
        self._teacher_of: dict[str, str] = {}
        for name, trial in trials.items():
            teacher = trial.teacher()
            if teacher is not None:
                self._teacher_of[name] = teacher.name(data_key)
        self._give_up_at: float | None = None

    def teacher_of(self, name: str) -> str | None:
        """The name of a student's teacher; None for other trials."""
        return self._teacher_of.get(name)

    def take(self) -> str | None:
        """A trial that may start now, or None."""
        now = time.monotonic()
        for name, start_at in self._queue.items():
            if start_at <= now and self._has_soft_labels(name):
                del self._queue[name]
                return name
        return None

    def put_back(self, name: str, pause_s: float = 0.0, first: bool = False) -> None:
        """A trial has to run, again or after all, in pause_s seconds at the earliest."""
        entry = {name: time.monotonic() + pause_s if pause_s else 0.0}
        self._queue = {**entry, **self._queue} if first else {**self._queue, **entry}

    def ended(self, name: str) -> None:
        """A trial is done, or has failed."""
        self._not_ended.discard(name)

    def without_teacher(self) -> dict[str, Report]:
        """Reports of the students that can never start, because their teacher failed; they are
        taken, and have ended."""
        found = {}
        for name in [name for name in self._queue if not self._has_soft_labels(name)]:
            teacher = self._teacher_of[name]
            if teacher not in self._not_ended and self.folder.failure_path(teacher).exists():
                error = self.folder.failure(teacher)["error"]
                found[name] = Report("failed", f"its teacher {teacher} failed: {error}")
                del self._queue[name]
                self.ended(name)
        return found

    def pause_s(self) -> float | None:
        """How long there is nothing to take, unless a trial ends; None: for ever."""
        now = time.monotonic()
        pauses = [
            max(start_at - now, 0.0) if self._has_soft_labels(name) else CHECK_EVERY_S
            for name, start_at in self._queue.items()
            if self._teacher_of.get(name) not in self._not_ended
        ]
        return min(pauses, default=None)

    def check_teachers(self, grace_s: float | None = None) -> None:
        """To be called while no trial runs.  Raises SweepError if all trials that are left have
        waited for GRACE_S, or grace_s, for teachers that nobody trains."""
        absent = {self._teacher_of[name] for name in self._queue if name in self._teacher_of}
        absent = {name for name in absent if not self.folder.is_done(name, is_teacher=True)}
        is_stuck = len(self._not_ended) == len(self._queue) and all(
            self._teacher_of.get(name) in absent for name in self._queue
        )
        if not is_stuck or any(self.folder.is_locked(name) for name in absent):
            self._give_up_at = None
            return
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + (GRACE_S if grace_s is None else grace_s)
        if now >= self._give_up_at:
            raise SweepError(self._what_is_missing(sorted(absent)))

    def _what_is_missing(self, absent: list[str]) -> str:
        shown = ", ".join(absent[:_N_SHOWN])
        shown += f" and {len(absent) - _N_SHOWN} more" if len(absent) > _N_SHOWN else ""
        n = len(self._queue)
        return (
            f"{n} {'trial waits' if n == 1 else 'trials wait'} for teachers that have no soft "
            f"labels in {self.folder.path}: {shown}; another part of the sweep trains them. Run "
            "that part, or copy results/NAME.json and soft_labels/NAME.npy of each of these names "
            "from its folder; then run this command again"
        )

    def _has_soft_labels(self, name: str) -> bool:
        """Whether a trial has the soft labels that it needs, or needs none."""
        teacher = self._teacher_of.get(name)
        if teacher is None or teacher in self._have_soft_labels:
            return True
        if teacher in self._not_ended or not self.folder.is_done(teacher, is_teacher=True):
            return False
        self._have_soft_labels.add(teacher)
        return True
