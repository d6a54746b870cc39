"""run_in_threads: all work is done once, errors are raised, forks and concurrent callers work.

The last tests are of whole networks: with any number of threads, and whatever else runs at the same
time, the results have the bits of a single thread.
"""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from forked_child import run_in_child

from tinycnn import (
    Adam,
    BatchNorm,
    Conv2D,
    CrossEntropy,
    Dense,
    Flatten,
    InputSpec,
    Network,
    ReLU,
    models,
    parallel,
)
from tinycnn.ground import usable_cores as cores
from tinycnn.kernels import _jit, dense
from tinycnn.parallel import Threads, check_n_threads, run_in_threads, threads_of, usable_cores


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


def test_only_the_caller_does_the_first_piece():
    threads = {}

    def work(k):
        threads[k] = threading.current_thread()

    run_in_threads(work, 3)
    assert threads[0] is threading.current_thread()
    assert threads[1] is not threads[0] and threads[2] is not threads[0]


def test_one_worker_needs_no_pool():
    run_in_threads(lambda k: None, 1)
    assert parallel._pool is None


def test_work_runs_concurrently():
    """Every worker waits for all others, so if they ran one after another, they would hang."""
    barrier = threading.Barrier(4, timeout=30)
    run_in_threads(lambda k: barrier.wait(), 4)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_results_do_not_depend_on_the_order_of_threads(order):
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
def test_an_error_is_raised_after_all_work_has_ended(failing):
    ended = []

    def work(k):
        if k == failing:
            raise KeyError(f"work {k}")
        time.sleep(0.05)
        ended.append(k)

    with pytest.raises(KeyError, match=f"work {failing}"):
        run_in_threads(work, 4)
    assert sorted(ended) == [k for k in range(4) if k != failing]


def test_of_several_errors_the_first_by_number_is_raised():
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


def test_threads_are_reused():
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


def squares_are_right():
    result = np.zeros(4)

    def work(k):
        result[k] = k * k

    run_in_threads(work, 4)
    return result.tolist() == [0, 1, 4, 9]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_its_own_pool():
    assert squares_are_right()  # creates the parent's pool, whose threads the child does not have
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


