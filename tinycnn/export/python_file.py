"""A network as one Python file that needs NumPy alone: weights, layers and a reader of pictures.

`python_program.py` is that file for no network at all.  The parts between its marks ("# <network>"
to "# </network>") are replaced here.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .. import layers
from ..formats.agreement import (
    ExportError,
    check_agreement,
    check_images,
    check_probabilities,
    exportable,
)
from ..ground.atomic_file import write_atomically
from ..ground.package_files import package_text
from ..layers import Layer, entry_for
from ..network import Network
from ..plan import NETWORK_INPUT, Step

LINE_LENGTH = 100
TIMEOUT_S = 120

_ASK = """
import sys
import numpy as np
sys.path.insert(0, ".")
import program
images = np.load("images.npy", allow_pickle=False)
np.savez("answers.npz", logits=program.logits(images), probs=program.predict(images))
"""


def write(network: Network, path: str | os.PathLike) -> None:
    """Write `network` to `path` as one Python program, after a run that compares its logits.

    MicroExpNet takes about 365 kB.  Weights are float32.  Raises, before anything is written:
    UnknownLayerError for a layer that CALLS does not have, ValueError for weights that are not
    finite, ExportError where the program disagrees with the network.  OSError where it cannot be
    written.
    """
    source = source_of(network, Path(path).stem)
    images = check_images(network)
    logits, probs = _run(source, images)
    check_agreement(str(path), logits, network.predict_logits(images))
    check_probabilities(str(path), probs, logits, network.calibration_temperature)
    write_atomically(path, source)


def source_of(network: Network, name: str = "microexpnet") -> str:
    """The program's text, not yet checked.  name: of its file, for the help text in it."""
    template = package_text(__package__, "python_program.py")
    # the name first: class names may contain the word too
    return _filled(template.replace("PROGRAM", re.sub(r"\W", "_", name)), parts_of(network))


