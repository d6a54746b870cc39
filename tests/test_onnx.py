"""ONNX models: they pass onnx's checker; onnxruntime and onnx's evaluator give our logits."""

import builtins
import json

import numpy as np
import pytest
from exported import SCALINGS, SIXTEEN, awkward, candidate, images_for, in_colour
from small_networks import SMALL_NETWORKS

import tinycnn
from tinycnn import Conv2D, Dense, Flatten, InputSpec, Network, ReLU, models
from tinycnn.formats import onnx as onnx_file
from tinycnn.formats.agreement import ExportError
from tinycnn.layers import BatchNorm, GlobalAveragePool2D, Residual, ScaleShift
from tinycnn.testing import logit_error

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")


def without(monkeypatch, *packages):
    """Make importing these packages fail, as if they were not installed."""
    real = builtins.__import__

    def fake(name, *arguments, **options):
        if name.split(".")[0] in packages and arguments[3:4] != (1,):
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fake)


def answers(path, images):
    """Logits by onnxruntime if it is installed, otherwise by onnx's evaluator."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(str(path)).run(None, {"images": images})[0]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def agrees(network, path):
    onnx_file.save(network, path)
    onnx.checker.check_model(str(path), full_check=True)
    images = images_for(network)
    logits = answers(path, images.astype(np.float32))
    assert logits.dtype == np.float32
    assert logit_error(logits, network.predict_logits(images)) <= 1e-5
    one = answers(path, images[2:3].astype(np.float32))  # the batch size is not fixed
    np.testing.assert_allclose(one, logits[2:3], rtol=1e-4, atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize("variant, size", SIXTEEN)
def test_the_sixteen_networks(tmp_path, variant, size):
    agrees(candidate(variant, size), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", SMALL_NETWORKS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_unusual_networks(tmp_path, name, scaling):
    agrees(awkward(name, scaling), tmp_path / "m.onnx")


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_graph_scales_the_pixels(tmp_path, scaling):
    agrees(candidate("p2", scaling=scaling), tmp_path / "m.onnx")


def test_means_and_deviations_of_channels(tmp_path):
    for name, network in in_colour().items():
        agrees(network, tmp_path / f"{name}.onnx")
    model = onnx.load(str(tmp_path / "imagenet.onnx"))
    said = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert said["mean"] == [0.485, 0.456, 0.406] and said["std"] == [0.229, 0.224, 0.225]


def test_kernels_and_float64(tmp_path):
    for options in (dict(backend="numba"), dict(backend="numpy", dtype=np.float64)):
        agrees(models.microexpnet(seed=3, **options), tmp_path / "m.onnx")


def test_without_onnxruntime_the_evaluator_of_onnx_checks(tmp_path, monkeypatch):
    without(monkeypatch, "onnxruntime")
    onnx_file.save(candidate("p12", scaling="standardized"), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size > 260_000


def test_tinycnn_load_reads_what_save_wrote(tmp_path):
    network = Network([Flatten(), Dense(3)], InputSpec(6, 5, scaling="unit"), seed=1)
    onnx_file.save(network, tmp_path / "m.onnx")
    found = tinycnn.load(tmp_path / "m.onnx", backend="numpy")
    images = images_for(network, 4)
    expected = network.predict_logits(images)
    assert logit_error(found.predict_logits(images), expected) < 1e-5


def test_metadata_and_shapes_of_the_file(tmp_path):
    network = candidate(framing="fer2013", scaling="unit")
    network.calibration_temperature = 1.75
    onnx_file.save(network, tmp_path / "m.onnx")
    model = onnx.load(str(tmp_path / "m.onnx"))
    said = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert said == {
        "classes": list(network.classes),
        "framing": "fer2013",
        "scaling": "unit",
        "calibration_temperature": 1.75,
    }
    assert [o.version for o in model.opset_import] == [13] and model.ir_version == 8
    (images,), (logits,) = model.graph.input, model.graph.output
    dims = [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim]
    assert (images.name, dims) == ("images", ["batch", 84, 84, 1])
    dims = [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim]
    assert (logits.name, dims) == ("logits", ["batch", 8])
    pads = {n.name: list(a.ints) for n in model.graph.node for a in n.attribute if a.name == "pads"}
    # paddings known by hand; ONNX lists top, left, bottom, right
    assert pads["conv1"] == [3, 3, 3, 3] and pads["conv2"] == [1, 1, 2, 2]
    assert pads["pool1"] == [0, 0, 0, 0] and pads["pool2"] == [0, 0, 1, 1]
    assert {t.name for t in model.graph.initializer} == {*network.parameters, "255"}


@pytest.mark.parametrize("runtime", [True, False])
def test_a_model_that_disagrees_is_not_written(tmp_path, monkeypatch, runtime):
    if not runtime:
        without(monkeypatch, "onnxruntime")
    real = onnx_file._window
    monkeypatch.setattr(onnx_file, "_window", lambda step: real(step) | {"pads": [0, 0, 1, 1]})
    network = awkward("conv_pool_without_relu")
    with pytest.raises(ExportError, match="m.onnx: .*(differ|shape)|does not run"):
        onnx_file.save(network, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_is_a_little_wrong_is_noticed(tmp_path, monkeypatch):
    network = candidate()
    real = onnx_file.Graph.constant

    def wrong(self, name, values):
        return real(self, name, np.multiply(values, 1.00003 if name == "conv2.w" else 1))

    monkeypatch.setattr(onnx_file.Graph, "constant", wrong)
    with pytest.raises(ExportError, match="differ from the network's by .*e-05 of the largest"):
        onnx_file.save(network, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite(tmp_path):
    network = candidate()
    network.parameters["conv2.b"][3] = np.nan
    with pytest.raises(ValueError, match="conv2.b holds NaN or infinity"):
        onnx_file.save(network, tmp_path / "m.onnx")


def test_without_the_extra(tmp_path, monkeypatch):
    without(monkeypatch, "onnx", "onnxruntime")
    with pytest.raises(ImportError, match=r'pip install "tinycnn\[onnx\]"'):
        onnx_file.save(candidate(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# ---- residuals, scales, BatchNorm ------------------------------------------------------------


BRANCHES = [
    *(Conv2D(4, 3, use_bias=False), BatchNorm(), ReLU()),
    Residual(
        [Conv2D(6, 3, stride=2), BatchNorm(), ReLU(), Residual([Conv2D(6, 1)])],
        [Conv2D(6, 1, stride=2, use_bias=False)],
    ),
    *(ReLU(), BatchNorm(), GlobalAveragePool2D(), Residual([Dense(6), ReLU()])),
    *(ScaleShift(), Dense(3, use_bias=False)),
]


def test_branches_and_what_is_folded(tmp_path):
    network = Network(BRANCHES, InputSpec(9, 8, 2), backend="numpy", seed=1)
    rng = np.random.default_rng(1)
    for name, values in {**network.parameters, **network.statistics}.items():
        values[:] += rng.uniform(0, 0.5, values.shape)
    agrees(network, tmp_path / "m.onnx")
    operators = [node.op_type for node in onnx.load(str(tmp_path / "m.onnx")).graph.node]
    assert operators.count("Add") == 3 + operators.count(
        "Mul"
    )  # three sums; a shift for each scale
    assert "BatchNormalization" not in operators
