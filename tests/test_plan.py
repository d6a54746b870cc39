"""The plan: names, offsets that do not overlap, and a table that agrees with the layers."""

import ast
import inspect

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn import plan as plan_module
from tinycnn.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU
from tinycnn.plan import ALIGNMENT, build_plan

EVERY_NETWORK = pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))


def test_names_are_numbered_by_kind():
    layers = [Conv2D(2, 3), ReLU(), MaxPool2D(2), Conv2D(2, 3), ReLU(), Flatten(), Dense(4)]
    layers += [ReLU(), Dropout(0.5), Dense(3)]
    names = [step.name for step in build_plan(layers, (8, 8, 1)).steps]
    assert names == [
        *("conv1", "relu1", "pool1", "conv2", "relu2", "flatten1", "dense1", "relu3"),
        *("dropout1", "dense2"),
    ]


@EVERY_NETWORK
def test_each_output_shape_is_the_next_input_shape(name):
    layers, shape = SMALL_NETWORKS[name]
    plan = build_plan(layers, shape)
    assert len(plan.steps) == len(layers)
    for step, layer in zip(plan.steps, layers):
        assert step.layer == layer and step.input_shape == shape
        shape = layer.output_shape(shape)
        assert step.output_shape == shape
    assert plan.output_shape == shape


@EVERY_NETWORK
def test_parameters_are_aligned_and_do_not_overlap(name):
    plan = build_plan(*SMALL_NETWORKS[name])
    owner = np.zeros(plan.n_parameter_slots, int)
    total = 0
    for offset, shape in plan.parameter_slots.values():
        assert offset % ALIGNMENT == 0
        size = int(np.prod(shape))
        assert offset + size <= plan.n_parameter_slots
        owner[offset : offset + size] += 1
        total += size
    assert owner.max() == 1 and plan.n_parameters == total
    assert ALIGNMENT * 4 % 64 == 0  # in float32


@EVERY_NETWORK
def test_operations_are_chained_and_their_outputs_do_not_overlap(name):
    plan = build_plan(*SMALL_NETWORKS[name])
    written = np.zeros(plan.n_activations, int)
    previous = {"y_offset": -1, "size": int(np.prod(plan.input_shape))}
    for op in plan.operations:
        assert op["x_offset"] == previous["y_offset"]
        assert op["H"] * op["W"] * op["C"] == previous["size"]
        size = int(op["OH"] * op["OW"] * op["F"])
        written[op["y_offset"] : op["y_offset"] + size] += 1
        previous = {"y_offset": op["y_offset"], "size": size}
    assert written.max() == 1 and previous["size"] == plan.output_shape[0]


@EVERY_NETWORK
def test_operations_have_the_sizes_of_their_parameters(name):
    """Kernels do not check these: with a wrong F they would read past the end of the weights."""
    plan = build_plan(*SMALL_NETWORKS[name])
    shapes = {offset: shape for offset, shape in plan.parameter_slots.values()}
    with_parameters = 0
    for op in plan.operations:
        if op["kind"] == plan_module.CONV2D:
            assert shapes[op["w_offset"]] == (op["KH"], op["KW"], op["C"], op["F"])
        elif op["kind"] == plan_module.DENSE:
            assert shapes[op["w_offset"]] == (op["H"] * op["W"] * op["C"], op["F"])
        else:
            continue
        assert shapes[op["b_offset"]] == (op["F"],)
        with_parameters += 1
    assert with_parameters * 2 == len(plan.parameter_slots)


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
    operations = build_plan(layers, (6, 6, 1)).operations
    found = [(op["kind"], op["relu"], op["pool"]) for op in operations]
    assert found == [(getattr(plan_module, kind), r, p) for kind, r, p in kinds_relus_pools]


def test_kernels_use_the_same_numbers_for_the_kinds():
    from tinycnn.kernels import program

    for kind in ("CONV2D", "MAXPOOL2D", "DENSE", "RELU", "DROPOUT"):
        assert getattr(program, kind) == getattr(plan_module, kind)


def test_kernels_only_read_fields_of_the_table():
    from tinycnn.kernels import program

    tree = ast.parse(inspect.getsource(program))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "op"
    }
    assert read and read <= set(plan_module.OPERATION.names)


@pytest.mark.parametrize(
    "layers, message",
    [
        ([Conv2D(2, 3), Dense(3)], r"layer dense1: .*\(8, 8, 2\): put Flatten\(\) before it"),
        ([Flatten(), Dense(3), MaxPool2D(2)], "layer pool1: MaxPool2D takes pictures"),
        ([Conv2D(2, 9, padding="valid")], "layer conv1: a window of 9 does not fit 8 pixels"),
        (
            [Conv2D(2, 3), ReLU(), Conv2D(2, 9, padding="valid"), Flatten()],
            "layer conv2: a window of 9",
        ),
        ([Conv2D(2, 3), ReLU()], r"ends in a vector of logits; these layers give shape \(8, 8, 2"),
        ([], "ends in a vector of logits"),
        ([Flatten(), ReLU()], "needs a layer with parameters"),
    ],
)
def test_layers_that_do_not_fit_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        build_plan(layers, (8, 8, 1))


@pytest.mark.parametrize("not_a_layer", [ReLU, "relu", None, Conv2D])
def test_objects_that_are_not_layers_are_refused(not_a_layer):
    with pytest.raises(TypeError, match="layer 2 is .*; expected a layer such as"):
        build_plan([Flatten(), not_a_layer, Dense(3)], (8, 8, 1))