def parts_of(network: Network) -> dict[str, str]:
    """What a program has of its network: the text between each pair of marks of the template."""
    network = exportable(network)
    spec = network.input_spec
    parameters = {key: np.asarray(p, "<f4") for key, p in network.parameters.items()}
    constants = [
        f"CLASSES = {_tuple_of(network.classes)}",
        f"FRAMING = {_quoted(spec.framing)}",
        f"HEIGHT_PX, WIDTH_PX, CHANNELS = {spec.height_px}, {spec.width_px}, {spec.channels}",
        f"SCALING = {_quoted(spec.scaling)}",
        f"MEAN, STD = {spec.mean}, {spec.std}",
        f"CALIBRATION_TEMPERATURE = {network.calibration_temperature!r}",
        "SHAPES = {",
        *(f'    "{key}": {p.shape},' for key, p in parameters.items()),
        "}",
    ]
    packed = base64.b64encode(b"".join(p.tobytes() for p in parameters.values())).decode("ascii")
    lines = [packed[k : k + LINE_LENGTH] for k in range(0, len(packed), LINE_LENGTH)]
    return {
        "constants": "\n".join(constants),
        "network": _network_function(network),
        "weights": "\n".join(['WEIGHTS = """', *lines, '"""']),
    }


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with each part put in place of its marks and the text between them."""
    for mark, part in parts.items():
        before, rest = template.split(f"# <{mark}>\n")
        template = before + part + rest.split(f"# </{mark}>")[1]
    return template


def _tuple_of(names: tuple[str, ...]) -> str:
    return "(\n" + "".join(f"    {_quoted(name)},\n" for name in names) + ")"


def _quoted(text: str | None) -> str:
    """A Python literal in ASCII, with double quotes where that is possible."""
    written = ascii(text)
    return f'"{written[1:-1]}"' if text is not None and '"' not in written else written


def _network_function(network: Network) -> str:
    """The function that runs the layers.  `x` is the newest value; values that are needed again
    later have the names of their steps."""
    steps = network.plan.steps
    again = {
        source
        for k, step in enumerate(steps)
        for source in step.inputs
        if source != k - 1 or len(step.inputs) > 1
    }
    variables = {NETWORK_INPUT: "network_input"}
    variables |= {k: step.name.replace(".", "_") for k, step in enumerate(steps)}
    lines = [
        "def network(x):",
        '    """Layer by layer from scaled images (N, H, W, C) to logits (N, K)."""',
        "    t = TENSORS",
    ]
    if NETWORK_INPUT in again:
        lines.append(f"    {variables[NETWORK_INPUT]} = x")
    for k, step in enumerate(steps):
        call = entry_for(step.layer, CALLS, "tinycnn.export.python_file.CALLS")(step)
        for name, source in zip(("x", "x2"), step.inputs):
            if source != k - 1 or len(step.inputs) > 1:
                lines.append(f"    {name} = {variables[source]}")
        if call is not None:
            shape = ", ".join(map(str, ("N", *step.output_shape)))
            lines += [f"    # -> ({shape})", f"    x = {call}"]
        if k in again:
            lines.append(f"    {variables[k]} = x")
    return "\n".join([*lines, "    return x"])


def _relu(step: Step) -> str:
    assert isinstance(step.layer, layers.ReLU)
    most = step.layer.max_value
    return "relu(x)" if most is None else f"relu(x, max_value={most!r})"


def _leaky_relu(step: Step) -> str:
    assert isinstance(step.layer, layers.LeakyReLU)
    return f"leaky_relu(x, {step.layer.negative_slope!r})"


CALLS: dict[type[Layer], Callable[[Step], str | None]] = {
    layers.Conv2D: lambda step: f"conv2d(x, {_parameters(step)}, {_window(step)})",
    layers.DepthwiseConv2D: lambda step: (
        f"depthwise_conv2d(x, {_parameters(step)}, {_window(step)})"
    ),
    layers.MaxPool2D: lambda step: f"max_pool(x, size={tuple(step.window[:2])}, {_window(step)})",
    layers.AveragePool2D: lambda step: (
        f"average_pool(x, size={tuple(step.window[:2])}, {_window(step)}, "
        f"count_padding={step.counts_padding})"
    ),
    layers.GlobalAveragePool2D: lambda step: "global_average_pool(x)",
    layers.ReLU: _relu,
    layers.LeakyReLU: _leaky_relu,
    layers.PReLU: lambda step: f'leaky_relu(x, t["{step.name}.alpha"])',
    layers.Sigmoid: lambda step: "sigmoid(x)",
    layers.Tanh: lambda step: "np.tanh(x)",
    layers.Flatten: lambda step: "flatten(x)",
    layers.Dense: lambda step: f"dense(x, {_parameters(step)})",
    **dict.fromkeys(
        (layers.Dropout, layers.SpatialDropout2D), lambda step: None
    ),  # nothing in prediction
    layers.ScaleShift: lambda step: f't["{step.name}.scale"] * x + t["{step.name}.shift"]',
    layers.Add: lambda step: "x + x2",
}
"""Layer class -> a function of a layer's step of the plan: the Python expression that makes the
layer's output of its input `x` (an Add also has `x2`); None where the two are the same.
BatchNorm has no entry: networks are exported folded.

The expression may use the functions of python_program.py, np, and the parameters t["NAME.w"].
"""


def _parameters(step: Step) -> str:
    has_bias = not step.layer.unused_bias_shape(step.input_shape)
    b = f't["{step.name}.b"]' if has_bias else "0"
    return f't["{step.name}.w"], {b}'


def _window(step: Step) -> str:
    _, _, SH, SW, PT, PL, PB, PR = step.window
    return f"stride={(SH, SW)}, padding={((PT, PB), (PL, PR))}"


def _run(source: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(logits, probabilities) that the program computes in a new Python process."""
    if getattr(sys, "frozen", False):  # there, sys.executable is the frozen program
        raise ExportError(
            "there is no Python in a frozen program: export with an installed tinycnn"
        )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(source, encoding="utf-8")
        np.save(Path(folder, "images.npy"), images)
        command = [sys.executable, "-c", _ASK]
        try:
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_S,
            )
            with np.load(Path(folder, "answers.npz"), allow_pickle=False) as answers:
                return answers["logits"], answers["probs"]
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip() or "no message").splitlines()[-1]
            raise ExportError(f"the program does not run: {last}") from None
        except subprocess.TimeoutExpired:
            raise ExportError(f"the program was still running after {TIMEOUT_S} s") from None
