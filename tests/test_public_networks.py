"""Well-known networks by name: parameters as published, shapes, and both backends agree."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from tinycnn import models
from tinycnn.models import PUBLIC_NETWORKS
from tinycnn.testing import logit_error

PAGE = Path(__file__).resolve().parent.parent / "docs/networks.md"

PUBLISHED_PARAMETERS = {
    # LeCun et al. 1998 give 60,000 for LeNet-5 with its partial connections; with all of them the
    # count is this, as in the textbook "Dive into deep learning"
    "lenet5": 61_706,
    # Keras's model.summary() of oarriaga/face_classification, statistics included
    "mini_xception": 58_423,
    # MLPerf Tiny's reference models, statistics included
    "resnet8": 78_666,
    "dscnn": 24_908,
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_as_many_parameters_as_published(name):
    plan = PUBLIC_NETWORKS[name](backend="numpy").plan
    n_statistics = sum(math.prod(shape) for _, shape in plan.statistic_slots.values())
    assert plan.n_parameters + n_statistics == PUBLISHED_PARAMETERS[name]


def test_mobilenet_has_the_published_number_of_parameters():
    """221,794 in MLPerf Tiny, whose convolutions have a bias for each of their 2,736 filters."""
    plan = models.mobilenet_v1(backend="numpy").plan
    n_filters = sum(math.prod(shape) for _, shape in plan.unused_bias_slots.values())
    n_statistics = sum(math.prod(shape) for _, shape in plan.statistic_slots.values())
    assert plan.n_parameters + n_statistics + n_filters == 221_794


def test_vgg48_has_few_parameters():
    widths, fan_in = (16, 32, 48, 64), (1, 16, 32, 48)
    by_hand = sum(9 * c * f + 2 * f for c, f in zip(fan_in, widths)) + 64 * 8 + 8
    assert models.vgg48(backend="numpy").n_parameters == by_hand == 47_064


@pytest.mark.parametrize("name", PUBLIC_NETWORKS)
def test_both_backends_agree(name):
    kernels, reference = (PUBLIC_NETWORKS[name](backend=b) for b in ("numba", "numpy"))
    x = np.random.default_rng(0).normal(size=(2, *reference.input_spec.shape)).astype(np.float32)
    expected = reference.forward(x)
    assert np.ptp(expected) > 0
    assert logit_error(kernels.forward(x), expected) < 1e-5


def test_class_names_and_options_are_passed_on():
    network = models.vgg48(["angry", "happy"], scaling="standardized", backend="numpy", seed=3)
    assert network.classes == ("angry", "happy") and network.input_spec.scaling == "standardized"
    other = models.vgg48(["angry", "happy"], backend="numpy", seed=4)
    assert not np.array_equal(network.parameters["conv1.w"], other.parameters["conv1.w"])


def test_a_smaller_mobilenet():
    network = models.mobilenet_v1((32, 32, 1), 3, alpha=0.125, backend="numpy")
    assert network.parameters["conv1.w"].shape == (3, 3, 1, 4)
    assert network.plan.output_shape == (3,)


def test_the_page_describes_each_function():
    """Its table of `tinycnn.models`: input, classes and trained parameters with the defaults."""
    row = r"^\| `(\w+)` \| .+ \| (\d+)x(\d+)x(\d+) \| (\d+) \| ([\d,]+) \|$"
    found = re.findall(row, PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    functions = {"microexpnet": models.microexpnet, **PUBLIC_NETWORKS}
    assert [name for name, *_ in found] == list(functions)
    for name, *numbers in found:
        network = functions[name](backend="numpy")
        expected = [*network.input_spec.shape, len(network.classes), network.n_parameters]
        assert [int(number.replace(",", "")) for number in numbers] == expected, name


def test_the_program_of_the_page_runs(capsys):
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    exec(compile(program, "networks.md", "exec"), {})
    assert capsys.readouterr().out == "(1, 7)\n"
