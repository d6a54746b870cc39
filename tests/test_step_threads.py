"""The parts of a training step: their order, in any number of threads, and how they end early.

`tests/attacks/test_interrupted_steps.py` interrupts whole steps.
"""

import random
import signal
import threading
import time

import numpy as np
import pytest

from tinycnn.kernels._barrier import (
    LATE,
    N_CELLS,
    STOPPED,
    wait_for_threads,
    wait_for_threads_plain,
)
from tinycnn.parallel import Workers, run_in_threads
from tinycnn.step_threads import Part, StepThreads

pytestmark = pytest.mark.kernels


def step_threads(are_woken=False):
    """are_woken: for each part, as where other programs need the cores."""
    made = StepThreads(4, Workers())
    made.rest_end_s = float("inf") if are_woken else made.rest_end_s
    return made


def written_parts(kinds, note):
    """Parts that call note(number, thread): "a" by all threads, "1" by one."""

    def part(number, kind):
        return Part(lambda thread: note(number, thread), by_all=kind == "a")

    return [part(number, kind) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize("are_woken", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("kinds", ["", "a", "1", "a1a", "11a1", "aa11aa", "1" * 5 + "a" * 20])
def test_each_part_begins_when_all_have_done_the_one_before(kinds, n_threads, are_woken):
    done = []

    def note(number, thread):
        expected = {(k, t) for k, t in all_calls(kinds, n_threads) if k < number}
        assert expected <= set(done)
        time.sleep(random.random() * 0.0005)
        done.append((number, thread))

    step_threads(are_woken).run(written_parts(kinds, note), n_threads)
    assert sorted(done) == all_calls(kinds, n_threads)


def all_calls(kinds, n_threads):
    return [(k, t) for k, kind in enumerate(kinds) for t in range(n_threads if kind == "a" else 1)]


@pytest.mark.parametrize("are_woken", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("kinds", ["aa1", "aa1aa", "aa11a", "111", "11111"])
def test_a_part_of_one_thread_that_returns_false_is_the_last(kinds, n_threads, are_woken):
    done = []

    def note(number, thread):
        done.append((number, thread))
        return number != 2

    step_threads(are_woken).run(written_parts(kinds, note), n_threads)
    assert sorted(done) == all_calls(kinds[:3], n_threads)


@pytest.mark.parametrize("n_threads", [2, 4])
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_ends_all_threads_and_is_raised(failing, n_threads):
    done = []

    def note(number, thread):
        if (number, thread) == (1, failing):
            raise ZeroDivisionError("part 1")
        done.append(number)

    with pytest.raises(ZeroDivisionError, match="part 1"):
        step_threads().run(written_parts("aaa", note), n_threads)
    assert done.count(0) == n_threads and 2 not in done


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs pthread_kill")
def test_ctrl_c_while_one_thread_waits_ends_both():
    threads, done = step_threads(), []

    def note(number, thread):
        done.append((number, thread))
        if thread == 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while not threads.workers.call.stopped:
                time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        threads.run(written_parts("aa", note), 2)
    assert all(number == 0 for number, _ in done)
    threads.run(written_parts("aa", lambda number, thread: done.append(number)), 2)
    assert done[-4:] == [0, 0, 1, 1]


def test_two_steps_at_once_have_all_their_threads():
    """As two networks that are trained in two threads."""
    all_are_there, done = threading.Barrier(2 * 3, timeout=20), []

    def step():
        step_threads().run(written_parts("aa", note), 3)

    def note(number, thread):
        if number == 0:
            all_are_there.wait()
        done.append(number)

    both = [threading.Thread(target=step, daemon=True) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert done.count(0) == done.count(1) == 2 * 3


def test_a_part_may_use_threads_itself():
    """As a layer of the user's own that predicts with another network."""
    done = []

    def note(number, thread):
        if number == 1:
            run_in_threads(done.append, 4)
            step_threads().run(written_parts("aa", lambda *words: done.append(words)), 4)

    step_threads().run(written_parts("a1a", note), 4)
    assert len(done) == 4 + 8


@pytest.mark.parametrize("late, rests", [(1, True), (0, False)])
def test_after_a_long_wait_for_others_threads_are_woken_for_each_part(late, rests):
    """As where other programs need the cores.  What the first thread does is no wait."""
    threads = step_threads()
    threads.run(written_parts("aa", lambda number, thread: thread != late or time.sleep(0.1)), 2)
    assert (threads.rest_end_s > time.perf_counter()) == rests


def test_a_thread_that_waits_long_leaves_its_core():
    started = time.process_time()
    step_threads().run(written_parts("1a", lambda number, thread: number or time.sleep(0.5)), 2)
    assert time.process_time() - started < 0.25


@pytest.mark.parametrize("wait", [wait_for_threads, wait_for_threads_plain])
def test_a_wait_ends_when_enough_have_arrived_or_all_are_stopped(wait):
    cells = np.zeros(N_CELLS, np.int32)
    assert wait(cells, 2, 1, 5) == LATE
    assert wait(cells, 2, 0, 5) == LATE
    assert wait(cells, 2, 1, 5) == 1
    assert wait(cells, 3, 0, 5) == LATE
    cells[STOPPED] = 1
    assert wait(cells, 3, 0, 5) == 0
