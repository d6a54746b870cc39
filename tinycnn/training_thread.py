"""One network is trained by one thread at a time: its gradients and its workspaces are one set.

Any number of threads may predict with it meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_TO_DO = (
    "train it in one thread at a time, or train a network of its own in each (tinycnn.save and "
    "tinycnn.load make a copy)"
)


class TrainingThread:
    """Which thread trains a network now, and whose gradients it has.

    Threads are known by process and number: after a fork, the child has other threads.
    """

    def __init__(self) -> None:
        self._training: dict[str, tuple[int, int]] = {}  # "thread", while one trains
        self._gradients_of: tuple[int, int] | None = None
        self._unread: set[tuple[int, int]] = set()  # have gradients that they have not read yet

    def run(self, work: Callable[[], T]) -> T:
        """Call work(), which trains the network.  It may call this again, as a callback does.
        Raises RuntimeError if another thread trains the network now."""
        me = _this_thread()
        before = self._training.get("thread")
        try:
            # one instruction of Python, so that of two threads only one can succeed
            thread = self._training.setdefault("thread", me)
            if thread != me:
                if self._is_in_run(*thread):
                    raise RuntimeError(f"another thread is training this network: {_TO_DO}")
                self._training["thread"] = me
            return work()
        finally:
            if before != me and self._training.get("thread") == me:
                del self._training["thread"]

    def _is_in_run(self, process: int, number: int) -> bool:
        """Whether that thread is in `run`.  If not, it has left it: a second Ctrl-C can end the
        `finally` there; or it is a thread of the process that this one was forked from."""
        frame = sys._current_frames().get(number) if process == os.getpid() else None
        while frame is not None:
            if frame.f_code is TrainingThread.run.__code__ and frame.f_locals["self"] is self:
                return True
            frame = frame.f_back
        return False

    def computes_gradients(self) -> None:
        """Called before the gradients are overwritten."""
        self._gradients_of = me = _this_thread()
        self._unread.add(me)

    def reads_gradients(self) -> None:
        """Called before gradients are read.  Raises RuntimeError, once, if another thread has
        overwritten those that this thread has computed and not read."""
        me = _this_thread()
        if me in self._unread:
            self._unread.discard(me)
            if self._gradients_of != me:
                raise RuntimeError(
                    f"another thread has overwritten the gradients of this one: {_TO_DO}"
                )

    def check_is_mine(self) -> None:
        """Raise RuntimeError unless this thread was the last to begin a pass in training."""
        if self._gradients_of != _this_thread():
            raise RuntimeError(f"the last forward(x, training=True) was another thread's: {_TO_DO}")


def _this_thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
