"""A network as one C99 file and its header: no dependency, static memory, no allocation.

`c_program.c` holds the functions of all operations, in sections.  The program gets the sections
that it needs, the weights, arrays for the values between layers, and the calls in their order.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formats.agreement import check_agreement, check_exportable, check_images
from ..ground.atomic_file import write_atomically
from ..layers import (
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Shape,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
    entry_for,
)
from ..network import Network
from ..plan import Step
from . import c_compiler

logger = logging.getLogger("tinycnn")

PADDED_TO = 16
"""As in c_program.c: rows of weights are filled up with zeros to a multiple of this length."""


@dataclass(frozen=True)
class CProgram:
    """What `write` wrote.

    checked_with      the compiler used for the check; None: there was none, so no check
    n_static_bytes    of memory for the values between layers;  n_constant_bytes: of weights
    """

    source: Path
    header: Path
    checked_with: str | None
    n_static_bytes: int
    n_constant_bytes: int


def write(network: Network, path: str | os.PathLike, name: str | None = None) -> CProgram:
    """Write `network` as NAME.c and NAME.h, after a run that compares its logits.

    path   a folder, or the .c file
    name   of the files and the beginning of all C names; by default the stem of the .c file, or
           "microexpnet" in a folder
    Without a C compiler ($CC, cc, gcc or clang) the program is written unchecked, with a warning in
    the log and in the result.  Weights are float32.  Raises, before anything is written:
    UnknownLayerError for a layer that OPERATIONS does not have, ValueError for a name that C does
    not allow and for weights that are not finite, ExportError where the program does not compile or
    disagrees with the network.  OSError: it cannot be written.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".c" else path
    if name is None:
        name = path.stem if path.suffix == ".c" else "microexpnet"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name is {name!r}; expected letters, digits and _, as names in C have")
    check_exportable(network)
    writer = _Writer(network, name)
    source, header = writer.source(), writer.header()
    written = CProgram(
        folder / f"{name}.c",
        folder / f"{name}.h",
        c_compiler.compiler(),
        writer.n_static_bytes,
        writer.n_constant_bytes,
    )
    if written.checked_with is None:
        logger.warning("%s: no C compiler ($CC, cc, gcc, clang): the program is not checked", path)
    else:
        images = check_images(network)
        logits, probs = c_compiler.run(written.checked_with, network, name, source, header, images)
        check_agreement(str(written.source), logits, network.predict_logits(images))
        check_agreement(str(written.source), probs, network.predict_proba(images), "probabilities")
    write_atomically(written.header, header)
    write_atomically(written.source, source)
    return written


@dataclass(frozen=True)
class _Buffer:
    """The C array for the values between two layers: height x width pixels.

    The picture begins after `above` rows and `left` columns.  The zeros around it are those that
    the next layer's window reads.  A vector is a picture of 1x1xunits.
    """

    name: str
    shape: Shape
    above: int
    left: int
    height: int
    width: int

    @property
    def n_values(self) -> int:
        return self.height * self.width * self.shape[2]

    def declared(self) -> str:
        H, W, C = self.shape
        start = (self.above * self.width + self.left) * C
        values = f"{self.name}_values"
        at = f"{values} + {start}" if start else values
        return (
            f"static float {values}[{self.n_values}];\n"
            f"static const picture {self.name} = {{{at}, {self.width * C}, {H}, {W}, {C}}};"
        )


# ---- the layers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class COperation:
    """How one kind of layer is written in C: as a call of a C function.

    call          makes the call from the layer's step of the plan, the name of the input picture,
                  and 1 where a ReLU without a largest value follows, else 0.  C names: the output
                  STEP, parameters STEP_w
    section       of c_program.c, which holds the function
    source        the C text of the function, for a kind of layer that c_program.c does not have
    in_place      whether the function overwrites its input; else it writes to a picture of its own
    applies_relu  whether the function does such a ReLU, too
    arranged      makes, of a parameter's short name and values, the rows that the function reads
    border        (above, left, height, width) of the input's _Buffer with the zeros that the
                  function reads; None: it reads none
    comment       what the comment above the call says after the shapes
    """

    call: Callable[[Step, str, int], str]
    section: str = ""
    source: str = ""
    in_place: bool = False
    applies_relu: bool = False
    arranged: Callable[[str, np.ndarray], np.ndarray] = lambda short, values: values
    border: Callable[[Step], tuple[int, int, int, int]] | None = None
    comment: Callable[[Step], str] = lambda step: ""


