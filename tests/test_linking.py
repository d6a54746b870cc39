"""Which functions do the operations of a network, and calls by address."""

import re

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn.plan import build_plan

pytestmark = pytest.mark.kernels

numba = pytest.importorskip("numba")

from tinycnn.kernels import _calls, linking, operations, passes  # noqa: E402
from tinycnn.kernels._jit import WITHOUT_JIT, CompileError, helper  # noqa: E402
from tinycnn.kernels.table import make_operations  # noqa: E402
from tinycnn.layers import (  # noqa: E402
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    MaxPool2D,
    PReLU,
    ReLU,
    Sigmoid,
)

F32 = np.dtype(np.float32)


def linked(layers, shape, links, monkeypatch):
    """The names of the functions that a network's table gets, by field, and the table."""
    names = []

    def address(kind, function, dtype):
        if function.__name__ not in names:
            names.append(function.__name__)
        return names.index(function.__name__) + 1

    monkeypatch.setattr(_calls.Pass, "address", address)
    table = make_operations(build_plan(layers, shape), F32).operations
    linking.link(table, F32, links)
    by_field = {
        link.field.removesuffix("_function"): [
            names[op[link.field] - 1] for op in table if op[link.field]
        ]
        for link in links
    }
    return by_field, table


def test_a_dense_network_asks_for_nothing_else(monkeypatch):
    layers = [Flatten(), Dense(5), Sigmoid(), Dense(3)]
    names, _ = linked(layers, (4, 4, 1), linking.PREDICTION, monkeypatch)
    assert names == {
        "forward": ["dense_operation_forward"] * 2,
        "activate": ["sigmoid_activate"],
        "prepare": [],
    }
    names, _ = linked(layers, (4, 4, 1), linking.TRAINING, monkeypatch)
    assert names == {
        "forward": ["dense_operation_forward"] * 2,
        "activate": ["sigmoid_activate"],
        "prepare": [],
        "transpose": ["dense_operation_transpose"] * 2,
        "backward": ["dense_operation_backward"] * 2,
        "activate_backward": ["sigmoid_activate_backward"],
        "collect": ["dense_operation_collect"] * 2,
    }


def test_functions_of_a_network_of_many_kinds(monkeypatch):
    layers = [
        *(Conv2D(24, 5, padding="valid"), BatchNorm(), ReLU(), MaxPool2D(2)),
        *(DepthwiseConv2D(5), PReLU(), Conv2D(24, 1), BatchNorm(), AveragePool2D(2)),
        *(Flatten(), Dense(3)),
    ]
    names, _ = linked(layers, (14, 14, 3), linking.TRAINING, monkeypatch)
    assert names["forward"] == [
        "conv2d_operation_forward",
        "batch_moments_operation_forward_pool",
        "batch_norm_operation_forward",
        "depthwise_conv2d_operation_forward",
        "prelu_operation_forward",
        "conv2d_operation_forward",
        "batch_moments_operation_forward",
        "batch_norm_operation_forward",
        "averagepool2d_operation_forward",
        "dense_operation_forward",
    ]
    assert names["activate"] == names["activate_backward"] == []  # BatchNorm does the ReLU
    assert names["backward"][:3] == [
        "conv2d_operation_backward",
        "batch_moments_operation_backward_pool",
        "batch_norm_operation_backward",
    ]


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_every_operation_has_its_functions(name, monkeypatch):
    layers, shape = SMALL_NETWORKS[name]
    _, table = linked(layers, shape, linking.TRAINING, monkeypatch)
    without = (operations.ADD, operations.ACTIVATION, operations.CUSTOM)
    for op in table:
        assert bool(op.forward_function) == (op.kind not in without)
        assert bool(op.backward_function) == (op.kind not in without)


def test_functions_of_a_table_are_what_linking_compiles(monkeypatch):
    layers, shape = SMALL_NETWORKS["miniature"]
    asked = []
    monkeypatch.setattr(
        _calls.Pass, "address", lambda kind, function, dtype: asked.append((kind, function)) or 1
    )
    table = make_operations(build_plan(layers, shape), F32).operations
    linking.link(table, F32, linking.TRAINING)
    found = linking.functions_of(table, linking.TRAINING)
    assert found == list(dict.fromkeys(asked)) and len(found) > 8


# ---- calls ------------------------------------------------------------------------------------


@helper
def doubled(op, y):
    for k in range(y.size):
        y[k] = 2 * y[k] + op.C


@helper
def failing(op, y):
    if y.size:
        raise ValueError("no")


call = passes.ACTIVATE.call


@helper
def caller(operation, address, y):
    for k in range(operation.size):
        call(address, (operation[k], y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_call_by_address(dtype):
    y, two = np.arange(5, dtype=dtype), np.zeros(2, operations.RECORD)
    two["C"] = 10, 1
    caller(two, passes.ACTIVATE.address(doubled, np.dtype(dtype)), y)
    np.testing.assert_array_equal(y, 4 * np.arange(5) + 21)


def test_an_error_in_the_function_reaches_the_caller():
    address = passes.ACTIVATE.address(failing, F32)
    with pytest.raises(ValueError, match="^no$"):
        caller(np.zeros(1, operations.RECORD), address, np.ones(2, np.float32))


@pytest.mark.skipif(WITHOUT_JIT, reason="Python checks no types of arguments")
def test_arguments_of_other_types_are_refused():
    """Such as an array whose elements do not follow one another."""
    address, y = passes.ACTIVATE.address(doubled, F32), np.ones(4, np.float32)
    for wrong in (y[::2], y.reshape(2, 2), y.astype(np.int32)):
        with pytest.raises(CompileError, match="caller") as refused:
            caller(np.zeros(1, operations.RECORD), address, wrong)
        assert re.search("arguments of a pass|no array of floats", str(refused.value.__cause__))
    caller(np.zeros(1, operations.RECORD), address, y)