def test_by_default_all_usable_cores_are_used(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)  # without a limit of a container
    assert check_n_threads(None) == usable_cores() >= 1
    assert check_n_threads(5) == 5
    if hasattr(os, "sched_setaffinity"):
        assert usable_cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "files, n_cores",
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # rounded up
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "6400000 100000\n"}, 64),
        ({"cpu.max": "not what is expected\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_container_may_give_less_than_all_cores(files, n_cores, monkeypatch, tmp_path):
    """The files of Linux's control groups, version 2 and version 1."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert usable_cores() == n_cores


def test_as_many_threads_as_the_work_is_worth():
    share = parallel.LEAST_SHARE
    some = Threads(8, is_given=False)
    assert [some.for_work(100, n * share // 2) for n in (0, 1, 2, 3, 4, 5, 99)] == [
        *(1, 1, 1, 1, 2, 2, 8)
    ]
    assert some.for_work(3, 99 * share) == 3 and some.for_work(0, 0) == 1
    chosen = Threads(8, is_given=True)
    assert chosen.for_work(100, 0) == 8 and chosen.for_work(3, 0) == 3
    assert threads_of(None) == (usable_cores(), False) and threads_of(None).argument is None
    assert threads_of(2) == (2, True) and threads_of(2).argument == 2


def test_small_work_starts_no_thread(monkeypatch):
    """Prediction, training and scaling, in floats and in 8-bit integers."""
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8), dtype=np.uint8)
    for n_threads in (None, 2):
        layers = [Conv2D(2, 3), BatchNorm(), ReLU(), Flatten(), Dense(3)]
        network = Network(layers, InputSpec(8, 8, classes=tuple("abc")), n_threads=n_threads)
        folded, quantized = network.folded(), network.quantized(images)
        network.loss_and_gradients(network.scale(images), CrossEntropy(), LABELS[:32] % 3)
        network.predict_logits(images)
        folded.predict_logits(images)
        quantized.predict_logits(images)
        assert (parallel._pool is None) == (n_threads is None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs cores to be taken away")
def test_cores_that_this_process_may_not_use_are_not_counted():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from tinycnn import models\n"
        "print(models.microexpnet().n_threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n", done.stderr


# ---- whole networks ----------------------------------------------------------------------------

N_IMAGES, N_STEPS = 43, 3  # so that the last chunk is not full, in prediction and in training
IMAGES = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 84, 84), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 8, N_IMAGES)


def trained(n_threads, seed=0, variant="p12"):
    """Parameters after some steps, with dropout, and the logits of each step."""
    network = models.microexpnet(
        variant, scaling="standardized", dropout=0.2, seed=seed, n_threads=n_threads
    )
    loss, optimizer, logits = CrossEntropy(), Adam(1e-3), []
    x = network.scale(IMAGES)
    for _ in range(N_STEPS):
        logits.append(network.forward(x, training=True))
        network.backward(loss(logits[-1], LABELS)[1])
        optimizer.step(network.parameter_vector, network.gradient_vector)
    return network.parameter_vector.copy(), np.array(logits)


def assert_same_bits(found, expected):
    for mine, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, right)


@pytest.fixture(scope="module")
def alone():
    """Results of a single thread: the network, its logits, and the results of `trained`."""
    network = models.microexpnet(n_threads=1)
    return network, network.predict_logits(IMAGES), trained(1)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_prediction_and_training_have_the_bits_of_one_thread(alone, n_threads):
    _, logits, training = alone
    assert np.isfinite(training[0]).all() and (training[1][0] != training[1][-1]).any()
    network = models.microexpnet(n_threads=n_threads)
    np.testing.assert_array_equal(network.predict_logits(IMAGES), logits)
    assert_same_bits(trained(n_threads), training)


@pytest.mark.parametrize("variant", ["v", "p2"])
def test_other_networks_train_with_the_bits_of_one_thread(variant):
    assert_same_bits(trained(3, variant=variant), trained(1, variant=variant))


def side_by_side(*calls):
    """The results of calls that start together, each in its own thread."""
    start, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(k):
        start.wait()
        try:
            results[k] = calls[k]()
        except Exception as error:
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "hung"
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def test_networks_that_train_concurrently_do_not_affect_each_other(alone):
    """At the same time, all of them predict with one shared network."""
    network, logits, training = alone
    shared = models.microexpnet(n_threads=2)
    other = trained(1, seed=1)
    assert (other[0] != training[0]).any()
    predict = lambda: [shared.predict_logits(IMAGES) for _ in range(10)]  # noqa: E731
    found = side_by_side(
        lambda: trained(2), lambda: trained(3), lambda: trained(2, seed=1), predict, predict
    )
    assert_same_bits(found[0], training)
    assert_same_bits(found[1], training)
    assert_same_bits(found[2], other)
    for mine in (*found[3], *found[4]):
        np.testing.assert_array_equal(mine, logits)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_threads_are_busy_predicts_and_trains(alone):
    """The child has neither the threads of the parent's pool nor the predicting one.  Locks that
    they held at the fork may stay locked."""
    _, logits, training = alone
    network = models.microexpnet(n_threads=3)
    np.testing.assert_array_equal(network.predict_logits(IMAGES), logits)
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            network.predict_logits(IMAGES)

    def work():
        same = (network.predict_logits(IMAGES) == logits).all()
        return same and all((a == b).all() for a, b in zip(trained(3), training))

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        assert [run_in_child(work, timeout_s=120) for _ in range(3)] == [0, 0, 0]
        nested = lambda: work() and run_in_child(work, timeout_s=120) == 0  # noqa: E731
        assert run_in_child(nested, timeout_s=240) == 0
    finally:
        stop.set()
        busy.join()
    np.testing.assert_array_equal(network.predict_logits(IMAGES), logits)
    assert_same_bits(trained(3), training)


@pytest.mark.skipif(not hasattr(dense.dense_forward, "py_func"), reason="without the JIT")
def test_every_kernel_releases_the_interpreter_lock():
    assert {name for name, k in _jit.KERNELS.items() if not k.targetoptions.get("nogil")} == set()


@pytest.mark.skipif(not hasattr(dense.dense_forward, "py_func"), reason="without the JIT")
def test_python_runs_while_a_kernel_does():
    """Another thread sees a partly written result, which it could not if the lock were held."""
    x = np.ones((4000, 1000), np.float32)
    w, b = np.ones((1000, 400), np.float32), np.zeros(400, np.float32)
    y = np.empty((4000, 400), np.float32)
    half_seen = False
    for _ in range(50):
        y[:] = 0
        kernel = threading.Thread(target=dense.dense_forward, args=(x, w, b, y))
        kernel.start()
        while kernel.is_alive() and not half_seen:
            half_seen = y[0, 0] != 0 and y[-1, -1] == 0
        kernel.join()
        assert (y == 1000).all()
        if half_seen:
            return
    pytest.fail("no other thread ran while a kernel did")
