"""Where training keeps outputs and gradients: no operation overwrites what is still needed."""

import numpy as np
import pytest
from small_networks import ENGINE_NETWORKS

from tinycnn.kernels.operations import BATCH_MOMENTS, BATCH_NORM, DENSE
from tinycnn.kernels.table import make_operations
from tinycnn.layers import BatchNorm, Conv2D, Dense, Flatten, GlobalAveragePool2D, ReLU, Residual
from tinycnn.plan import build_plan
from tinycnn.shared_offsets import shared_offsets

EVERY_NETWORK = pytest.mark.parametrize("name", sorted(ENGINE_NETWORKS))


def table_of(layers, shape):
    return make_operations(build_plan(layers, shape), np.dtype(np.float32))


def block(features):
    return [Conv2D(features, 3), BatchNorm(), ReLU()]


# ---- arrays that share memory ------------------------------------------------------------------


def test_arrays_that_are_not_needed_at_once_share_their_memory():
    assert shared_offsets([32, 16, 48], [(0, 1), (2, 2), (3, 5)]) == ([0, 0, 0], 48)


def test_an_array_fills_the_gap_that_another_one_left():
    # the second one is not needed any more when the fourth comes, and has just its size
    lifetimes = [(0, 9), (0, 1), (0, 9), (2, 9)]
    assert shared_offsets([16, 32, 16, 32], lifetimes) == ([0, 16, 48, 16], 64)


@pytest.mark.parametrize("seed", range(20))
def test_arrays_that_are_needed_at_once_are_apart(seed):
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 100, 12)]
    begins = rng.integers(-5, 5, 12)
    lifetimes = [(int(begin), int(begin + rng.integers(0, 4))) for begin in begins]
    offsets, total = shared_offsets(sizes, lifetimes)
    for time in range(-5, 10):
        used = np.zeros(total, int)
        for size, offset, (first, last) in zip(sizes, offsets, lifetimes):
            if first <= time <= last:
                used[offset : offset + size] += 1
        assert used.max(initial=0) <= 1
    assert total >= max(sizes)


# ---- in a training step ------------------------------------------------------------------------


def owner_of_gradient(operations, k):
    """A BATCH_MOMENTS has the gradient of its BATCH_NORM, which has the same weights."""
    if operations[k].kind != BATCH_MOMENTS:
        return k
    is_norm, offsets = operations["kind"] == BATCH_NORM, operations["w_offset"]
    same = is_norm & (offsets == offsets[k])
    return int(np.flatnonzero(same)[0])


def area_of_gradient(op):
    size = int(op.OH * op.OW * op.F)
    array = "batch" if op.dy_in_batch else "chunk"
    return array, slice(int(op.dy_offset), int(op.dy_offset) + size)


@EVERY_NETWORK
def test_each_operation_finds_the_gradient_of_its_output(name):
    """Threads do other chunks of a stage at the same time: a stage's gradients are apart."""
    table = table_of(*ENGINE_NETWORKS[name])
    operations, sizes = table.operations, table.sizes
    batch = np.full(sizes.n_batch_gradients, -1)
    for stage in reversed(table.stages):
        memory = {"batch": batch, "chunk": np.full(sizes.n_chunk_gradients, -1)}
        touched = {}  # by operation, the area of its gradient

        def find(k):
            owner = owner_of_gradient(operations, k)
            touched[owner] = area_of_gradient(operations[owner])
            array, area = touched[owner]
            return memory[array][area], owner

        for k in reversed(range(stage.first, stage.end)):
            op = operations[k]
            values, owner = find(k)
            if k == operations.size - 1:
                values[:] = owner
            assert (values == owner).all(), k
            if op.kind == BATCH_NORM:
                continue  # its BATCH_MOMENTS computes dx
            for source in {int(op.x_from), int(op.x2_from)} - {-1}:
                values, owner = find(source)
                values[:] = owner
        used = {array: np.zeros(len(memory[array]), int) for array in memory}
        for array, area in touched.values():
            used[array][area] += 1
        assert max(counts.max(initial=0) for counts in used.values()) <= 1, stage
    # `program_collect` reads the gradients of dense layers at the end
    for k in np.flatnonzero(operations["kind"] == DENSE):
        assert (batch[area_of_gradient(operations[k])[1]] == k).all(), k


@EVERY_NETWORK
def test_outputs_are_apart(name):
    table = table_of(*ENGINE_NETWORKS[name])
    kept = np.zeros(table.sizes.n_activations, int)
    for stage in table.stages:
        in_block = np.zeros(table.sizes.n_block_outputs, int)
        for op in table.operations[stage.first : stage.end]:
            if op.kind != BATCH_MOMENTS or op.pool:
                used = in_block if op.y_in_block else kept
                used[op.y_offset : op.y_offset + op.OH * op.OW * op.F] += 1
        assert in_block.max(initial=0) <= 1
    assert kept.max() == 1


def test_which_outputs_are_computed_again_in_backward():
    """Those of BATCH_NORMs that their stage alone takes, but not in the last stage."""
    layers = [*block(2), *block(2), Conv2D(2, 3), Flatten(), Dense(3)]
    table = table_of(layers, (8, 8, 1))
    # conv, moments, norm; conv, moments, norm; conv, dense
    assert [int(op.y_in_block) for op in table.operations] == [0, 0, 1, 0, 0, 0, 0, 0]


def test_an_output_that_a_shortcut_takes_later_is_kept():
    layers = [*block(2), Residual(block(2)), *block(2), Flatten(), Dense(3)]
    table = table_of(layers, (8, 8, 1))
    first = next(op for op in table.operations if op.kind == BATCH_NORM)
    assert not first.y_in_block and not first.y_in_chunk


def test_gradients_of_a_chain_need_the_memory_of_two_outputs():
    """16x16x8 = 2048 numbers each, of six BatchNorms: the one that a stage reads, and the one that
    it writes.  In the last stage the one of the dense layer, too."""
    layers = [layer for _ in range(6) for layer in block(8)]
    sizes = table_of([*layers, GlobalAveragePool2D(), Dense(3)], (16, 16, 1)).sizes
    assert 2 * 2048 <= sizes.n_batch_gradients <= 2 * 2048 + 16
    assert sizes.n_block_outputs == 2048
