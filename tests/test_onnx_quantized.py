"""Quantised networks as ONNX: the integers of onnxruntime are ours."""

import json

import numpy as np
import pytest
from small_networks import ENGINE_NETWORKS
from test_quantized import Square, network_and_images, with_own_layer

import tinycnn
from tinycnn.formats import onnx_quantized
from tinycnn.formats.agreement import ExportError
from tinycnn.layers import UnknownLayerError
from tinycnn.quantized.program import WITH_WEIGHTS
from tinycnn.testing import logit_error

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")


def in_onnxruntime(model, images, outputs=("logits",)):
    """Outputs of the model.  The option keeps 8-bit products exact on processors without VNNI."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(outputs), {"images": images.astype(np.float32)})


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_onnxruntime_gives_our_logits(name):
    """Exactly, but for the last bits of a mean or of a scaled pixel that fall between integers."""
    network, images = network_and_images(name, n_images=7, backend="numpy")
    quantized = network.quantized(images)
    model = onnx_quantized.quantized_model(quantized)
    onnx.checker.check_model(model, full_check=True)
    (logits,) = in_onnxruntime(model, images)
    assert logit_error(logits, quantized.predict_logits(images)) < 0.02
    if all(o.kind in (*WITH_WEIGHTS, "max_pool") for o in quantized.program.operations):
        np.testing.assert_array_equal(logits, quantized.predict_logits(images))


def test_every_weight_is_stored_in_8_bits_with_a_scale_for_each_filter():
    network, images = network_and_images("depthwise_separable", backend="numpy")
    quantized = network.quantized(images)
    model = onnx_quantized.quantized_model(quantized)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for operation in quantized.program.operations:
        if operation.kind in WITH_WEIGHTS:
            w = stored[f"{operation.step.name}.w_integers"]
            assert w.dtype == np.int8 and w.size == operation.arrays["w"].size
            assert len(stored[f"{operation.step.name}.w_scale"]) == operation.shape[-1]
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv", "Gemm"} <= kinds
    properties = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert properties["scaling"] == network.input_spec.scaling


def test_save_compares_before_it_writes(tmp_path, monkeypatch):
    network, images = network_and_images("miniature", backend="numpy")
    quantized = network.quantized(images)
    onnx_quantized.save_quantized(quantized, tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    (logits,) = in_onnxruntime(model, images)
    np.testing.assert_array_equal(logits, quantized.predict_logits(images))
    monkeypatch.setattr(onnx_quantized, "run_model", lambda model, x: np.ones((len(x), 4), "f4"))
    with pytest.raises(ExportError, match=r"its logits differ from the network's by .*Nothing"):
        onnx_quantized.save_quantized(quantized, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_a_layer_of_the_users_own_has_no_operator():
    network = with_own_layer(Square(), tinycnn.Flatten(), tinycnn.Dense(2))
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
    with pytest.raises(UnknownLayerError, match="Square"):
        onnx_quantized.quantized_model(network.quantized(images))
