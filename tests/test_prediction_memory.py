"""Outputs that share memory in prediction: no operation overwrites what is still needed; and how
many images go through a network together."""

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS, small_batch, small_network

from tinycnn.kernels.table import make_operations
from tinycnn.layers import Conv2D, Dense, DepthwiseConv2D, Flatten, GlobalAveragePool2D, Residual
from tinycnn.plan import build_plan
from tinycnn.prediction_memory import CACHE_BYTES, CHUNK, MOST, images_together, with_shared_memory

EVERY_NETWORK = pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))


def tables(layers, shape):
    """The table of a network, and that of its prediction."""
    table = make_operations(build_plan(layers, shape), np.dtype(np.float32))
    return table, with_shared_memory(table)


def run_through(table):
    """Each operation finds its inputs as they were written, and writes its number."""
    memory = np.full(table.sizes.n_activations, -1)

    def place(op):
        return slice(int(op.y_offset), int(op.y_offset + op.OH * op.OW * op.F))

    for k, op in enumerate(table.operations):
        sources = [int(s) for s in (op.x_from, op.x2_from) if s >= 0]
        memory[place(op)] = k
        for source in sources:
            assert (memory[place(table.operations[source])] == source).all(), (k, source)


@EVERY_NETWORK
def test_inputs_are_there_and_apart_from_the_output(name):
    table, shared = tables(*SMALL_NETWORKS[name])
    run_through(table)
    run_through(shared)
    assert shared.sizes.n_activations <= table.sizes.n_activations
    for field in table.operations.dtype.names:
        if field != "y_offset":
            np.testing.assert_array_equal(shared.operations[field], table.operations[field])


def test_a_chain_needs_two_outputs_at_once():
    """16x16x8 = 2048, then 8x8x16 = 1024 numbers: 2048 + 2048 at most."""
    layers = [Conv2D(8, 3), DepthwiseConv2D(3), Conv2D(8, 1), Conv2D(16, 3, stride=2)]
    _, shared = tables([*layers, GlobalAveragePool2D(), Dense(3)], (16, 16, 1))
    assert shared.sizes.n_activations == 2 * 2048


def test_the_input_of_a_residual_is_kept_until_its_sum():
    """Three outputs of 16x16x8 at once: the shortcut, and input and output inside."""
    body = [Conv2D(8, 3), Conv2D(8, 3)]
    _, shared = tables([Conv2D(8, 3), Residual(body), Flatten(), Dense(3)], (16, 16, 1))
    assert shared.sizes.n_activations == 3 * 2048


@EVERY_NETWORK
def test_images_together_do_not_change_the_bits(name):
    network = small_network(name, "numba", np.float32)
    x = small_batch(name, 11, dtype=np.float32)
    logits = network.forward(x)
    run = network._run
    if run.folded:
        run = run.folded.value
    for chunk in (1, 2, 5):
        run.chunk = chunk
        run.prediction_spaces.idle.clear()
        np.testing.assert_array_equal(network.forward(x), logits)


@pytest.mark.parametrize(
    "side, n_weights, expected",
    [
        (16, 1000, CHUNK),  # 2 * 2048 numbers: all fit
        (16, 10**6, MOST),  # 4 MB of weights
        (40, 10**6, 10),  # 2 * 40*40*8 numbers are 100 KB: ten images fit
        (40, 1000, CHUNK),
        (64, 1000, 4),  # 2 * 64*64*8 numbers are 256 KB: four images fit
        (256, 1000, 2),  # not even one fits
        (256, 10**7, CHUNK),  # so many weights should be read seldom
    ],
)
def test_images_together(side, n_weights, expected):
    layers = [Conv2D(8, 3), DepthwiseConv2D(3), GlobalAveragePool2D(), Dense(3)]
    _, shared = tables(layers, (side, side, 1))
    assert CACHE_BYTES == 1 << 20
    assert images_together(shared, n_weights, np.dtype(np.float32)) == expected
