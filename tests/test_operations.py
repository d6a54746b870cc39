"""The table of operations: offsets that never overlap, and records that agree with their layers."""

import ast
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn import CustomLayer, kernels
from tinycnn.kernels import operations
from tinycnn.kernels.int8_program import RECORD
from tinycnn.kernels.operations import OPERATION
from tinycnn.kernels.table import make_operations
from tinycnn.layers import (
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Residual,
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
    slots = [*plan.parameter_slots.values(), *plan.unused_bias_slots.values()]
    shapes = dict(slots)
    n_arrays = 0
    for op in table.operations:
        if op["kind"] == operations.CONV2D:
            expected = (op["KH"], op["KW"], op["C"], op["F"])
        elif op["kind"] == operations.DEPTHWISE_CONV2D:
            expected = (op["KH"], op["KW"], op["C"], op["F"] // op["C"])
        elif op["kind"] == operations.DENSE:
            expected = (op["H"] * op["W"] * op["C"], op["F"])
        elif op["kind"] == operations.PRELU:
            assert shapes[op["w_offset"]] == (op["C"],) == (op["F"],)
            n_arrays += 1
            continue
        else:
            continue
        assert shapes[op["w_offset"]] == expected and op["w_size"] == np.prod(expected)
        assert shapes[op["b_offset"]] == (op["F"],)
        n_arrays += 2
    assert n_arrays == len(slots)


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
            [DepthwiseConv2D(3), ReLU(), AveragePool2D(2), ReLU(), GlobalAveragePool2D()],
            [("DEPTHWISE_CONV2D", "RELU", 0), ("AVERAGEPOOL2D", "NO_ACTIVATION", 0)]
            + [("ACTIVATION", "RELU", 0), ("AVERAGEPOOL2D", "NO_ACTIVATION", 0)],
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


@pytest.mark.parametrize("table", [OPERATION, RECORD], ids=["floats", "8-bit integers"])
def test_kernels_only_read_fields_of_the_table(table):
    read = set()
    for module in pkgutil.iter_modules(kernels.__path__):
        if ("int8" in module.name) != (table is RECORD):
            continue
        source = Path(kernels.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
        read |= {
            node.attr
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "op"
        }
    assert read == set(table.names)


class Own(CustomLayer):
    def forward(self, x, parameters):
        return x

    def backward(self, x, y, dy, parameters):
        return dy, {}


@pytest.mark.parametrize(
    "layers, stages",
    [
        ([Conv2D(2, 3), ReLU(), Flatten(), Dense(3)], ["|2"]),
        ([Own(), Flatten(), Dense(3)], ["own1|1"]),
        ([Conv2D(2, 3), Own(), Own(), ReLU(), Flatten(), Dense(3)], ["|1", "own1 own2|2"]),
        ([Flatten(), Dense(3), Own()], ["|1", "own1|0"]),
        # the shortcut's convolution does not wait for the branch's layer
        (
            [Residual([Conv2D(2, 3), Own()], [Conv2D(2, 1)]), Flatten(), Dense(3)],
            ["|2", "residual1.own1|2"],
        ),
        (
            [Residual([Own(), ReLU(), Own()]), Flatten(), Dense(3)],
            ["residual1.own1|1", "residual1.own2|2"],
        ),
    ],
)
def test_a_layer_of_the_users_own_runs_before_a_stage(layers, stages):
    _, table = planned(layers, (6, 6, 1))
    found = []
    for stage, behind in zip(table.stages, [*table.stages[1:], None]):
        names = [table.custom_steps[k].name for k in range(stage.first, stage.begin)]
        found.append(f"{' '.join(names)}|{stage.end - stage.begin}")
        assert stage.begin <= stage.block_end <= stage.end
        assert stage.end == (behind.first if behind else table.operations.size)
    assert found == stages and table.stages[0].first == 0


NESTED = [
    *(Conv2D(2, 3), Residual([Conv2D(2, 3), ReLU(), Residual([Conv2D(2, 1)])], [Conv2D(2, 1)])),
    *(ReLU(), Flatten(), Dense(3)),
]


def test_operations_of_branches_name_where_their_inputs_come_from():
    _, table = planned(NESTED, (4, 4, 1))
    kinds = [operations.CONV2D] * 3 + [operations.ADD, operations.CONV2D, operations.ADD]
    assert [op.kind for op in table.operations] == [*kinds, operations.DENSE]
    assert [op.activation for op in table.operations] == [0, 1, 0, 0, 0, 1, 0]
    assert [op.x_from for op in table.operations] == [-1, 0, 1, 2, 0, 3, 5]
    assert [op.x2_from for op in table.operations if op.kind == operations.ADD] == [1, 4]
    # the first operation of the reverse pass that computes a gradient stores it, the next adds
    assert [op.adds_dx for op in table.operations] == [0, 1, 1, 0, 0, 0, 0]


def test_an_output_that_branches_share_is_fused_with_neither():
    layers = [Conv2D(2, 3), Residual([ReLU(), Conv2D(2, 3)]), Flatten(), Dense(3)]
    _, table = planned(layers, (4, 4, 1))
    assert [(op.kind, op.activation) for op in table.operations][:2] == [
        (operations.CONV2D, 0),
        (operations.ACTIVATION, operations.RELU),
    ]


def test_both_inputs_of_a_sum_can_be_the_same():
    _, table = planned([Flatten(), Dense(3), Residual([Flatten()])], (2, 2, 1))
    dense, total = table.operations
    assert (total.x_from, total.x2_from, total.adds_dx, total.adds_dx2) == (0, 0, 0, 1)


def test_outputs_that_backward_needs_for_the_whole_batch():
    layers = [Conv2D(2, 3), MaxPool2D(2), Conv2D(2, 3), ReLU(), Flatten(), Dense(4), Dense(3)]
    _, table = planned(layers, (8, 8, 1))
    assert [int(op.y_in_chunk) for op in table.operations] == [1, 0, 0, 0]
    assert [int(op.dy_in_batch) for op in table.operations] == [0, 0, 1, 1]


def test_outputs_that_cross_a_stage_are_needed_for_the_whole_batch():
    layers = [
        *(Conv2D(2, 3), Residual([Conv2D(2, 3), ReLU(), Own(), Conv2D(2, 3)])),
        *(Conv2D(2, 3), Conv2D(2, 3), Flatten(), Dense(3)),
    ]
    _, table = planned(layers, (8, 8, 1))
    # conv1 (taken by the sum behind the break), conv2 (by own1), own1, conv3, add, conv4, ...
    assert [int(op.y_in_chunk) for op in table.operations] == [0, 0, 0, 1, 1, 1, 0, 0]
    assert [int(op.dy_in_batch) for op in table.operations] == [1, 1, 1, 0, 0, 0, 0, 1]
