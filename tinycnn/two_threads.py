"""Predicts one image in two threads, each with a half of the rows: see `two_tables.py`.

The second thread, the partner, is started when predictions follow one another closely, and waits
for the next image in a loop (`kernels/_meeting.py`).  So a single prediction, or one now and then,
is computed by one thread; a program that predicts in a loop has two threads after the first images.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from time import perf_counter

import numpy as np

from .aligned_arrays import aligned_zeros
from .kernels import _meeting, program
from .kernels.operations import Sizes
from .two_tables import TwoTables

SOON_S = 0.0003
"""A prediction that begins so soon after the end of the last one is worth a partner."""

PATIENCE, IDLE, LONG = 500, 20_000, 5000
"""For `_meeting.py`: some 10 us, 0.2 to 1 ms, and 100 us."""

IDLE_S, MOST_IDLE = 0.0001, 40
"""The partner waits as many times IDLE longer as an image takes IDLE_S, at most MOST_IDLE: while it
is started, the leader does an image alone."""

SAVED, MOST_SAVED_S = 0.2, 0.002
"""Each image by two threads is taken to save this part of the time that it takes.  Waits for the
partner are a loss only if they take longer than was saved.  At most MOST_SAVED_S count as saved:
what was saved long ago does not say that the cores are free now."""

REST, LEAST_REST_S = 20, 0.02
"""After a loss, one thread predicts alone for so many times the time lost, and for 20 ms or longer:
the partner has used up to a millisecond, too.  So not much more than a twentieth is lost where
other programs need the cores."""

CHECK_S, ALONE_S = 1.0, 0.002
"""After so long, one thread predicts alone for ALONE_S, and the times of both are compared: where
two threads share a core, they may not be faster."""

FASTER, SLOWER_REST_S, NEXT_CHECK_S = 0.97, 10.0, 0.02
"""If two threads take more than this part of the time of one, they rest for 10 s, and are compared
again soon after that."""

WARM_UP = 3
"""The first images of a partner do not count: its core's caches are cold, and the memory is new."""

ENOUGH, PAUSE_S = 20, 0.5
"""If a partner has done fewer images than ENOUGH, the next one is started so much later at the
earliest: to start a thread takes up to a millisecond."""

Weights = tuple[np.ndarray, np.ndarray, np.ndarray]
"""`parameters`, `dense_parameters` and `prepared` of `program_predict`."""


class TwoThreads:
    """Single images in two threads, if they are worth it.  Any number of threads may call it: one
    of them gets the partner.

    make_tables  the tables, or None if one thread is as fast; called when first needed
    sizes        of the scratch of a thread
    """

    def __init__(self, make_tables: Callable[[], TwoTables | None], sizes: Sizes) -> None:
        self.make_tables, self.sizes = make_tables, sizes
        self.tables: TwoTables | None = None
        self.is_worth_it = True
        self.idle: list[_Pair | None] = [None]  # the pair, unless a thread has it
        self.begin_s = self.end_s = float("-inf")  # of the last prediction
        self.rest_end_s = float("-inf")
        self.saved_s = 0.0  # by the partner, less the waits for it
        # the time of an image by one and by two threads since the last comparison, and the next one
        self.alone_s = self.together_s = float("inf")
        self.check_s = float("inf")

    def predict(self, weights: Weights, x: np.ndarray, logits_out: np.ndarray) -> bool:
        """The logits of one image.  False: nothing is done, one thread should predict alone and say
        when it `has_ended`.

        x, logits_out  (1, H, W, C), (1, K)
        """
        begin_s = self.begin_s = perf_counter()
        if not self.is_worth_it or begin_s - self.end_s > SOON_S or begin_s < self.rest_end_s:
            return False
        try:
            pair = self.idle.pop()  # atomic
        except IndexError:
            return False
        try:
            if pair is None or pair.weights[2] is not weights[2]:
                pair = self._make_pair(weights)
            if pair is None:
                return False
            is_done = pair.predict(x, logits_out)
            end_s = perf_counter()
            self._count_saved_time(pair, is_done, end_s - begin_s, end_s)
        finally:
            self.idle.append(pair)
        if is_done:
            self.end_s = end_s
        return is_done

    def has_ended(self) -> None:
        self.end_s = perf_counter()
        if self.begin_s < self.rest_end_s:  # else the partner may just be starting
            self.alone_s = _smoothed(self.alone_s, self.end_s - self.begin_s)
        try:
            pair = self.idle[0]
        except IndexError:  # another thread has it
            return
        if pair is not None:
            n_times = 1 + min(int((self.end_s - self.begin_s) / IDLE_S), MOST_IDLE)
            pair.meeting[_meeting.IDLE] = IDLE * n_times

    def _count_saved_time(self, pair: _Pair, is_done: bool, took_s: float, now_s: float) -> None:
        """After an image: count what the partner has saved or cost; begin a rest after a loss.

        is_done  two threads have computed the image;  took_s: for it, or for the attempt
        """
        late = pair.waited_in_vain()
        if is_done and pair.n_images <= WARM_UP:
            return
        if is_done:
            self._compare(took_s, now_s)
        if late:
            self.saved_s -= took_s
        elif is_done:
            self.saved_s = min(self.saved_s + SAVED * took_s, MOST_SAVED_S)
        if self.saved_s < 0:
            self.rest_end_s = now_s + max(-REST * self.saved_s, LEAST_REST_S)
            self.saved_s = 0.0

    def _compare(self, took_s: float, now_s: float) -> None:
        """After an image by two threads: from time to time, begin a rest, during which one thread
        is timed, or a long one if two threads are not faster."""
        self.together_s = _smoothed(self.together_s, took_s)
        if self.check_s == float("inf"):
            self.check_s = now_s + CHECK_S
        if now_s < self.check_s:
            return
        is_faster = self.together_s <= FASTER * self.alone_s
        self.rest_end_s = now_s + (ALONE_S if is_faster else SLOWER_REST_S)
        self.check_s = self.rest_end_s + (CHECK_S if is_faster else NEXT_CHECK_S)
        self.alone_s = self.together_s = float("inf")

    def _make_pair(self, weights: Weights) -> _Pair | None:
        if self.tables is None:
            self.tables = self.make_tables()
            self.is_worth_it = self.tables is not None
        return _Pair(self.tables, self.sizes, weights) if self.tables is not None else None


