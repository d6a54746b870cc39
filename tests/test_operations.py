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
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
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
    shapes = {offset: shape for offset, shape in plan.parameter_slots.values()}
    n_arrays = 0
    for op in table.operations:
        if op["kind"] == operations.CONV2D:
            assert shapes[op["w_offset"]] == (op["KH"], op["KW"], op["C"], op["F"])
        elif op["kind"] == operations.DENSE:
            assert shapes[op["w_offset"]] == (op["H"] * op["W"] * op["C"], op["F"])
        elif op["kind"] == operations.PRELU:
            assert shapes[op["w_offset"]] == (op["C"],) == (op["F"],)
            n_arrays += 1
            continue
        else:
            continue
        assert shapes[op["b_offset"]] == (op["F"],)
        n_arrays += 2
    assert n_arrays == len(plan.parameter_slots)


@pytest.mark.parametrize(
    "layers, expected",
    [
        (
            [Conv2D(2, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(4), ReLU(), Dense(3)],
            [("CONV2D", "RELU", 1), ("DENSE", "RELU", 0), ("DENSE", "NO_ACTIVATION", 0)],
        ),
        ([Conv2D(2, 3), MaxPool2D(2), ReLU(), Flatten()], [("CONV2D", "RELU", 1)]),
        ([Conv2D(2, 3), MaxPool2D(2), Flatten()], [("CONV2D", "NO_ACTIVATION", 1)]),
        ([Conv2D(2, 3), ReLU(), Flatten()], [("CONV2D", "RELU", 0)]),
        ([Conv2D(2, 3), ReLU(6), MaxPool2D(2), Flatten()], [("CONV2D", "CLIPPED_RELU", 1)]),
        ([Conv2D(2, 3), MaxPool2D(2), Tanh(), Flatten()], [("CONV2D", "TANH", 1)]),
        ([Flatten(), Dense(3), Sigmoid()], [("DENSE", "SIGMOID", 0)]),
        # they may round two values of a window to the same one: another winner gets the gradient
        (
            [Conv2D(2, 3), LeakyReLU(), MaxPool2D(2), Flatten()],
            [("CONV2D", "LEAKY_RELU", 0), ("MAXPOOL2D", "NO_ACTIVATION", 1)],
        ),
        (
            [Conv2D(2, 3), PReLU(), Flatten()],
            [("CONV2D", "NO_ACTIVATION", 0), ("PRELU", "NO_ACTIVATION", 0)],
        ),
        (
            [MaxPool2D(2), ReLU(), Flatten(), Dense(3)],
            [
                ("MAXPOOL2D", "NO_ACTIVATION", 1),
                ("ACTIVATION", "RELU", 0),
                ("DENSE", "NO_ACTIVATION", 0),
            ],
        ),
        (
            [Conv2D(2, 3), Dropout(0.5), ReLU(), Flatten()],
            [
                ("CONV2D", "NO_ACTIVATION", 0),
                ("DROPOUT", "NO_ACTIVATION", 0),
                ("ACTIVATION", "RELU", 0),
            ],
        ),
    ],
)
def test_which_layers_are_fused(layers, expected):
    _, table = planned(layers, (6, 6, 1))
    found = [(op.kind, op.activation, op.pool) for op in table.operations]
    assert found == [
        (getattr(operations, kind), getattr(operations, activation), pool)
        for kind, activation, pool in expected
    ]


def test_options_of_activations_are_in_their_records():
    layers = [ReLU(), ReLU(6), LeakyReLU(0.2), Flatten(), Dense(2)]
    _, table = planned(layers, (6, 6, 1))
    assert [float(op.activation_value) for op in table.operations] == [0, 6, 0.2, 0]


def test_masks_have_as_many_values_as_their_layers_say():
    layers = [Dropout(0.5), SpatialDropout2D(0.5), Flatten(), Dense(2)]
    _, table = planned(layers, (6, 5, 3))
    assert [int(op.mask_size) for op in table.operations] == [90, 3, 0]
    assert table.mask_offsets == {"dropout1": 0, "dropout2": 96}


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
