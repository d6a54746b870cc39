"""A network as one C99 file and its header: no dependency, static memory, no allocation.

`c_program.c` holds the functions of all operations, in sections.  The program gets the sections
that it needs, the weights, arrays for the values between layers, and the calls in their order.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formats.agreement import check_agreement, check_images, expected_probs, exportable
from ..ground.atomic_file import write_atomically
from ..ground.package_files import package_text
from ..layers import Shape
from ..network import Network
from . import c_compiler
from .c_memory import Call, Memory
from .c_operations import c_name, exact_hex

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
    writer = _Writer(exportable(network), name)
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
        check_agreement(
            str(written.source), probs, expected_probs(network, images), "probabilities"
        )
    write_atomically(written.header, header)
    write_atomically(written.source, source)
    return written


class _Writer:
    """The parts of the C program, collected in one walk over the network's calls.

    network  without BatchNorm
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name
        spec = network.input_spec
        mean, std = spec.normalization()
        scale = "channels" if mean.size else spec.scaling
        self.sections = {"head", f"scale_{scale}", "exponential"}
        self.own_sources: dict[str, None] = {}  # in their order
        self.calls = ["scale(image, &input);"]
        self.weights: list[str] = []
        self.n_constant_bytes = 0
        if mean.size:
            largest = 255 if spec.scaling == "unit" else 1
            self._doubles("input_shift", mean * largest)
            self._doubles("input_factor", 1 / (std * largest))
            self.calls = ["scale(image, input_shift, input_factor, &input);"]
        self.memory = Memory(network.plan)
        for call in self.memory.calls:
            if isinstance(call, Call):
                self._call(call)
            else:
                self._copy(*call)
        self.calls.append(f"for (int k = 0; k < {len(network.classes)}; k++)")
        self.calls.append(f"    logits[k] = {self.memory.output}.at[k];")
        self.n_static_bytes = 4 * sum(b.n_values for b in self.memory.buffers.values())

    def _call(self, call: Call) -> None:
        """Add a layer: its function, its parameters, its call."""
        step, operation, name = call.step, call.operation, c_name(call.step)
        self.sections.add(operation.section)
        self.own_sources[operation.source] = None
        for short in step.layer.parameter_shapes(step.input_shape):
            values = self.network.parameters[f"{step.name}.{short}"]
            self._parameter(f"{name}_{short}", operation.arranged(short, values))
        if unused := step.layer.unused_bias_shape(step.input_shape):
            self._parameter(f"{name}_b", np.zeros(unused))
        if not operation.in_place:
            shapes = f"{_shown(step.input_shape)} -> {_shown(step.output_shape)}"
            then = ", then ReLU" if call.relu else ""
            self.calls.append(f"/* {step.name}: {shapes}{operation.comment(step)}{then} */")
        if call.copied is not None:
            self._copy(call.copied, call.inputs[0])
        self.calls.append(operation.call(step, ", &".join(call.inputs), int(call.relu)))

    def _copy(self, given: str, copied: str) -> None:
        self.sections.add("copy")
        self.calls.append(f"copy(&{given}, &{copied});")

    def _doubles(self, name: str, values: np.ndarray) -> None:
        numbers = ", ".join(exact_hex(value) for value in values.tolist())
        self.weights.append(f"static const double {name}[{values.size}] = {{{numbers}}};")
        self.n_constant_bytes += values.nbytes

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
        template = package_text(__package__, "c_program.c")
        parts = re.split(r"^/\* @@ (\w+) \*/\n", template, flags=re.MULTILINE)[1:]
        sections = dict(zip(parts[::2], parts[1::2]))
        used = [text for section, text in sections.items() if section in self.sections]
        used += self.own_sources
        name, NAME = self.name, self.name.upper()
        classes = ",\n".join(f"    {_c_text(label)}" for label in self.network.classes)
        calls = "\n".join(f"    {call}" for call in self.calls)
        temperature = float(self.network.calibration_temperature).hex()
        body = "".join(used).replace("@NAME@", NAME).replace("@name@", name).rstrip()
        buffers = [buffer.declared() for buffer in self.memory.buffers.values()]
        declared = "\n".join([*buffers, *self.memory.views])
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


def _shown(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _numbers(values: np.ndarray) -> str:
    """Hexadecimal C numbers, which are exact, six on a line."""
    texts = [f"{exact_hex(value)}F," for value in values.ravel().tolist()]
    return "\n".join("    " + " ".join(texts[k : k + 6]) for k in range(0, len(texts), 6))


def _c_text(text: str) -> str:
    """A C string.  Unusual bytes are written as three octal digits: unlike hexadecimal ones, these
    cannot run on into the letter that follows."""
    plain = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b" -_.,:()+" else f"\\{byte:03o}"
        for byte in text.encode("utf-8")
    )
    return f'"{plain}"'
