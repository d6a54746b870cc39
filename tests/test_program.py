"""A whole plan in one call: kernels/program.py against the reference, layer by layer.

`ALLOWANCE` for float64: the longest sums in these networks have a few hundred additions.  Each is
off by at most eps/2 = 1.1e-16 of its terms, and a sum of normal values may be ten times smaller
than its terms.  1e-12 allows for that, but not for a mistake.
"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_networks import (
    ENGINE_NETWORKS,
    draw_parameters,
    small_batch,
    small_network,
    without_dropout,
)

from tinycnn import (
    Adam,
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Distillation,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    kernel_backend,
)
from tinycnn.kernels.elementwise import sum_chunks
from tinycnn.layers import (
    BatchNorm,
    LeakyReLU,
    PReLU,
    Residual,
    ScaleShift,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
)
from tinycnn.models import microexpnet
from tinycnn.testing import gradient_error

ALLOWANCE = 1e-12
N_THREADS = (2, 3, 8)
EVERY_NETWORK = pytest.mark.parametrize("name", ENGINE_NETWORKS)


def pass_through(network, x, dlogits):
    """Logits, the gradients of all parameters, and dx, after a forward and a backward pass."""
    logits = network.forward(x, training=True)
    dx = network.backward(dlogits, input_gradient=True)
    return dict(logits=logits, dx=dx, **{name: g.copy() for name, g in network.gradients.items()})


def random_dlogits(network, x, seed=3):
    shape = (len(x), len(network.classes))
    return np.random.default_rng(seed).standard_normal(shape).astype(network.dtype)


def assert_close(result, expected):
    """Each tensor on its own; those that are 0 but for rounding (the gradient of a bias before a
    BatchNorm) beside the largest."""
    assert result.keys() == expected.keys()
    largest = max(np.linalg.norm(values) for values in expected.values())
    for tensor, values in expected.items():
        assert result[tensor].shape == values.shape
        error = np.linalg.norm(result[tensor] - values)
        is_close = gradient_error(result[tensor], values) <= ALLOWANCE
        assert is_close or error <= ALLOWANCE * largest, tensor


def assert_same_bits(result, expected):
    assert result.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(result[name], values, err_msg=name)


# ---- against the reference ---------------------------------------------------------------------


@EVERY_NETWORK
@pytest.mark.parametrize("n_images", [1, 2, 11, 5 * kernel_backend.N_GRADIENT_CHUNKS + 1])
def test_kernels_equal_the_reference(name, n_images):
    """With chunks of one image, of a few, and of more than table.BLOCK."""
    x = small_batch(name, n_images)
    kernels, reference = (small_network(name, backend) for backend in ("numba", "numpy"))
    dlogits = random_dlogits(kernels, x)
    result, expected = (pass_through(network, x, dlogits) for network in (kernels, reference))
    assert_close(result, expected)
    if kernels.statistics:
        assert_close(kernels.statistics, reference.statistics)
    prediction, expected = kernels.forward(x), reference.forward(x)
    assert gradient_error(prediction, expected) <= ALLOWANCE


ACTIVATIONS = [ReLU(), ReLU(0.5), LeakyReLU(0.2), PReLU(), Sigmoid(), Tanh()]


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def networks(draw):
    """Random networks: layers of any kind in any valid order, and a picture shape."""
    layers = []
    for _ in range(draw(st.integers(0, 5))):
        layers.append(
            draw(
                st.one_of(
                    st.builds(
                        Conv2D,
                        st.integers(1, 5),
                        pairs(1, 4),
                        pairs(1, 3),
                        # at least as much padding as the window has rows or columns: it fits
                        st.one_of(st.just("same"), st.tuples(pairs(2, 4), pairs(2, 4))),
                    ),
                    st.builds(MaxPool2D, pairs(1, 3), pairs(1, 3), st.just("same")),
                    st.builds(
                        lambda size, stride: MaxPool2D(
                            size, stride, [(k - 1, k - 1) for k in size]
                        ),
                        pairs(1, 3),
                        pairs(1, 3),
                    ),
                    st.builds(
                        DepthwiseConv2D,
                        pairs(1, 4),
                        pairs(1, 3),
                        st.just("same"),
                        st.integers(1, 3),
                        st.booleans(),
                    ),
                    st.builds(
                        AveragePool2D, pairs(1, 3), pairs(1, 3), st.just("same"), st.booleans()
                    ),
                    st.sampled_from(ACTIVATIONS),
                    st.builds(Dropout, st.sampled_from([0.0, 0.3, 0.6])),
                    st.just(SpatialDropout2D(0.4)),
                )
            )
        )
    layers.append(draw(st.sampled_from([Flatten(), GlobalAveragePool2D()])))
    for _ in range(draw(st.integers(0, 2))):
        layers.append(Dense(draw(st.integers(1, 19))))
        layers.append(draw(st.sampled_from([*ACTIVATIONS, Dropout(0.4)])))
    layers.append(Dense(draw(st.integers(1, 5))))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)))
    return layers, shape


def branches(draw, depth, filters, strides=(1, 2)):
    """Layers of one branch: most keep a picture's shape, some residuals make `filters` channels and
    pictures of half the size."""
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        # an epsilon of 0.1, so that no deviation of a few values makes rounding larger
        one = [ReLU(), Dropout(0.3), ScaleShift(), BatchNorm(epsilon=0.1)]
        one.append(Residual([draw(st.sampled_from(one)) for _ in range(draw(st.integers(1, 2)))]))
        layers.append(draw(st.sampled_from(one)))
        if depth and draw(st.booleans()):
            stride, use_bias = draw(st.sampled_from(strides)), draw(st.booleans())
            body = branches(draw, depth - 1, filters, strides=(1,))
            body.append(Conv2D(filters, draw(st.integers(1, 3)), stride, use_bias=use_bias))
            shortcut = [Conv2D(filters, 1, stride)]
            if draw(st.booleans()):
                body, shortcut = shortcut, body
            layers.append(Residual(body, shortcut))
    return layers


@st.composite
def branched_networks(draw):
    """Random networks of residuals in residuals, with BatchNorm and scales anywhere."""
    layers = branches(draw, draw(st.integers(0, 2)), draw(st.integers(1, 4)))
    layers += [draw(st.sampled_from([ReLU(), MaxPool2D(2)])), Flatten(), Dense(3)]
    layers += [draw(st.sampled_from([BatchNorm(epsilon=0.1), Residual([Dense(3), ReLU()])]))]
    return layers, draw(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)))


ONE_VALUE = [BatchNorm(epsilon=0.1), ReLU(), Flatten(), Dense(3), Residual([Dense(3), ReLU()])]


@settings(max_examples=80)
@example(drawn=(ONE_VALUE, (1, 1, 1)), n_images=1, seed=1)
@given(
    drawn=st.one_of(networks(), branched_networks()),
    n_images=st.integers(0, 18),
    seed=st.integers(0, 2**32),
)
def test_any_network_equals_the_reference(drawn, n_images, seed):
    layers, shape = drawn
    rng = np.random.default_rng(seed)
    x, results = rng.standard_normal((n_images, *shape)), []
    for backend in ("numba", "numpy"):
        network = Network(layers, InputSpec(*shape), backend=backend, dtype=np.float64, seed=5)
        draw_parameters(network, seed)
        results.append(pass_through(network, x, random_dlogits(network, x)))
        predicted = network.forward(x[:4])
        results[-1] |= dict(predicted=predicted, **network.statistics)
    assert_close(*results)


# ---- bits --------------------------------------------------------------------------------------


@EVERY_NETWORK
@pytest.mark.parametrize("n_images", [1, 3, 19])
def test_bits_do_not_depend_on_the_number_of_threads(name, n_images):
    x = small_batch(name, n_images)
    single = small_network(name, n_threads=1)
    dlogits = random_dlogits(single, x)
    expected = pass_through(single, x, dlogits)
    for n_threads in N_THREADS:
        network = small_network(name, n_threads=n_threads)
        assert_same_bits(pass_through(network, x, dlogits), expected)
        np.testing.assert_array_equal(network.forward(x), single.forward(x))


def test_bits_of_float32_do_not_depend_on_the_number_of_threads():
    x = small_batch("miniature", 21, dtype=np.float32)
    single = small_network("miniature", dtype=np.float32, n_threads=1)
    dlogits = random_dlogits(single, x)
    expected = pass_through(single, x, dlogits)
    assert expected["dx"].dtype == expected["logits"].dtype == np.float32
    for n_threads in N_THREADS:
        network = small_network("miniature", dtype=np.float32, n_threads=n_threads)
        assert_same_bits(pass_through(network, x, dlogits), expected)


@EVERY_NETWORK
def test_bits_of_an_image_do_not_depend_on_the_other_images(name):
    x = small_batch(name, 19)
    network = small_network(name)
    together = network.forward(x)
    for n in (0, 7, 8, 18):
        np.testing.assert_array_equal(network.forward(x[n : n + 1])[0], together[n])
    others = np.random.default_rng(9).permutation(19)
    np.testing.assert_array_equal(network.forward(x[others]), together[others])


@EVERY_NETWORK
def test_without_dropout_training_and_prediction_give_the_same_bits(name):
    layers, shape = ENGINE_NETWORKS[name]
    network = Network(without_dropout(layers), InputSpec(*shape), dtype=np.float64, seed=3)
    if network.statistics:
        pytest.skip("a BatchNorm uses other statistics in prediction")
    x = small_batch(name, 11)
    np.testing.assert_array_equal(network.forward(x, training=True), network.forward(x))


# ---- workspaces --------------------------------------------------------------------------------


def poison(space, spared):
    """Fill every array that a pass uses, except `spared`, with NaN, and winners with positions
    outside any array."""
    for value in [space, *vars(space).values()]:
        for array in value if isinstance(value, tuple) else [value]:
            if isinstance(array, np.ndarray) and array is not spared:
                array[:] = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max


@EVERY_NETWORK
@pytest.mark.parametrize("n_before, n_images", [(17, 17), (17, 3), (3, 17)])
def test_nothing_of_an_earlier_batch_remains(name, n_before, n_images):
    """After a batch of another size, with all arrays poisoned, the bits are those of new arrays."""
    x = small_batch(name, n_images)
    fresh, used = small_network(name), small_network(name)
    dlogits = random_dlogits(fresh, x)
    before = small_batch(name, n_before, seed=8)
    state = used.dropout_generator.bit_generator.state
    pass_through(used, before, random_dlogits(used, before))
    used.forward(before)
    used.dropout_generator.bit_generator.state = state
    run = used._run
    predicting = run.folded.value if run.folded else run
    assert predicting.prediction_spaces.idle and run.chunk_spaces.idle
    for space in (run.batch_space, *predicting.prediction_spaces.idle, *run.chunk_spaces.idle):
        poison(space, spared=used.gradient_vector)
    used.gradient_vector[:] = np.nan
    for name, statistic in used.statistics.items():
        statistic[:] = fresh.statistics[name]
    run.transposed[:] = np.nan
    assert_same_bits(pass_through(used, x, dlogits), pass_through(fresh, x, dlogits))
    np.testing.assert_array_equal(used.forward(x), fresh.forward(x))


@EVERY_NETWORK
def test_a_smaller_workspace_is_replaced_and_a_larger_one_kept(name):
    network = small_network(name)
    for n_images, capacity in ((5, 5), (3, 5), (9, 9), (1, 9)):
        network.forward(small_batch(name, n_images), training=True)
        assert network._run.batch_space.capacity == capacity


@EVERY_NETWORK
def test_an_empty_batch(name):
    network = small_network(name)
    x = small_batch(name, 0)
    network.gradient_vector[:] = np.nan
    result = pass_through(network, x, random_dlogits(network, x))
    assert result["logits"].shape == (0, len(network.classes)) and result["dx"].shape == x.shape
    assert not any(network.gradients[name].any() for name in network.gradients)
    assert network.forward(x).shape == (0, len(network.classes))


@EVERY_NETWORK
def test_inputs_are_not_changed(name):
    network = small_network(name)
    x = small_batch(name, 5)
    dlogits, parameters = random_dlogits(network, x), network.trained_vector.copy()
    x_before, dlogits_before = x.copy(), dlogits.copy()
    pass_through(network, x, dlogits)
    network.forward(x)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dlogits, dlogits_before)
    np.testing.assert_array_equal(network.trained_vector, parameters)
    assert not any(
        network.parameter_vector[at : at + size].any()
        for at, (size,) in network.plan.unused_bias_slots.values()
    )


def peak_of(call):
    """The most bytes that a call has at any time, beyond those from before."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    call()
    return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.jit("Python's numbers are allocations, a step of them takes minutes")
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", ["microexpnet", "with_batch_norm"])
def test_steps_after_the_first_allocate_no_arrays(name, n_threads):
    """tracemalloc sees NumPy's arrays.  A step allocates only logits, losses and Python objects:
    a fraction of the activations of one image (33 kB); the batch has 16."""
    if name == "microexpnet":
        network = microexpnet(n_threads=n_threads)
    else:
        body = [Conv2D(8, 3), BatchNorm(), ReLU(), Conv2D(8, 3), BatchNorm()]
        layers = [Conv2D(8, 3, 2), BatchNorm(), ReLU(), Residual(body), Flatten(), Dense(8)]
        network = Network(layers, InputSpec(84, 84), n_threads=n_threads)
    optimizer, loss = Adam(), Distillation()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 84, 84, 1)).astype(np.float32)
    labels, teacher = rng.integers(0, 8, 16), rng.standard_normal((16, 8)).astype(np.float32)

    def step():
        _, dlogits = loss(network.forward(x, training=True), labels, teacher)
        network.backward(dlogits)
        optimizer.step(network.trained_vector, network.trained_gradients)
        network.loss_and_gradients(x, loss, labels, teacher)

    step()
    network.forward(x)
    run = network._run

    def give_each_thread_a_space(predicting):
        """As if all threads had predicted at the same time before."""
        spaces = predicting.prediction_spaces
        spaces.idle += [spaces.make(8) for _ in range(n_threads)]

    give_each_thread_a_space(run.folded.value if run.folded else run)
    run.chunk_spaces.idle += [run.chunk_spaces.make(2) for _ in range(n_threads)]
    step()
    tracemalloc.start()
    try:
        for _ in range(20):  # what Python keeps of freed tuples is allocated once more
            step()
        assert peak_of(lambda: np.zeros(4000)) >= 32_000  # arrays are seen
        assert peak_of(step) < 20_000
        step()  # new parameters: prediction transforms its weights or folds again, once
        network.forward(x)
        if name == "microexpnet":
            assert peak_of(lambda: network.forward(x)) < 16_000
        else:  # comparing the parameters with a copy takes a byte for each element
            predicting = run.folded.value
            allowed = 16_000 + network.parameter_vector.size
            give_each_thread_a_space(predicting)
            assert peak_of(lambda: network.forward(x)) < allowed and run.folded.value is predicting
    finally:
        tracemalloc.stop()


# ---- chunks ------------------------------------------------------------------------------------


@given(n_images=st.integers(1, 1000))
def test_chunks_depend_only_on_the_batch_and_cover_it(n_images):
    size = kernel_backend.chunk_size(n_images)
    n_chunks = -(-n_images // size)
    assert 1 <= n_chunks <= kernel_backend.N_GRADIENT_CHUNKS
    assert (n_chunks - 1) * size < n_images <= n_chunks * size


def test_chunks_are_added_in_order():
    """1e16 + 1 = 1e16 in float64, so another order would give 1."""
    chunks = np.array([[1.0, 2, 7], [1e16, 20, 7], [-1e16, 200, 7]])
    total = np.full(3, np.nan)
    sum_chunks(chunks, 0, total[:2])
    np.testing.assert_array_equal(total, [0, 222, np.nan])
    sum_chunks(chunks, 1, total[:2])
    np.testing.assert_array_equal(total, [222, 21, np.nan])
    sum_chunks(chunks[:0], 0, total)
    np.testing.assert_array_equal(total, [0, 0, 0])
