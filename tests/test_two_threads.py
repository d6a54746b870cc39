"""One image in two threads: the same bits as in one, and no thread reads or writes what the other
one may be writing."""

import math
import os
import sys
import threading
import time

import numpy as np
import pytest
from forked_child import run_in_child
from small_networks import SMALL_NETWORKS, small_network

from tinycnn import InputSpec, Network, two_tables, two_threads
from tinycnn.kernels import _meeting
from tinycnn.kernels.operations import VIEW
from tinycnn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool2D,
    MaxPool2D,
    PReLU,
    ReLU,
    Residual,
    Tanh,
)
from tinycnn.two_tables import Rows, cut_in_two, windows_of

LARGER_NETWORKS = {
    # Winograd with both strides and tiles of several rows, whose last ones are not whole
    "microexpnet": (
        [
            *(Conv2D(64, 8, stride=2), ReLU(), MaxPool2D(2)),
            *(Conv2D(64, 4, stride=2), ReLU(), MaxPool2D(2)),
            *(Flatten(), Dense(48), ReLU(), Dense(8)),
        ],
        (84, 84, 1),
    ),
    "stride_2_without_pooling": (
        [Conv2D(64, 8, stride=2), Conv2D(32, 4, stride=2), Flatten(), Dense(5)],
        (61, 47, 1),
    ),
    "winograd_3x3": (
        [
            *(Conv2D(16, 3), BatchNorm(), ReLU(), MaxPool2D(2)),
            *(Conv2D(24, 3, padding="valid"), ReLU(), MaxPool2D(2, padding="valid")),
            *(Residual([Conv2D(24, 3), BatchNorm(), ReLU(), Conv2D(24, 3)]), ReLU()),
            *(Conv2D(40, 3, padding="valid"), GlobalAveragePool2D(), Dense(7)),
        ],
        (51, 45, 1),
    ),
    "depthwise": (
        [
            *(Conv2D(8, 3, stride=2), ReLU(max_value=6), DepthwiseConv2D(3), ReLU(), Conv2D(16, 1)),
            *(DepthwiseConv2D(3, stride=2), BatchNorm(), ReLU(), Conv2D(32, 1), ReLU()),
            *(DepthwiseConv2D(5), GlobalAveragePool2D(), Dense(3)),
        ],
        (33, 30, 3),
    ),
    "few_filters": (
        [Conv2D(6, 5), ReLU(), MaxPool2D(2), Conv2D(4, 3), Conv2D(5, 5, stride=(2, 1)), Flatten()]
        + [Dense(120), ReLU(), Dense(10)],
        (28, 28, 1),
    ),
    # what stands behind a dense layer is cut where that is
    "vectors": (
        [
            *(Flatten(), Dense(128), BatchNorm(), ReLU(), Dense(100), PReLU(), BatchNorm(), Tanh()),
            *(Residual([Dense(100), BatchNorm()]), ReLU(), Dense(50), BatchNorm(), Dense(9)),
        ],
        (1, 1, 64),
    ),
    # the last layer is cut, too
    "dense": ([Flatten(), Dense(128), ReLU(), Dense(100), Dense(640)], (8, 8, 10)),
}
NETWORKS = {**SMALL_NETWORKS, **LARGER_NETWORKS}
COMPILED = pytest.mark.jit("the threads meet in compiled code")
EVERY_NETWORK = pytest.mark.parametrize("name", sorted(NETWORKS))


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Predictions follow one another closely, however long they take, and the threads wait longer
    for each other and never rest: the tests run on busy machines."""
    monkeypatch.setattr(two_threads, "SOON_S", 10)
    monkeypatch.setattr(two_threads, "PATIENCE", 10**7)
    monkeypatch.setattr(two_threads, "IDLE", 10**6)
    monkeypatch.setattr(two_threads, "MOST_IDLE", 0)
    monkeypatch.setattr(two_threads, "CHECK_S", 1e9)
    monkeypatch.setattr(two_threads, "LONG", 10**9)
    monkeypatch.setattr(two_threads, "LEAST_REST_S", 0)
    monkeypatch.setattr(two_threads, "PAUSE_S", 0)


@pytest.fixture
def always_cut(monkeypatch):
    """Cut every network that can be cut, whether it is worth it or not."""
    monkeypatch.setattr(two_tables, "WORTH", math.inf)


def network_of(name, n_threads=2):
    if name in SMALL_NETWORKS:
        return small_network(name, "numba", np.float32, n_threads=n_threads)
    layers, (H, W, C) = LARGER_NETWORKS[name]
    network = Network(layers, InputSpec(H, W, C), seed=3, n_threads=n_threads, backend="numba")
    shapes = {key: shape for key, (_, shape) in network.plan.parameter_slots.items()}
    biases = {key: shape for key, shape in shapes.items() if key.endswith(".b")}
    rng = np.random.default_rng
    network.set_parameters({k: rng(5).normal(0, 0.3, shape) for k, shape in biases.items()})
    return network


def images_of(name, n_images):
    shape = NETWORKS[name][1]
    return np.random.default_rng(1).normal(size=(n_images, *shape)).astype(np.float32)


def prediction_of(network):
    """What computes its predictions: without BatchNorm."""
    run = network._run
    return run._folded() if run.has_batch_norm else run


def tables_of(name):
    """The table for prediction, and both for two threads."""
    prediction = prediction_of(network_of(name))
    if not prediction.is_one_call:
        pytest.skip("has layers of the user's own")
    table = prediction.prediction_table
    return table, cut_in_two(table.operations, math.prod(NETWORKS[name][1]))


def place(op):
    """The elements of an output."""
    return set(range(int(op.y_offset), int(op.y_offset + op.OH * op.OW * op.F)))


def reads(table, op):
    return {e for source in {int(op.x_from), int(op.x2_from)} for e in place(table[source])}


@EVERY_NETWORK
@pytest.mark.usefixtures("always_cut")
def test_threads_touch_only_what_the_other_one_has_finished(name):
    """In each run, what a thread reads or writes the other one does not write; and all that it
    reads has been written, in this run by itself or in an earlier one."""
    _, cut = tables_of(name)
    written = set(range(cut.x_at, cut.n_values))
    assert len(written) == math.prod(NETWORKS[name][1])
    begin = 0
    for end in cut.ends:
        touched, new = [set(), set()], [set(), set()]
        for thread, operations in enumerate(cut.operations):
            for op in operations[begin:end]:
                if op.kind == VIEW:
                    assert op.OH == 0 or place(op) <= written | new[thread], (thread, end)
                    continue
                needed = reads(operations, op)
                assert needed <= written | new[thread], (thread, end, op.kind)
                assert not needed & place(op)
                touched[thread] |= needed | place(op)
                new[thread] |= place(op)
        assert not touched[0] & new[1] and not touched[1] & new[0], end
        written |= new[0] | new[1]
        begin = end
    assert begin == cut.operations[0].size == cut.operations[1].size


@EVERY_NETWORK
@pytest.mark.usefixtures("always_cut")
def test_both_threads_compute_each_output_once(name):
    table, cut = tables_of(name)
    sizes = [
        sum(int(op.OH * op.OW * op.F) for op in operations if op.kind != VIEW)
        for operations in cut.operations
    ]
    assert sum(sizes) == sum(int(op.OH * op.OW * op.F) for op in table.operations)


@pytest.mark.parametrize(
    "outputs, K, S, above, n_rows, expected",
    [
        ((0, 4), 3, 1, 1, 8, ((0, 5), 1, 0)),  # the upper half of a "same" 3x3 convolution
        ((4, 8), 3, 1, 1, 8, ((3, 8), 0, 1)),  # the lower half
        ((0, 3), 2, 2, 0, 12, ((0, 6), 0, 0)),  # a pooling without overlap
        ((2, 3), 3, 2, 0, 6, ((4, 6), 0, 1)),  # a window that reaches one row below
        ((0, 1), 2, 1, 3, 5, ((0, 0), 3, 0)),  # nothing but padding
    ],
)
def test_rows_that_windows_need(outputs, K, S, above, n_rows, expected):
    rows, *padding = windows_of(Rows(*outputs), K, S, above, n_rows)
    if expected[0] == (0, 0):
        assert not rows
    else:
        assert (tuple(rows), *padding) == expected


def pair_of(network):
    run = prediction_of(network)
    return run.two_threads._make_pair(
        (run.parameters, run.dense_parameters, run._prepared_weights())
    )


def by_a_pair(pair, x, n_classes):
    """The logits of one image by two threads, as soon as the partner is there."""
    logits = np.full((1, n_classes), np.nan, np.float32)
    end = time.monotonic() + 30
    while not pair.predict(x, logits):
        assert time.monotonic() < end, "the partner never came"
        time.sleep(0.0001)
    return logits[0]


@EVERY_NETWORK
@pytest.mark.parametrize("may_change", [False, True])
@COMPILED
@pytest.mark.usefixtures("always_cut")
def test_bits_of_two_threads(name, may_change):
    """While the parameters cannot change unseen, the weights of dense layers are packed."""
    network, images = network_of(name), images_of(name, 5)
    if may_change:
        assert network.parameters
    logits = network.forward(images)
    if prediction_of(network).two_threads is None:
        pytest.skip("has layers of the user's own")
    pair = pair_of(network)
    for k in (0, 1, 2, 3, 4, 0, 1):
        np.testing.assert_array_equal(by_a_pair(pair, images[k], logits.shape[1]), logits[k])


def pairs_that_predict(monkeypatch):
    """A list to which each image that two threads predict adds their pair."""
    done = []
    predict = two_threads._Pair.predict

    def counted(pair, x, logits_out):
        if is_done := predict(pair, x, logits_out):
            done.append(pair)
        return is_done

    monkeypatch.setattr(two_threads._Pair, "predict", counted)
    return done


def until(condition, act):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        act()


def with_a_partner(monkeypatch):
    """A network of which two threads have predicted an image, the image, the list of
    `pairs_that_predict`, and the network's TwoThreads."""
    done = pairs_that_predict(monkeypatch)
    network, image = network_of("microexpnet"), images_of("microexpnet", 1)
    until(lambda: done, lambda: network.forward(image))
    return network, image, done, prediction_of(network).two_threads


