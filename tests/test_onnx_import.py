"""Networks read from ONNX files: trained networks of others, and files that tinycnn wrote."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

from exported import SCALINGS, awkward, candidate, images_for  # noqa: E402
from small_networks import SMALL_NETWORKS  # noqa: E402

import tinycnn  # noqa: E402
from tinycnn import InputSpec  # noqa: E402
from tinycnn.cli import main  # noqa: E402
from tinycnn.export import c_file, python_file  # noqa: E402
from tinycnn.formats import onnx as onnx_file  # noqa: E402
from tinycnn.formats.onnx import import_network, load_network  # noqa: E402
from tinycnn.layers import WindowLayer  # noqa: E402
from tinycnn.testing import logit_error  # noqa: E402

# ---- trained networks of others --------------------------------------------------------------

ZOO = {
    # name -> picture shape, outputs, and parameters: those that Keras counts in the published
    # model, less the four of each channel of a BatchNorm, which are folded into convolutions
    # (mini_XCEPTION's had no bias before)
    "resnet8": ((32, 32, 3), 10, 78_666 - 4 * 240),
    "dscnn": ((49, 10, 1), 12, 24_908 - 4 * 9 * 64),
    "autoencoder": ((1, 1, 640), 640, 269_992 - 4 * (8 * 128 + 8)),
    "mini_xception": ((64, 64, 1), 7, 58_423 - 3 * (2 * 8 + 3 * (16 + 32 + 64 + 128))),
}


def zoo_file(shared, name):
    path = shared / "data" / "zoo" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_gives_its_reference_outputs(shared, name, backend):
    """Its README: computed by ONNX Runtime 1.32 in float32."""
    path = zoo_file(shared, name)
    imported = import_network(path, backend=backend)
    network, (shape, n_outputs, n_parameters) = imported.network, ZOO[name]
    assert network.input_spec.shape == shape
    assert (len(network.classes), network.n_parameters) == (n_outputs, n_parameters)
    reference = np.load(path.with_name(f"{name}_reference.npz"))
    x = reference["x"].reshape(-1, *shape)
    expected = reference["y" if name == "autoencoder" else "logits"]
    assert logit_error(network.forward(x), expected) <= 1e-5
    if name != "autoencoder":
        (note,) = imported.notes
        assert "(Softmax) at the end is left out" in note
        probs = tinycnn.softmax(network.forward(x), backend=backend)
        np.testing.assert_allclose(probs, reference["probs"], atol=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_is_exported_again(shared, tmp_path, name):
    """The exporters compare what they write with the network, and write nothing if it differs."""
    network = load_network(zoo_file(shared, name), backend="numpy")
    python_file.write(network, tmp_path / "m.py")
    c_file.write(network, tmp_path / "m.c")
    onnx_file.save(network, tmp_path / "m.onnx")
    again = load_network(tmp_path / "m.onnx", backend="numpy")
    images = images_for(network, 3)
    assert logit_error(again.predict_logits(images), network.predict_logits(images)) <= 1e-5
    tinycnn.save(network, tmp_path / "m.safetensors")
    loaded = tinycnn.load(tmp_path / "m.safetensors", backend="numpy")
    assert (loaded.predict_logits(images) == network.predict_logits(images)).all()


def test_an_imported_network_trains_on(shared):
    """mini_XCEPTION, a few steps on eight pictures: the loss falls."""
    network = load_network(zoo_file(shared, "mini_xception"), backend="numpy")
    reference = np.load(zoo_file(shared, "mini_xception").with_name("mini_xception_reference.npz"))
    x, labels = reference["x"], np.arange(8) % 7
    optimizer, losses = tinycnn.Adam(1e-4), []
    for _ in range(5):
        loss, _ = network.loss_and_gradients(x, tinycnn.CrossEntropy(), labels)
        optimizer.step(network.trained_vector, network.trained_gradients)
        losses.append(loss)
    assert losses[-1] < losses[0]


def test_commands_take_onnx_files(shared, tmp_path, capsys):
    path, out = zoo_file(shared, "dscnn"), tmp_path / "m.safetensors"
    assert main(["info", str(path), "--json"]) == 0
    output = capsys.readouterr()
    described = json.loads(output.out)
    assert (described["kind"], described["n_parameters"]) == ("ONNX", 22_604)
    assert output.err.startswith(f"note: {path}: node 'Identity' (Softmax) at the end is left out")
    assert main(["convert", str(path), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logit_error"] == 0
    assert tinycnn.load(out, backend="numpy").n_parameters == 22_604


# ---- files that tinycnn wrote ----------------------------------------------------------------


def same_network(network, path):
    """Write the network as ONNX and read it back: everything but Dropout is the same."""
    onnx_file.save(network, path)
    imported = import_network(path, backend="numpy")
    again = imported.network
    assert imported.notes == ()
    assert again.input_spec == network.input_spec
    assert again.calibration_temperature == network.calibration_temperature
    images = images_for(network)
    expected = network.predict_logits(images)
    assert logit_error(again.predict_logits(images), expected) <= 1e-6
    return again


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_network_of_the_paper_comes_back(tmp_path, scaling):
    network = candidate(framing="fer2013", scaling=scaling)
    network.calibration_temperature = 1.75
    again = same_network(network, tmp_path / "m.onnx")
    kept = [layer for layer in network.layers if not isinstance(layer, tinycnn.Dropout)]
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in kept]
    windows = [
        [step.window for step in n.plan.steps if isinstance(step.layer, WindowLayer)]
        for n in (network, again)
    ]
    assert windows[0] == windows[1]
    for name, parameter in network.parameters.items():
        assert (again.parameters[name] == parameter).all()


@pytest.mark.parametrize("scaling", ["raw", "unit"])
@pytest.mark.parametrize("means", [dict(mean=(0.5, 7.0)), dict(std=(2.0, 0.25)), "both"])
def test_means_and_deviations_come_back(tmp_path, scaling, means):
    means = dict(mean=(0.5, 7.0), std=(2.0, 0.25)) if means == "both" else means
    spec = InputSpec(6, 5, 2, scaling=scaling, **means)
    layers = [tinycnn.Conv2D(3, 3), tinycnn.Flatten(), tinycnn.Dense(2)]
    same_network(tinycnn.Network(layers, spec, backend="numpy"), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_unusual_networks_come_back(tmp_path, name):
    same_network(awkward(name, "unit"), tmp_path / "m.onnx")


def test_nodes_that_scale_pixels_and_were_changed_become_layers(tmp_path):
    network = candidate(scaling="unit")
    onnx_file.save(network, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    (divisor,) = [t for t in model.graph.initializer if t.name == "255"]
    divisor.CopyFrom(onnx.numpy_helper.from_array(np.float32(127.5), "255"))
    onnx.save(model, tmp_path / "m.onnx")
    imported = import_network(tmp_path / "m.onnx", backend="numpy")
    assert imported.notes == ("its nodes that scale pixels were changed: they become layers",)
    assert imported.network.input_spec.scaling == "raw"
    images = images_for(network)
    x = images.astype(np.float32) / np.float32(127.5)
    error = logit_error(imported.network.predict_logits(images), network.forward(x))
    assert error <= 1e-5


@pytest.mark.parametrize(
    "key, value",
    [
        ("classes", '["a", "a"]'),
        ("classes", "[" * 100_000),
        ("scaling", '"bright"'),
        ("framing", "7"),
        ("calibration_temperature", "-1"),
        ("calibration_temperature", "NaN"),
        ("calibration_temperature", '"1"'),
        ("mean", "[true]"),
        ("std", "[0.5, 0.5]"),
        ("std", "[0]"),
    ],
)
def test_metadata_that_tinycnn_does_not_write_are_refused(tmp_path, key, value):
    spec = InputSpec(3, 3, 1, mean=(3.0,), std=(2.0,))
    network = tinycnn.Network([tinycnn.Flatten(), tinycnn.Dense(2)], spec, backend="numpy")
    onnx_file.save(network, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    (entry,) = [p for p in model.metadata_props if p.key == key]
    entry.value = value
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=f"m.onnx: its metadata .*{key}.*"):
        load_network(tmp_path / "m.onnx")
