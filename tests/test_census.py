"""Of 112 public tiny networks, at least 85 % can be built and run, and both backends agree.

The networks are those of `census_networks.py`, and those that `census.tsv` gives with their layers.
"""

import ast
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from census_networks import BUILT, FACE_NETWORKS, NOT_BUILT, TINY_NETWORKS, UNSUPPORTED
from layer_text import PublicNetwork, layers_of

from tinycnn import InputSpec, Network
from tinycnn.backends import make_backend
from tinycnn.layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Residual,
    SpatialDropout2D,
)
from tinycnn.plan import build_plan
from tinycnn.testing import logit_error

DOCS = Path(__file__).resolve().parent.parent / "docs/networks.md"
FLOOR = 0.85

SUPPORTED = {
    *("bn_pre", "bn_post", "bn_dense", "avgpool", "gap", "dw", "add", "drop2d", "mse"),
    *("leaky", "prelu", "relu6", "sigmoid", "tanh", "explicit_pad", "stride_axis", "pool_rect"),
}
"""The census's words for what tinycnn has; mse is a loss, and changes no layer."""


class CensusLine(NamedTuple):
    group: str
    name: str
    needs: str
    input: str
    layers: str


def _census() -> list[CensusLine]:
    """The lines of the census; none if the folder TINYCNN_SHARED does not have it."""
    path = Path(os.environ.get("TINYCNN_SHARED", "")) / "census.tsv"
    if not os.environ.get("TINYCNN_SHARED") or not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    return [CensusLine(*(line.split("\t") + [""] * 4)[:5]) for line in lines[1:]]


CENSUS = _census()
NO_CENSUS = "the folder that TINYCNN_SHARED names has no census.tsv"
needs_census = pytest.mark.skipif(not CENSUS, reason=NO_CENSUS)

GIVEN = {
    line.name: PublicNetwork(ast.literal_eval(line.input), line.layers, "census.tsv")
    for line in CENSUS
    if not line.needs
}
NETWORKS = {**GIVEN, **BUILT}
SKIPPED = (
    [] if CENSUS else [pytest.param(None, marks=needs_census, id="the networks of the census")]
)


def test_layers_from_a_text():
    text = (
        "conv 8 (10, 8) s(2, 1) p((1, 0), (2, 3)) nobias; bn; leaky 0.1; dw 3 s1 p2 x2; "
        "residual(conv 16 1 s1 same; residual(relu 6 | drop2d 0.2) | avgpool 3 s1 same); "
        "maxpool (2, 1) s(2, 1) valid; dense 5 nobias"
    )
    inner = Residual([ReLU(6)], [SpatialDropout2D(0.2)])
    assert layers_of(text) == [
        *(Conv2D(8, (10, 8), (2, 1), ((1, 0), (2, 3)), use_bias=False), BatchNorm()),
        *(LeakyReLU(0.1), DepthwiseConv2D(3, 1, ((2, 2), (2, 2)), 2)),
        Residual([Conv2D(16, 1), inner], [AveragePool2D(3, 1)]),
        *(MaxPool2D((2, 1), (2, 1), "valid"), Dense(5, use_bias=False)),
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("conv 8 3 same", "does not say its stride"),
        ("lrn", "is no layer"),
        ("conv 8 3 s1 same dilated", "is no option"),
        ("relu; ; bn", "has an empty part"),
        ("residual(relu", "without its other half"),
    ],
)
def test_a_text_that_is_no_network(text, message):
    with pytest.raises(ValueError, match=message):
        layers_of(text)


TOTAL_PARAMETERS = {
    # Keras's model.summary(), which counts the running statistics; found in notebooks and READMEs
    # that build the same network
    "oarriaga simple_CNN": 642_935,
    "oarriaga mini_XCEPTION": 58_423,
    "gitshanks / yuki-ominato": 5_905_863,
    "akmadan": 4_478_727,
    "serengil / deepface Emotion": 1_485_831,
    "atulapra Emotion-detection": 2_345_607,
    "Keras demo_mnist_convnet": 34_826,
    "TF docs CNN (CIFAR)": 122_570,
    "TF docs image classification (flowers)": 3_989_285,
    "TF docs keras classification": 101_770,
    # MLPerf Tiny's reference networks
    "MLPerf Tiny DS-CNN": 24_908,
    "MLPerf Tiny ResNet-8": 78_666,
    "MLPerf Tiny MobileNetV1 0.25 (person detection)": 221_794,
}
TRAINED_PARAMETERS = {
    # counted by PyTorch, without statistics, in programs and notes about the same network
    "PyTorch examples mnist": 1_199_882,
    "PyTorch examples mnist_hogwild": 21_840,
    "yunjey ResNet CIFAR": 195_738,
    "Caffe LeNet": 431_080,
    # the bytes of its weights in the chip's report, one byte each
    "ai8x ResidualSimpleNet": 381_792,
    # the text of "Dive into deep learning"; LeCun et al. 1998 have fewer connections
    "d2l LeNet": 61_706,
}