@COMPILED
def test_predictions_that_follow_one_another_take_two_threads(monkeypatch):
    done = pairs_that_predict(monkeypatch)
    network, (image,) = network_of("microexpnet"), images_of("microexpnet", 1)
    logits = network.forward(image[None])
    assert not done and prediction_of(network).two_threads.tables is None, "the first is alone"

    def predict():
        np.testing.assert_array_equal(network.forward(image[None]), logits)

    until(lambda: len(done) > 20, predict)


@COMPILED
def test_a_prediction_now_and_then_takes_one_thread(monkeypatch):
    monkeypatch.setattr(two_threads, "SOON_S", 0)
    network, image = network_of("microexpnet"), images_of("microexpnet", 1)
    before = set(threading.enumerate())  # partners of other tests may be there
    for _ in range(5):
        network.forward(image)
    assert prediction_of(network).two_threads.tables is None
    assert set(threading.enumerate()) <= before


@COMPILED
def test_changed_weights_reach_both_threads(monkeypatch):
    """The weights that Winograd's algorithm needs are new arrays after each change."""
    done = pairs_that_predict(monkeypatch)
    network, image = network_of("microexpnet"), images_of("microexpnet", 1)
    for _ in range(3):
        network.parameters["conv1.w"][:] *= 1.5
        network.parameters["dense1.w"][:] *= 0.75
        expected = network_of("microexpnet", n_threads=1)
        expected.trained_vector[:] = network.trained_vector
        logits, before = expected.forward(image), len(done)
        until(
            lambda: len(done) > before,  # noqa: B023
            lambda: np.testing.assert_array_equal(network.forward(image), logits),  # noqa: B023
        )


