"""The table of operations: offsets that never overlap, and records that agree with their layers."""

import ast
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn import CustomLayer, kernels
from tinycnn.kernels import operations
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
    MaxPool2D,
    ReLU,
    Residual,
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
    assert [op.relu for op in table.operations] == [0, 1, 0, 0, 0, 1, 0]
    assert [op.x_from for op in table.operations] == [-1, 0, 1, 2, 0, 3, 5]
    assert [op.x2_from for op in table.operations if op.kind == operations.ADD] == [1, 4]
    # the first operation of the reverse pass that computes a gradient stores it, the next adds
    assert [op.adds_dx for op in table.operations] == [0, 1, 1, 0, 0, 0, 0]


def test_an_output_that_branches_share_is_fused_with_neither():
    layers = [Conv2D(2, 3), Residual([ReLU(), Conv2D(2, 3)]), Flatten(), Dense(3)]
    _, table = planned(layers, (4, 4, 1))
    assert [(op.kind, op.relu) for op in table.operations][:2] == [
        (operations.CONV2D, 0),
        (operations.RELU, 1),
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