def _window_comment(step: Step) -> str:
    KH, KW, SH, SW, PT, PL, _, _ = step.window
    stride = f"{SH}" if SH == SW else f"{SH}x{SW}"
    return f", {KH}x{KW}, stride {stride}, padding above {PT}, left {PL}"


def _window(step: Step) -> str:
    """The arguments KH, KW, SH, SW, PT, PL."""
    return ", ".join(map(str, step.window[:6]))


def _convolution(function: str) -> Callable[[Step, str, int], str]:
    def call(step: Step, given: str, relu: int) -> str:
        parameters = f"{step.name}_w, {step.name}_b"
        return f"{function}(&{given}, {parameters}, {_window(step)}, {relu}, &{step.name});"

    return call


def _conv2d_border(step: Step) -> tuple[int, int, int, int]:
    KH, KW, SH, SW, PT, PL, _, _ = step.window
    (H, W, _), (OH, OW, _) = step.input_shape, step.output_shape
    return PT, PL, max((OH - 1) * SH + KH, PT + H), max((OW - 1) * SW + KW, PL + W)


def _max_pool(step: Step, given: str, relu: int) -> str:
    return f"max_pool(&{given}, {_window(step)}, &{step.name});"


def _average_pool(step: Step, given: str, relu: int) -> str:
    return f"average_pool(&{given}, {_window(step)}, {int(step.counts_padding)}, &{step.name});"


def _depthwise_rows(short: str, values: np.ndarray) -> np.ndarray:
    """w (KH, KW, C, D) as (KH, KW, C * D)."""
    return values.reshape(*values.shape[:2], -1) if short == "w" else values


def _dense(step: Step, given: str, relu: int) -> str:
    return f"dense(&{given}, {step.name}_w, {step.name}_b, {relu}, &{step.name});"


def _relu(step: Step, given: str, relu: int) -> str:
    assert isinstance(step.layer, ReLU)
    most = step.layer.max_value
    return f"relu(&{given}, {_c_float(np.finfo(np.float32).max if most is None else most)});"


def _leaky_relu(step: Step, given: str, relu: int) -> str:
    assert isinstance(step.layer, LeakyReLU)
    return f"leaky_relu(&{given}, {_c_float(step.layer.negative_slope)});"


def _applied(function: str) -> COperation:
    """A function of the input alone, in place; its section has its name."""
    return COperation(lambda step, given, relu: f"{function}(&{given});", function, in_place=True)


OPERATIONS: dict[type[Layer], COperation | None] = {
    Conv2D: COperation(
        _convolution("conv2d"),
        "conv2d",
        applies_relu=True,
        border=_conv2d_border,
        comment=_window_comment,
    ),
    DepthwiseConv2D: COperation(
        _convolution("depthwise_conv2d"),
        "depthwise_conv2d",
        applies_relu=True,
        arranged=_depthwise_rows,
        comment=_window_comment,
    ),
    MaxPool2D: COperation(_max_pool, "max_pool", comment=_window_comment),
    AveragePool2D: COperation(_average_pool, "average_pool", comment=_window_comment),
    GlobalAveragePool2D: COperation(_average_pool, "average_pool"),
    ReLU: COperation(_relu, "relu", in_place=True),
    LeakyReLU: COperation(_leaky_relu, "leaky_relu", in_place=True),
    PReLU: COperation(
        lambda step, given, relu: f"prelu(&{given}, {step.name}_alpha);", "prelu", in_place=True
    ),
    Sigmoid: _applied("sigmoid"),
    Tanh: _applied("hyperbolic_tangent"),
    Flatten: None,  # pictures already lie in memory in the order H, W, C
    Dense: COperation(_dense, "dense", applies_relu=True),
    **dict.fromkeys((Dropout, SpatialDropout2D), None),  # outside training they do nothing
}
"""Layer class -> how it is written in C; None: the layer changes no value and needs no call."""


# ---- the program -----------------------------------------------------------------------------


