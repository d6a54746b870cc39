"""PyTorch modules, written by both of its exporters: the networks read from them give the module's
outputs, and take the same training step."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")

import safetensors.numpy  # noqa: E402
from torch_modules import MODULES, exported, made, without_softmax  # noqa: E402

from tinycnn import CrossEntropy  # noqa: E402
from tinycnn.formats.onnx import import_network, load_network  # noqa: E402
from tinycnn.formats.torch_weights import load_torch_weights  # noqa: E402
from tinycnn.testing import logit_error  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # both exporters warn of their own code


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function: the file that an exporter writes of a module."""
    folder, written = tmp_path_factory.mktemp("onnx"), {}

    def file(name, exporter, module, x, **options):
        key = (name, exporter, x.dtype, *options)
        if key not in written:
            if exporter == "dynamo":
                pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")
            written[key] = folder / f"{len(written)}.onnx"
            exported(module, x, written[key], exporter, **options)
        return written[key]

    return file


def pictures(name, n_images=4, dtype=torch.float32):
    shape = MODULES[name][0]
    values = np.random.default_rng(3).standard_normal((n_images, *shape))
    return torch.from_numpy(values).to(dtype)


def channels_last(x, network):
    """The module's input as the network takes it."""
    x = x.numpy()
    if x.ndim > 2:
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x).reshape(len(x), *network.input_spec.shape)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", MODULES)
def test_the_same_outputs(files, name, exporter, backend):
    module, x = made(name), pictures(name)
    imported = import_network(files(name, exporter, module, x), backend=backend)
    network = imported.network
    with torch.no_grad():
        expected = without_softmax(module)(x).numpy()
    assert logit_error(network.forward(channels_last(x, network)), expected) <= 1e-5
    has_softmax = without_softmax(module) is not module
    assert len(imported.notes) == has_softmax
    if has_softmax:
        assert "Softmax) at the end is left out" in imported.notes[0]


BLOCKS = {
    "residual1": "3",
    "residual2": "4",
}
NAMES = {
    "lenet": {"conv1": "0", "conv2": "3", "dense1": "7", "dense2": "9"},
    "vectors": {"dense1": "0", "bn1": "1", "dense2": "4"},
    "activations": {
        **{"conv1": "0", "conv2": "2", "prelu1": "3", "conv3": "5", "prelu2": "6"},
        **{"dense1": "9", "bn1": "10", "dense2": "12"},
    },
    "mobilenet": {
        **{"depthwise1": "0", "bn1": "1", "conv1": "3", "bn2": "4"},
        **{"depthwise2": "6", "bn3": "7", "conv2": "9", "bn4": "10", "dense1": "13"},
    },
    "resnet": {
        **{"conv1": "0", "bn1": "1", "dense1": "7"},
        **{
            f"{ours}.{layer}": f"{theirs}.{layer}"
            for ours, theirs in BLOCKS.items()
            for layer in ("conv1", "bn1", "conv2", "bn2")
        },
        **{"residual2.shortcut.conv1": "4.shortcut.0", "residual2.shortcut.bn1": "4.shortcut.1"},
    },
}
"""Of each network, the layers with parameters and the modules they come from."""


def stepped(network, x, labels, rate):
    """One step of gradient descent."""
    loss, _ = network.loss_and_gradients(x, CrossEntropy(), labels)
    for name, gradient in network.gradients.items():
        network.parameters[name][:] -= rate * gradient
    return loss


def everything(network):
    """All parameters and statistics by name, copied."""
    return {name: a.copy() for name, a in {**network.parameters, **network.statistics}.items()}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    "name, exporter",
    [("lenet", "dynamo"), *((name, "torchscript") for name in NAMES if name != "vectors")],
)
def test_the_same_training_step(files, tmp_path, name, exporter, backend):
    """In float64, with the statistics of the batch, from the same weights and pictures."""
    module, x = made(name, torch.float64), pictures(name, 6, torch.float64)
    options = dict(keep_batch_norm=True) if exporter == "torchscript" else {}
    path = files(name, exporter, module, x, **options)
    network, reference = (load_network(path, backend=backend) for _ in range(2))
    assert network.dtype == np.float64
    before = everything(network)
    labels = np.arange(6) % len(network.classes)
    loss = stepped(network, channels_last(x, network), labels, rate=0.5)

    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    logits = without_softmax(module)(x)
    expected_loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    expected_loss.backward()
    optimizer.step()
    assert loss == pytest.approx(expected_loss.item(), rel=1e-6)
    tensors = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    safetensors.numpy.save_file(tensors, tmp_path / "after.safetensors")
    load_torch_weights(reference, tmp_path / "after.safetensors", NAMES[name])
    after, expected = everything(network), everything(reference)
    moved = {key: expected[key] - before[key] for key in before}
    largest = max(map(np.linalg.norm, moved.values()))
    for key, theirs in moved.items():
        # a bias before a BatchNorm has the gradient 0, of which rounding is left
        scale = max(np.linalg.norm(theirs), 1e-6 * largest)
        error = np.linalg.norm(after[key] - before[key] - theirs) / scale
        assert error <= 1e-6, f"{key}: {error:.1e}"