class _Pair:
    """The memory of two threads that predict images together, and the partner.

    weights  must stay where they are; others need another pair
    """

    def __init__(self, tables: TwoTables, sizes: Sizes, weights: Weights) -> None:
        dtype, x_at = weights[0].dtype, tables.x_at
        values = aligned_zeros(tables.n_values, dtype)
        self.weights, self.x = weights, values[x_at:].reshape(1, 1, 1, -1)
        self.meeting = np.zeros(_meeting.ENDS + len(tables.ends), np.int32)
        self.meeting[_meeting.PATIENCE :] = [PATIENCE, IDLE, LONG, len(tables.ends), *tables.ends]
        self.leader_arguments, self.partner_arguments = (
            (
                *(operations, 0, *weights, self.x, 1, values),
                aligned_zeros(sizes.n_conv_output, dtype),
                aligned_zeros(sizes.n_workspace, dtype),
            )
            for operations in tables.operations
        )
        self.partner: threading.Thread | None = None
        self.start_s, self.n_images = float("-inf"), 0  # of the partner

    def predict(self, x: np.ndarray, logits_out: np.ndarray) -> bool:
        """False if the partner is not there: it is started, for the next image."""
        if self.meeting[_meeting.DOOR] != _meeting.AWAY:
            self.x[0, 0, 0] = x.reshape(-1)
            if program.program_predict(*self.leader_arguments, logits_out, self.meeting):
                self.n_images += 1
                return True
            self.meeting[_meeting.LATE] = 1
        if self.partner is None or not self.partner.is_alive():
            self._start_partner()
        return False

    def waited_in_vain(self) -> bool:
        """Whether the partner has let the leader wait since the last question."""
        late = bool(self.meeting[_meeting.LATE])
        if late:
            self.meeting[_meeting.LATE] = 0
        return late

    def _start_partner(self) -> None:
        now_s = perf_counter()
        if self.n_images < ENOUGH and now_s - self.start_s < PAUSE_S:
            return
        self.start_s, self.n_images = now_s, 0
        arguments = (*self.partner_arguments, self.x[0, 0, :0], self.meeting)
        leader_core = _this_core()

        def work() -> None:
            _leave_core(leader_core)
            program.program_predict(*arguments)

        self.partner = threading.Thread(target=work, name="tinycnn-partner", daemon=True)
        with contextlib.suppress(RuntimeError):  # the system has no thread to give
            self.partner.start()


def _smoothed(mean_s: float, new_s: float) -> float:
    """The mean of the last 16 times or so; interruptions count little.  inf: no mean yet."""
    return new_s if mean_s == float("inf") else mean_s + (min(new_s, 2 * mean_s) - mean_s) / 16


def _this_core() -> int:
    """The number of the core that runs this thread, -1 if the system does not tell."""
    if sys.platform != "linux":
        return -1
    try:
        return int(ctypes.CDLL(None).sched_getcpu())
    except (AttributeError, OSError):
        return -1


def _leave_core(core: int) -> None:
    """Let this thread run on any other core than that.

    Linux often begins a thread on the core of the one that started it.  There the partner, which
    waits in a loop, would take half of the leader's time.
    """
    others = os.sched_getaffinity(0) - {core} if core >= 0 else None
    if others:
        with contextlib.suppress(OSError):  # the system does not allow it
            os.sched_setaffinity(0, others)
