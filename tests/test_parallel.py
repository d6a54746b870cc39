"""run_in_threads: everything is done once, errors come out, forks and concurrent callers work."""

import os
import threading
import time
import warnings

import numpy as np
import pytest

from tinycnn import parallel
from tinycnn.parallel import check_n_threads, run_in_threads, usable_cores


@pytest.fixture(autouse=True)
def fresh_pool():
    """Each test makes its own pool, as a new process would."""
    parallel._forget_pool()
    yield
    if parallel._pool is not None:
        parallel._pool.shutdown()
    parallel._forget_pool()


@pytest.mark.parametrize("n_workers", [1, 2, 3, 8, 17])
def test_each_piece_of_work_is_done_once(n_workers):
    done = []
    run_in_threads(done.append, n_workers)
    assert sorted(done) == list(range(n_workers))


def test_the_caller_does_the_first_and_nobody_else():
    threads = {}

    def work(k):
        threads[k] = threading.current_thread()

    run_in_threads(work, 3)
    assert threads[0] is threading.current_thread()
    assert threads[1] is not threads[0] and threads[2] is not threads[0]


def test_one_worker_needs_no_pool():
    run_in_threads(lambda k: None, 1)
    assert parallel._pool is None


def test_work_runs_side_by_side():
    """Every worker waits for all the others: one after another they would wait for ever."""
    barrier = threading.Barrier(4, timeout=30)
    run_in_threads(lambda k: barrier.wait(), 4)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_results_do_not_depend_on_who_is_first(order):
    turn = {k: threading.Event() for k in order}
    result = np.zeros(4)

    def work(k):
        assert turn[k].wait(30)
        result[k] = k * k
        after = order.index(k) + 1
        if after < len(order):
            turn[order[after]].set()

    turn[order[0]].set()
    run_in_threads(work, 4)
    np.testing.assert_array_equal(result, [0, 1, 4, 9])


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_an_error_comes_out_after_all_have_ended(failing):
    ended = []

    def work(k):
        if k == failing:
            raise KeyError(f"work {k}")
        time.sleep(0.05)
        ended.append(k)

    with pytest.raises(KeyError, match=f"work {failing}"):
        run_in_threads(work, 4)
    assert sorted(ended) == [k for k in range(4) if k != failing]


def test_of_several_errors_that_of_the_lowest_number_comes_out():
    def work(k):
        time.sleep(0.02 * (3 - k))
        raise KeyError(f"work {k}")

    with pytest.raises(KeyError, match="work 0"):
        run_in_threads(work, 4)


def test_the_pool_works_after_an_error():
    with pytest.raises(ZeroDivisionError):
        run_in_threads(lambda k: 1 // (1 - k), 2)
    done = []
    run_in_threads(done.append, 2)
    assert sorted(done) == [0, 1]


def test_threads_are_kept_and_not_made_anew():
    before = threading.active_count()
    for _ in range(20):
        run_in_threads(lambda k: None, 3)
    assert threading.active_count() <= before + 2


def test_a_larger_call_gets_a_larger_pool():
    for n_workers in (2, 5, 3):
        barrier = threading.Barrier(n_workers, timeout=30)
        run_in_threads(lambda k: barrier.wait(), n_workers)
    assert parallel._pool_size == 4


def test_threads_of_a_pool_that_was_replaced_end():
    before = threading.active_count()
    for n_workers in range(2, 9):
        barrier = threading.Barrier(n_workers, timeout=30)
        run_in_threads(lambda k: barrier.wait(), n_workers)
    end = time.monotonic() + 30
    while threading.active_count() > before + 7 and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before + 7


def test_concurrent_callers_with_pools_of_growing_size():
    """One caller may replace the pool while another is about to use it."""
    errors, counts = [], []
    start = threading.Barrier(6)

    def caller(number):
        start.wait()
        try:
            for n_workers in range(2, 12):
                done = []
                run_in_threads(done.append, n_workers)
                counts.append(sorted(done) == list(range(n_workers)))
        except Exception as error:
            errors.append(error)

    for _ in range(20):
        parallel._forget_pool()
        callers = [threading.Thread(target=caller, args=(k,)) for k in range(6)]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
    assert errors == []
    assert len(counts) == 20 * 6 * 10 and all(counts)


def run_in_child(work, timeout_s=30):
    """Exit code of a forked child that calls work(): 0 if it returned True."""
    with warnings.catch_warnings():
        # from Python 3.12 on a fork beside threads is warned about; it is what is tested here
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the child hung")


def squares_are_right():
    result = np.zeros(4)

    def work(k):
        result[k] = k * k

    run_in_threads(work, 4)
    return result.tolist() == [0, 1, 4, 9]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_makes_a_pool_of_its_own():
    assert squares_are_right()  # the parent's pool has threads that the child will not have
    assert run_in_child(squares_are_right) == 0
    assert squares_are_right()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_the_lock_is_held():
    with parallel._lock:
        assert run_in_child(squares_are_right) == 0


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "2"])
def test_a_wrong_number_of_threads_is_named(bad):
    with pytest.raises(ValueError, match=f"n_threads is {bad!r}; expected None or a whole number"):
        check_n_threads(bad)


def test_no_number_means_the_usable_cores():
    assert check_n_threads(None) == usable_cores() >= 1
    assert check_n_threads(5) == 5
    if hasattr(os, "sched_setaffinity"):
        assert usable_cores() == len(os.sched_getaffinity(0))