@COMPILED
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says on which core a thread is")
def test_the_partner_leaves_the_leaders_core(monkeypatch):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core")
    assert two_threads._this_core() in cores
    leader_core = max(cores)
    monkeypatch.setattr(two_threads, "_this_core", lambda: leader_core)
    *_, two = with_a_partner(monkeypatch)
    (pair,) = two.idle
    assert os.sched_getaffinity(pair.partner.native_id) == cores - {leader_core}
    assert os.sched_getaffinity(0) == cores


def test_without_another_core_the_partner_stays(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *given: calls.append(given), raising=False)
    two_threads._leave_core(-1)  # not known
    two_threads._leave_core(3)
    assert not calls


@COMPILED
def test_the_partner_waits_longer_where_images_take_longer(monkeypatch):
    *_, two = with_a_partner(monkeypatch)
    monkeypatch.setattr(two_threads, "MOST_IDLE", 40)
    (pair,), found = two.idle, []
    for seconds in (0.00015, 0.00095, 100):
        two.begin_s = time.perf_counter() - seconds
        two.has_ended()
        found.append(pair.meeting[_meeting.IDLE] / two_threads.IDLE)
    assert found == [2, 10, 1 + two_threads.MOST_IDLE]


@COMPILED
def test_callers_in_several_threads(monkeypatch):
    """One caller at a time has the partner; all get their own image's answer."""
    network, images = network_of("winograd_3x3"), images_of("winograd_3x3", 4)
    logits, wrong = network.forward(images), []

    def call(k):
        for _ in range(100):
            if not np.array_equal(network.forward(images[k : k + 1])[0], logits[k]):
                wrong.append(k)

    callers = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@COMPILED
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_a_partner_of_its_own(monkeypatch):
    network, image, done, _ = with_a_partner(monkeypatch)
    logits = network.forward(image)

    def child():
        before = len(done)
        until(lambda: len(done) > before + 3, lambda: network.forward(image))
        return np.array_equal(network.forward(image), logits)

    assert run_in_child(child) == 0


