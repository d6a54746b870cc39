"""The table of operations: offsets that never overlap, and records that agree with their layers."""

import ast
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn import CustomLayer, kernels
from tinycnn.kernels import operations
from tinycnn.kernels.operations import OPERATION, make_operations
from tinycnn.layers import (
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    MaxPool2D,
    ReLU,
)
from tinycnn.plan import build_plan

EVERY_NETWORK = pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))


def planned(layers, shape, dtype=np.float32):
    plan = build_plan(layers, shape)
    return plan, make_operations(plan, np.dtype(dtype))


@EVERY_NETWORK
def test_operations_are_chained_and_their_outputs_apart(name):
    plan, table = planned(*SMALL_NETWORKS[name])
    written = np.zeros(table.sizes.n_activations, int)
    size = int(np.prod(plan.input_shape))
    for op in table.operations:
        assert op.H * op.W * op.C == size
        size = int(op.OH * op.OW * op.F)
        written[op.y_offset : op.y_offset + size] += 1
    assert written.max() == 1 and size == plan.output_shape[0]


@EVERY_NETWORK
def test_operations_have_the_sizes_of_their_parameters(name):
    """A kernel trusts these: a wrong F would read past the end of the weights."""
    plan, table = planned(*SMALL_NETWORKS[name])
    slots = [*plan.parameter_slots.values(), *plan.unused_bias_slots.values()]
    shapes = dict(slots)
    with_parameters = 0
    for op in table.operations:
        if op["kind"] == operations.CONV2D:
            expected = (op["KH"], op["KW"], op["C"], op["F"])
        elif op["kind"] == operations.DEPTHWISE_CONV2D:
            expected = (op["KH"], op["KW"], op["C"], op["F"] // op["C"])
        elif op["kind"] == operations.DENSE:
            expected = (op["H"] * op["W"] * op["C"], op["F"])
        else:
            continue
        assert shapes[op["w_offset"]] == expected and op["w_size"] == np.prod(expected)
        assert shapes[op["b_offset"]] == (op["F"],)
        with_parameters += 1
    assert with_parameters * 2 == len(slots)


@pytest.mark.parametrize(
    "layers, kinds_relus_pools",
    [
        (
            [Conv2D(2, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(4), ReLU(), Dense(3)],
            [("CONV2D", 1, 1), ("DENSE", 1, 0), ("DENSE", 0, 0)],
        ),
        ([Conv2D(2, 3), MaxPool2D(2), ReLU(), Flatten()], [("CONV2D", 1, 1)]),
        ([Conv2D(2, 3), MaxPool2D(2), Flatten()], [("CONV2D", 0, 1)]),
        ([Conv2D(2, 3), ReLU(), Flatten()], [("CONV2D", 1, 0)]),
        (
            [DepthwiseConv2D(3), ReLU(), AveragePool2D(2), ReLU(), GlobalAveragePool2D()],
            [("DEPTHWISE_CONV2D", 1, 0), ("AVERAGEPOOL2D", 0, 0)]
            + [("RELU", 1, 0), ("AVERAGEPOOL2D", 0, 0)],
        ),
        (
            [MaxPool2D(2), ReLU(), Flatten(), Dense(3)],
            [("MAXPOOL2D", 0, 1), ("RELU", 1, 0), ("DENSE", 0, 0)],
        ),
        (
            [Conv2D(2, 3), Dropout(0.5), ReLU(), Flatten()],
            [("CONV2D", 0, 0), ("DROPOUT", 0, 0), ("RELU", 1, 0)],
        ),
    ],
)
def test_which_layers_are_fused(layers, kinds_relus_pools):
    _, table = planned(layers, (6, 6, 1))
    found = [(op.kind, op.relu, op.pool) for op in table.operations]
    assert found == [(getattr(operations, kind), r, p) for kind, r, p in kinds_relus_pools]


def test_kernels_only_read_fields_of_the_table():
    read = set()
    for module in pkgutil.iter_modules(kernels.__path__):
        source = Path(kernels.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
        read |= {
            node.attr
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "op"
        }
    assert read == set(OPERATION.names)


class Own(CustomLayer):
    def forward(self, x, parameters):
        return x

    def backward(self, x, y, dy, parameters):
        return dy, {}


@pytest.mark.parametrize(
    "layers, segments",
    [
        ([Conv2D(2, 3), ReLU(), Flatten(), Dense(3)], ["2"]),
        ([Own(), Flatten(), Dense(3)], ["own1", "1"]),
        ([Conv2D(2, 3), Own(), Own(), ReLU(), Flatten(), Dense(3)], ["1", "own1", "own2", "2"]),
        ([Flatten(), Dense(3), Own()], ["1", "own1"]),
    ],
)
def test_a_layer_of_the_users_own_is_a_segment_by_itself(layers, segments):
    _, table = planned(layers, (6, 6, 1))
    found = [s.step.name if s.step else str(s.operations.size) for s in table.segments]
    assert found == segments
    assert sum(s.operations.size for s in table.segments) == table.operations.size


def test_outputs_that_backward_needs_for_the_whole_batch_are_no_pictures():
    layers = [Conv2D(2, 3), MaxPool2D(2), Conv2D(2, 3), ReLU(), Flatten(), Dense(4), Dense(3)]
    _, table = planned(layers, (8, 8, 1))
    assert [int(op.y_in_pictures) for op in table.operations] == [1, 0, 0, 0]
    assert table.segments[0].operations.base is not None  # a view: what is set here is set there