def _counts(name: str) -> tuple[int, int]:
    """Trained parameters, and these with the running statistics."""
    if name not in NETWORKS:
        pytest.skip(NO_CENSUS)
    plan = build_plan(layers_of(NETWORKS[name].layers), NETWORKS[name].input_shape)
    n_statistics = sum(math.prod(shape) for _, shape in plan.statistic_slots.values())
    return plan.n_parameters, plan.n_parameters + n_statistics


@pytest.mark.parametrize("name", TOTAL_PARAMETERS)
def test_as_many_parameters_as_published(name):
    assert _counts(name)[1] == TOTAL_PARAMETERS[name]


@pytest.mark.parametrize("name", TRAINED_PARAMETERS)
def test_as_many_trained_parameters_as_published(name):
    assert _counts(name)[0] == TRAINED_PARAMETERS[name]


@pytest.mark.kernels
@pytest.mark.parametrize("name", [*NETWORKS, *SKIPPED])
def test_both_backends_agree(name):
    """On random pixels of 0..1, with everything drawn that would begin as 0 or 1.  The kernels fold
    batch normalisation into the layers beside it, the reference does not."""
    network = Network(
        layers_of(NETWORKS[name].layers), InputSpec(*NETWORKS[name].input_shape), backend="numba"
    )
    rng = np.random.default_rng(0)
    for key, value in (*network.parameters.items(), *network.statistics.items()):
        short = key.rpartition(".")[2]
        if short in ("gamma", "scale", "running_var"):
            value[:] = rng.uniform(0.5, 1.5, value.shape)
        elif short == "alpha":
            value[:] = rng.uniform(0.0, 0.5, value.shape)
        elif short == "w":
            value *= math.sqrt(2)  # most of them are in front of a ReLU, which halves the square
        else:
            value[:] = rng.normal(0.0, 0.1, value.shape)
    reference = make_backend(
        "numpy", network.plan, network.parameter_vector, network.gradient_vector, 1
    )
    x = rng.random((2, *network.input_spec.shape), np.float32)
    expected = reference.predict(x)
    assert np.ptp(expected) > 0
    assert logit_error(network.forward(x), expected) < 1e-5


@needs_census
def test_each_word_of_the_census_is_known():
    words = {word for line in CENSUS for word in line.needs.split()}
    assert words == SUPPORTED | set(UNSUPPORTED)
    assert not SUPPORTED & set(UNSUPPORTED)


@needs_census
def test_each_network_without_an_unsupported_word_is_built():
    assert len(CENSUS) == len({line.name for line in CENSUS}) == 112
    expressible = {line.name for line in CENSUS if not set(line.needs.split()) & set(UNSUPPORTED)}
    assert set(NETWORKS) == expressible - set(NOT_BUILT)
    assert set(NOT_BUILT) <= expressible
    for group, networks in (("face", FACE_NETWORKS), ("tiny", TINY_NETWORKS)):
        assert set(networks) <= {line.name for line in CENSUS if line.group == group}


@needs_census
def test_share_of_the_census_that_is_built():
    assert len(NETWORKS) / len(CENSUS) >= FLOOR


@needs_census
def test_the_page_lists_the_whole_census():
    """Each network that is built by its name; the others in a table, with what is missing."""
    page = DOCS.read_text(encoding="utf-8")
    assert f"{len(NETWORKS)} of the {len(CENSUS)}" in page
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page, flags=re.MULTILINE))
    text = re.sub(r"\s+", " ", page)
    for line in CENSUS:
        if line.name in NETWORKS:
            assert line.name in text and line.name not in rows, line.name
        else:
            words = [UNSUPPORTED[word] for word in line.needs.split() if word in UNSUPPORTED]
            missing = ", ".join(words) or NOT_BUILT[line.name]
            assert rows[line.name] == missing, line.name