@COMPILED
def test_after_a_late_partner_one_thread_predicts_alone_for_a_while(monkeypatch):
    """Twenty times as long as was lost."""
    network, image, done, two = with_a_partner(monkeypatch)
    until(lambda: done[0].n_images > two_threads.WARM_UP, lambda: network.forward(image))
    two.rest_end_s = two.saved_s = 0
    monkeypatch.setattr(two_threads, "REST", 1e9)
    done[0].meeting[_meeting.LATE] = 1
    before = len(done)
    until(lambda: two.rest_end_s > time.perf_counter() + 1000, lambda: network.forward(image))
    count = len(done)
    assert count <= before + 1 and done[0].meeting[_meeting.LATE] == 0
    for _ in range(20):
        network.forward(image)
    assert len(done) == count
    two.rest_end_s = 0
    monkeypatch.setattr(two_threads, "REST", 0)
    until(lambda: len(done) > count, lambda: network.forward(image))


@COMPILED
def test_a_partner_that_has_saved_more_than_its_delay_costs_goes_on(monkeypatch):
    network, image, done, two = with_a_partner(monkeypatch)
    monkeypatch.setattr(two_threads, "LEAST_REST_S", 1000)
    two.rest_end_s, two.saved_s = 0, 30
    done[0].meeting[_meeting.LATE] = 1
    until(lambda: two.saved_s < 30, lambda: network.forward(image))
    assert two.rest_end_s == 0 and 0 < two.saved_s