class _Writer:
    """The parts of the C program, collected in one walk over the network's layers."""

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name
        spec = network.input_spec
        self.sections = {"head", f"scale_{spec.scaling}", "exponential"}
        self.own_sources: dict[str, None] = {}  # in their order
        self.buffers: list[_Buffer] = []
        self.calls: list[str] = []
        self.weights: list[str] = []
        self.n_constant_bytes = 0
        entries = [
            (step, entry_for(step.layer, OPERATIONS, "tinycnn.export.c_file.OPERATIONS"))
            for step in network.plan.steps
        ]
        operations = [(step, entry) for step, entry in entries if entry is not None]
        self._buffer("input", spec.shape, operations)
        self.calls.append("scale(image, &input);")
        relu_done = False
        for k, (step, operation) in enumerate(operations):
            is_relu = _is_plain_relu(step.layer)
            if not (is_relu and relu_done):
                self._operation(step, operation, operations[k + 1 :])
            relu_done = operation.applies_relu or (is_relu and relu_done)
        self.calls.append(f"for (int k = 0; k < {len(network.classes)}; k++)")
        self.calls.append(f"    logits[k] = {self.buffers[-1].name}.at[k];")
        self.n_static_bytes = 4 * sum(buffer.n_values for buffer in self.buffers)

    def _buffer(self, name: str, shape: Shape, later: Sequence[tuple[Step, COperation]]) -> None:
        """Add a buffer with the zeros that the next operation with an output of its own reads."""
        H, W, C = shape if len(shape) == 3 else (1, 1, shape[0])
        above, left, height, width = 0, 0, H, W
        reader = next(((step, entry) for step, entry in later if not entry.in_place), None)
        if reader is not None and reader[1].border is not None:
            above, left, height, width = reader[1].border(reader[0])
        self.buffers.append(_Buffer(name, (H, W, C), above, left, height, width))

    def _operation(
        self, step: Step, operation: COperation, later: Sequence[tuple[Step, COperation]]
    ) -> None:
        """Add a layer: its function, its parameters, the buffer of its output, its call."""
        given = self.buffers[-1].name
        self.sections.add(operation.section)
        self.own_sources[operation.source] = None
        for short in step.layer.parameter_shapes(step.input_shape):
            values = self.network.parameters[f"{step.name}.{short}"]
            self._parameter(f"{step.name}_{short}", operation.arranged(short, values))
        if unused := step.layer.unused_bias_shape(step.input_shape):
            self._parameter(f"{step.name}_b", np.zeros(unused))
        relu = bool(later) and _is_plain_relu(later[0][0].layer)
        if not operation.in_place:
            self._buffer(step.name, step.output_shape, later)
            shapes = f"{_shown(step.input_shape)} -> {_shown(step.output_shape)}"
            then = ", then ReLU" if relu else ""
            self.calls.append(f"/* {step.name}: {shapes}{operation.comment(step)}{then} */")
        self.calls.append(operation.call(step, given, int(relu)))

    def _parameter(self, name: str, values: np.ndarray) -> None:
        p = np.asarray(values, np.float32)
        rows = p.reshape(-1, p.shape[-1])
        filled = np.zeros((len(rows), -(-rows.shape[1] // PADDED_TO) * PADDED_TO), np.float32)
        filled[:, : rows.shape[1]] = rows
        self.weights.append(
            f"/* {_shown(p.shape)}, rows of {filled.shape[1]} */\n"
            f"static const float {name}[{filled.size}] = {{\n{_numbers(filled)}\n}};"
        )
        self.n_constant_bytes += filled.nbytes

    def _described(self) -> str:
        """The comment at the top of both files."""
        n_parameters = f"{self.network.n_parameters:,}"
        return f"""\
/* {self.name}: a network of {n_parameters} parameters, written by tinycnn.  C99; needs no library.
 *
 * {self.n_static_bytes:,} bytes of static memory and {self.n_constant_bytes:,} bytes of constants;
 * nothing is allocated.  Because of the static memory, only one thread at a time may call it.  An
 * int must have 32 bits or more.  Compile it with -O3; -march and -ffast-math are not needed. */
"""

    def header(self) -> str:
        spec, NAME = self.network.input_spec, self.name.upper()
        framing = _c_text(spec.framing) if spec.framing is not None else "0"
        return f"""\
{self._described()}
#ifndef {NAME}_H
#define {NAME}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {NAME}_HEIGHT_PX {spec.height_px}
#define {NAME}_WIDTH_PX {spec.width_px}
#define {NAME}_CHANNELS {spec.channels}
#define {NAME}_N_CLASSES {len(self.network.classes)}
#define {NAME}_FRAMING {framing} /* how a face is cut from its photo */

/* Names of the classes, UTF-8, in the order of the logits. */
extern const char *const {self.name}_classes[{NAME}_N_CLASSES];

/* image: pixels 0..255, row by row, {_shown(spec.shape)} bytes.
 * logits: {NAME}_N_CLASSES numbers; the larger, the likelier its class. */
void {self.name}_logits(const uint8_t *image, float *logits);

/* The same as probabilities, which add up to 1. */
void {self.name}_probabilities(const uint8_t *image, float *probabilities);

#ifdef __cplusplus
}}
#endif

#endif
"""

    def source(self) -> str:
        template = Path(__file__).with_name("c_program.c").read_text(encoding="utf-8")
        parts = re.split(r"^/\* @@ (\w+) \*/\n", template, flags=re.MULTILINE)[1:]
        sections = dict(zip(parts[::2], parts[1::2]))
        used = [text for section, text in sections.items() if section in self.sections]
        used += self.own_sources
        name, NAME = self.name, self.name.upper()
        classes = ",\n".join(f"    {_c_text(label)}" for label in self.network.classes)
        calls = "\n".join(f"    {call}" for call in self.calls)
        temperature = float(self.network.calibration_temperature).hex()
        body = "".join(used).replace("@NAME@", NAME).replace("@name@", name).rstrip()
        declared = "\n".join(buffer.declared() for buffer in self.buffers)
        weights = "\n\n".join(self.weights)
        return f"""\
{self._described()}
#include "{name}.h"

{body}

const char *const {name}_classes[{NAME}_N_CLASSES] = {{
{classes}
}};

/* ---- the output of each layer, with the zeros around it that the next layer reads ---- */

{declared}

/* ---- the weights: rows are filled up with zeros ---- */

{weights}

/* ---- the network, layer by layer ---- */

void {name}_logits(const uint8_t *image, float *logits)
{{
{calls}
}}

void {name}_probabilities(const uint8_t *image, float *probabilities)
{{
    const double temperature = {temperature}; /* calibrates the probabilities */
    float largest;
    double sum = 0.0;
    {name}_logits(image, probabilities);
    largest = probabilities[0];
    for (int k = 1; k < {NAME}_N_CLASSES; k++)
        largest = probabilities[k] > largest ? probabilities[k] : largest;
    for (int k = 0; k < {NAME}_N_CLASSES; k++)
        sum += exponential(((double)probabilities[k] - (double)largest) / temperature);
    for (int k = 0; k < {NAME}_N_CLASSES; k++)
        probabilities[k] = (float)(
            exponential(((double)probabilities[k] - (double)largest) / temperature) / sum);
}}
"""


def _is_plain_relu(layer: Layer) -> bool:
    """Whether it is a ReLU without a largest value, which other functions can do too."""
    return type(layer) is ReLU and layer.max_value is None


def _c_float(value: float) -> str:
    """A C number of type float, exact."""
    return f"{_hex(float(np.float32(value)))}F"


def _shown(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _numbers(values: np.ndarray) -> str:
    """Hexadecimal C numbers, which are exact, six on a line."""
    texts = [f"{_hex(value)}F," for value in values.ravel().tolist()]
    return "\n".join("    " + " ".join(texts[k : k + 6]) for k in range(0, len(texts), 6))


def _hex(value: float) -> str:
    """0x1.921fb6p+1: as `float.hex`, without zeros at the end of the mantissa."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def _c_text(text: str) -> str:
    """A C string.  Unusual bytes are written as three octal digits: unlike hexadecimal ones, these
    cannot run on into the letter that follows."""
    plain = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b" -_.,:()+" else f"\\{byte:03o}"
        for byte in text.encode("utf-8")
    )
    return f'"{plain}"'
