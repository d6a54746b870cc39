"""The plan: names, shapes, and places of parameters that never overlap."""

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

from tinycnn.layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
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


class Unrunnable(Layer):
    """A layer that has no functions to run it."""

    stem = "unrunnable"


class OtherReLU(ReLU):
    """A class of its own: the kernels do not know what it changes."""


@pytest.mark.parametrize("layer", [Unrunnable(), OtherReLU()])
def test_a_layer_that_nothing_can_run_is_told_what_to_derive_from(layer):
    with pytest.raises(TypeError, match="layer 2 is .*derive the class from tinycnn.CustomLayer"):
        build_plan([Flatten(), layer, Dense(3)], (8, 8, 1))


@pytest.mark.parametrize("not_a_layer", [ReLU, "relu", None, Conv2D])
def test_objects_that_are_not_layers_are_refused(not_a_layer):
    with pytest.raises(TypeError, match="layer 2 is .*; expected a layer such as"):
        build_plan([Flatten(), not_a_layer, Dense(3)], (8, 8, 1))
