"""The tests of single nodes in the package `onnx`, for every operator that the reader knows."""

import functools
import re
import warnings
from unittest import mock

import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

from onnx.backend.test import BackendTest, loader, runner  # noqa: E402
from onnx_backend import TinycnnBackend  # noqa: E402

from tinycnn.formats.onnx_import import found_layers  # noqa: E402
from tinycnn.formats.onnx_import.constants import CONSTANT_OPERATORS  # noqa: E402
from tinycnn.formats.onnx_import.errors import NotUsable  # noqa: E402
from tinycnn.formats.onnx_import.operators import OPERATORS  # noqa: E402

LEFT_OUT = {
    r"cast(like)?_.*(FLOAT8|FLOAT4|BFLOAT16|INT2|INT4)": "floats of 8 bits, numbers of 4, bfloat16",
    r"range_bfloat16": "bfloat16",
    r"equal_string": "texts",
    r"dequantizelinear_(e\dm|u?int\d$|float4|blocked)": "numbers of 4 bits, floats of 8, blocks",
    r"(max|average)pool_.*dilations": "windows with gaps",
    r"(max|average)pool_3d": "windows over three axes",
    r"maxpool_with_argmax": "the places of the maxima as an output",
    r"(constant|edge|reflect|wrap)_pad": "padding with other values than 0, or without a window",
    r"dropout_.*mask|training_dropout_.*mask": "the choice of values that are dropped as an output",
    r"training_dropout(_default)?$": "values dropped at random, as the test's own generator does",
    r"maxpool_2d_uint8|clip_default_int8_[a-z]+$": "integers in layers",
    r"reduce_(max|min)_empty_set": "tensors without values",
    r"not_\dd": "a model of operator set 1",
    r"matmul_(3d|4d|bcast|1d_3d)$": "other weights for each row",
    r"identity_(sequence|opt)": "sequences and optional values",
}
"""Beginning of a test's name -> why tinycnn refuses its model."""


@functools.cache
def all_node_tests():
    """The tests of the package: name -> model, of those with a single node."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data are computed with overflows
        return loader.load_model_tests(kind="node")


def model_of(test):
    return test.model or onnx.load(f"{test.model_dir}/model.onnx")


def chosen_tests():
    """The tests of single nodes whose operator the reader knows."""
    known = {*OPERATORS, *CONSTANT_OPERATORS}
    return {
        test.name: test
        for test in all_node_tests()
        if [node.op_type in known for node in model_of(test).graph.node] == [True]
    }


def is_left_out(name):
    return any(re.match(pattern, name.removeprefix("test_")) for pattern in LEFT_OUT)


def node_tests():
    """The class with the chosen tests, as the package's own runner makes it."""
    other_kinds = {"real", "simple", "pytorch-converted", "pytorch-operator"}
    load = lambda kind: [] if kind in other_kinds else all_node_tests()
    with mock.patch.object(runner, "load_model_tests", load):
        cases = BackendTest(TinycnnBackend, __name__).test_cases
    case = cases["OnnxBackendNodeModelTest"]
    wanted = {f"{name}_cpu" for name in chosen_tests() if not is_left_out(name)}
    for name in [name for name in vars(case) if name.startswith("test_") and name not in wanted]:
        delattr(case, name)
    return case


OnnxBackendNodeModelTest = node_tests()


def test_there_are_tests():
    names = [name for name in vars(OnnxBackendNodeModelTest) if name.startswith("test_")]
    assert len(names) > 150
    assert {"test_conv_with_autopad_same_cpu", "test_relu_cpu", "test_gemm_alpha_cpu"} <= set(names)


@pytest.mark.parametrize("pattern", LEFT_OUT)
def test_what_is_left_out_is_refused_and_not_wrong(pattern):
    """Every entry of the list has tests, and the reader refuses each of their models."""
    found = [
        test
        for name, test in chosen_tests().items()
        if re.match(pattern, name.removeprefix("test_"))
    ]
    assert found, f"no test begins with {pattern}"
    for test in found:
        for inputs, _ in test.data_sets or ():
            arrays = [runner._normalize_tensor(given) for given in inputs]
            with pytest.raises(NotUsable):
                TinycnnBackend.prepare(model_of(test)).run(arrays)


def test_a_wrong_answer_is_noticed(monkeypatch):
    """The tests compare: with a bias that is a little wrong, they fail."""
    real = found_layers.FoundLayers.network

    def wrong(self, *arguments, **options):
        network = real(self, *arguments, **options)
        network.parameter_vector *= 1.01
        return network

    monkeypatch.setattr(found_layers.FoundLayers, "network", wrong)
    with pytest.raises(AssertionError):
        OnnxBackendNodeModelTest("test_gemm_alpha_cpu").test_gemm_alpha_cpu()