def test_what_a_partner_saves_and_costs(monkeypatch):
    monkeypatch.undo()

    class Pair:
        late, n_images = False, two_threads.WARM_UP + 1

        def waited_in_vain(self):
            return self.late

    two, pair = two_threads.TwoThreads(lambda: None, None), Pair()
    for _ in range(9):
        two._count_saved_time(pair, True, 0.001, 0)
    assert two.saved_s == pytest.approx(0.0018)
    for _ in range(9):
        two._count_saved_time(pair, True, 0.001, 0)
    assert two.saved_s == 0.002, "older savings do not count"
    two._count_saved_time(pair, False, 0.001, 0)
    assert two.saved_s == 0.002, "the partner was not there"
    pair.late = True
    two._count_saved_time(pair, True, 0.0015, 0)
    assert two.saved_s == pytest.approx(0.0005) and two.rest_end_s == float("-inf")
    two._count_saved_time(pair, True, 0.0035, 7)
    assert two.rest_end_s == pytest.approx(7.06), "twenty times the 3 ms that were lost"
    two._count_saved_time(pair, False, 0.0001, 8)
    assert two.rest_end_s == pytest.approx(8.02), "20 ms at least"
    assert two.saved_s == 0
    pair.n_images -= 1
    two._count_saved_time(pair, True, 0.0035, 9)
    assert two.rest_end_s == pytest.approx(8.02), "the first images do not count"


@pytest.mark.parametrize("together_s, rest_s, next_s", [(9e-5, 0.002, 1), (9.8e-5, 10, 0.02)])
def test_two_threads_that_are_not_faster_than_one_rest(monkeypatch, together_s, rest_s, next_s):
    monkeypatch.undo()
    two, began = two_threads.TwoThreads(lambda: None, None), time.perf_counter()

    def alone(took_s):
        monkeypatch.setattr(two_threads, "perf_counter", lambda: began + took_s)
        two.begin_s = began
        two.has_ended()

    alone(1e-5)  # not in a rest: it does not count
    two.rest_end_s = began + 1
    for k in range(200):
        two._compare(together_s, 100 + k / 1000)
        alone(1e-4)
    two._compare(20, 100.5)  # an interruption
    assert two.rest_end_s == began + 1 and two.check_s == 101
    for k in range(50):
        two._compare(together_s, 100.6 + k / 1000)
    two._compare(together_s, 101.4)
    assert two.rest_end_s == pytest.approx(101.4 + rest_s)
    assert two.check_s == pytest.approx(two.rest_end_s + next_s)
    assert two.together_s == two.alone_s == float("inf"), "both are timed anew"


@COMPILED
def test_a_partner_that_did_little_is_not_followed_by_another_at_once(monkeypatch):
    monkeypatch.setattr(two_threads, "PAUSE_S", 1e9)
    started = []  # partners that never come
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))
    network, image = network_of("microexpnet"), images_of("microexpnet", 1)
    for _ in range(50):
        network.forward(image)
    assert len(started) == 1
    monkeypatch.setattr(two_threads, "PAUSE_S", 0)
    network.forward(image)
    assert len(started) == 2


@COMPILED
def test_without_a_thread_to_start_one_thread_goes_on(monkeypatch):
    def no_thread(thread):
        raise RuntimeError("can't start new thread")

    network, image = network_of("microexpnet"), images_of("microexpnet", 1)
    logits = network.forward(image)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    for _ in range(5):
        np.testing.assert_array_equal(network.forward(image), logits)


def test_small_networks_take_one_thread():
    """LeNet-5 is over before a second thread would have paid for its meetings."""
    table = prediction_of(network_of("few_filters")).prediction_table
    assert cut_in_two(table.operations, 28 * 28) is None
    table = prediction_of(network_of("microexpnet")).prediction_table
    assert cut_in_two(table.operations, 84 * 84) is not None
