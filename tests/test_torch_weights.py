"""Weights from a PyTorch state_dict: the networks give the module's own outputs."""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tinycnn
from tinycnn import Conv2D, Dense, Dropout, Flatten, InputSpec, MaxPool2D, Network, ReLU
from tinycnn.formats.safetensors import ModelFileError
from tinycnn.formats.torch_weights import load_torch_weights
from tinycnn.layers import BatchNorm, DepthwiseConv2D, PReLU, ScaleShift, UnknownLayerError

ROOT = Path(__file__).resolve().parent.parent


def outputs(module, network, n_images=3):
    """The module's and the network's outputs for the same pictures, in the network's dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.random.default_rng(1).standard_normal((n_images, *network.input_spec.shape))
    x = x.astype(network.dtype)
    module.eval()
    with torch.no_grad():
        theirs = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    return theirs, network.forward(x)


def saved(module, path):
    """The module's state_dict in a file; its BatchNorms have statistics that matter."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for part in module.modules():
        if isinstance(part, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            for tensor in (part.weight, part.bias, part.running_mean):
                torch.nn.init.normal_(tensor)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    safetensors.numpy.save_file(tensors, path)


def test_the_snippet_of_the_documentation(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from collections import OrderedDict

    nn = torch.nn
    features = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2))
    parts = [("features", features), ("flatten", nn.Flatten()), ("classifier", nn.Linear(864, 10))]
    module = nn.Sequential(OrderedDict(parts))
    page = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
    _, save, load = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(save, "docs/import.md", "exec"), {"module": module})
    assert len(load.splitlines()) <= 10
    names = {}
    exec(compile(load, "docs/import.md", "exec"), names)
    theirs, ours = outputs(module, names["network"])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    written = tinycnn.load("network.safetensors")
    assert (written.parameters["conv1.w"] == names["network"].parameters["conv1.w"]).all()


def test_every_kind_of_layer(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn
    module = nn.Sequential(
        *(nn.Conv2d(2, 4, (3, 2), bias=False), nn.BatchNorm2d(4), nn.PReLU(4)),
        *(nn.Conv2d(4, 8, 3, groups=4, padding=1), nn.PReLU(), nn.Flatten()),
        *(nn.BatchNorm1d(8 * 5 * 6), nn.PReLU(8 * 5 * 6), nn.Linear(8 * 5 * 6, 5)),
        *(nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False)),
    ).double()
    with torch.no_grad():
        module[7].weight.copy_(torch.rand(240))
    saved(module, tmp_path / "module.safetensors")
    layers = [
        *(Conv2D(4, (3, 2), padding="valid", use_bias=False), BatchNorm(), PReLU()),
        *(DepthwiseConv2D(3, depth_multiplier=2), PReLU(), Flatten(), Dropout(0.5)),
        *(BatchNorm(), PReLU(), Dense(5), BatchNorm(), Dense(3, use_bias=False)),
    ]
    network = Network(layers, InputSpec(7, 7, 2), dtype=np.float64, backend="numpy")
    names = ["conv1", "bn1", "prelu1", "depthwise1", "prelu2", "bn2", "prelu3"]
    names = dict(zip([*names, "dense1", "bn3", "dense2"], "0 1 2 3 4 6 7 8 9 10".split()))
    load_torch_weights(network, tmp_path / "module.safetensors", names)
    theirs, ours = outputs(module, network)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def small(folder, **changes):
    """A network, a file for it with `changes` among its tensors (None: left out), and names."""
    layers = [Conv2D(2, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(3)]
    network = Network(layers, InputSpec(4, 4, 1), backend="numpy")
    tensors = {"c.weight": np.ones((2, 1, 3, 3), np.float32), "c.bias": np.ones(2, np.float32)}
    tensors |= {"d.weight": np.ones((3, 8), np.float32), "d.bias": np.ones(3, np.float32)}
    tensors = {name: t for name, t in {**tensors, **changes}.items() if t is not None}
    path = folder / "module.safetensors"
    safetensors.numpy.save_file(tensors, path)
    return network, path, {"conv1": "c", "dense1": "d"}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"c.weight": None}, "no tensor 'c.weight' for conv1.w"),
        ({"c.weight": np.ones((2, 1, 3), np.float32)}, "'c.weight' has shape (2, 1, 3), which"),
        ({"c.weight": np.ones((2, 2, 3, 3), np.float32)}, "'c.weight' has shape (2, 2, 3, 3)"),
        ({"d.weight": np.ones((3, 4), np.float32)}, "'d.weight' has shape (3, 4), which does not"),
        ({"d.bias": np.array([1, 2, np.nan])}, "'d.bias' is float64, or not finite"),
        ({"d.bias": np.ones(3, np.int64)}, "'d.bias' is int64, or not finite"),
        ({"e.bias": np.ones(3)}, "the network has no layer for e.bias (1 tensors)"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, expected):
    network, path, names = small(tmp_path, **changes)
    before = network.parameter_vector.copy()
    with pytest.raises(ModelFileError, match=re.escape(f"{path}: {expected}")):
        load_torch_weights(network, path, names)
    assert (network.parameter_vector == before).all()


def test_names_must_be_those_of_the_layers(tmp_path):
    network, path, names = small(tmp_path, **{"c.num_batches_tracked": np.array(7)})
    load_torch_weights(network, path, names)
    assert (network.parameters["conv1.w"] == 1).all()
    for wrong in ({"conv1": "c"}, {**names, "conv2": "x"}, {}):
        with pytest.raises(ValueError, match="expected the layers with parameters: conv1, dense1"):
            load_torch_weights(network, path, wrong)


def test_a_layer_that_pytorch_does_not_have(tmp_path):
    _, path, _ = small(tmp_path)
    network = Network([Flatten(), ScaleShift()], InputSpec(2, 2, 1), backend="numpy")
    with pytest.raises(UnknownLayerError, match="torch_weights.PARAMETERS has no entry for the"):
        load_torch_weights(network, path, {"scale1": "c"})
