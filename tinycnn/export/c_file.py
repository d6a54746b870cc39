"""A network as one C99 file and its header: no dependency, static memory, no allocation.

`c_program.c` holds the functions of all operations, in sections.  The program gets the sections
that it needs, the weights, arrays for the values between layers, and the calls in their order.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formats.agreement import (
    ExportError,
    check_agreement,
    check_probabilities,
    exportable,
    images_of_shape,
)
from ..ground.atomic_file import write_atomically
from ..ground.output_files import refuse_files_of_others
from ..network import Network
from ..quantized.network import QuantizedNetwork
from . import c_compiler
from .c_layouts import LAYOUTS, NAME, drawn_images, files_of
from .c_memory import Call, Memory
from .c_operations import c_name, exact_hex
from .c_quantized import IntegerOnlyWriter, QuantizedWriter
from .c_source import CSource, hexadecimal, shown

logger = logging.getLogger("tinycnn")

PADDED_TO = 16
"""As in c_program.c: rows of weights are filled up with zeros to a multiple of this length."""


@dataclass(frozen=True)
class CProgram:
    """What `write` wrote.

    others            further files of a layout
    checked_with      the compiler used for the check; None: there was none, so no check
    n_static_bytes    of memory for the values between layers;  n_constant_bytes: of weights
    """

    source: Path
    header: Path
    checked_with: str | None
    n_static_bytes: int
    n_constant_bytes: int
    others: tuple[Path, ...] = ()


def write(
    network: Network | QuantizedNetwork,
    path: str | os.PathLike,
    name: str | None = None,
    *,
    integer_only: bool = False,
    layout: str = "files",
) -> CProgram:
    """Write `network` as NAME.c and NAME.h, after a run that compares its logits.  The program of a
    QuantizedNetwork computes with the same integers, so its logits are the same bits.

    path   a folder, or the .c file
    name   of the files and the beginning of all C names; by default the stem of the .c file, or
           "microexpnet" in a folder
    integer_only  of a QuantizedNetwork: a program without floats, whose logits are those of
           `QuantizedNetwork.predict_integer_logits`
    layout  "cmake" or "arduino": `path` is a folder, which becomes a library with an example, the
           two files in its folder src
    Without a C compiler ($CC, cc, gcc or clang) the program is written unchecked, with a warning in
    the log and in the result.  Weights are float32.  Raises, before anything is written:
    UnknownLayerError for a layer that OPERATIONS does not have, ValueError for a name that C does
    not allow, for weights that are not finite and for a network that has no form in integers alone,
    TypeError for integer_only with a network in floats, ExportError where the program does not
    compile or disagrees with the network, FileExistsError for a header of that name that tinycnn
    has not written.  OSError: it cannot be written.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".c" else path
    if name is None:
        name = path.stem if path.suffix == ".c" else "microexpnet"
    if not NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}; expected letters, digits and _, as names in C have")
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if layout != "files" and path.suffix == ".c":
        raise ValueError(f"path is {os.fspath(path)!r}; layout {layout!r} needs a folder")
    src = folder if layout == "files" else folder / "src"
    others = files_of(layout, name, np.zeros(1, np.float32))
    refuse_files_of_others([src / f"{name}.h", *(folder / other for other in others)])
    writer: CSource
    if isinstance(network, QuantizedNetwork):
        writer = (IntegerOnlyWriter if integer_only else QuantizedWriter)(network, name)
    elif integer_only:
        raise TypeError("integer_only needs a network in 8-bit integers: network.quantized(images)")
    else:
        writer = Writer(exportable(network), name)
    source, header = writer.source(), writer.header()
    written = CProgram(
        src / f"{name}.c",
        src / f"{name}.h",
        c_compiler.compiler(),
        writer.n_static_bytes,
        writer.n_constant_bytes,
        tuple(folder / other for other in others),
    )
    if written.checked_with is None:
        logger.warning("%s: no C compiler ($CC, cc, gcc, clang): the program is not checked", path)
    else:
        _check(written, network, name, (source, header), integer_only)
    if others:
        images = drawn_images(1, network.input_spec.shape)
        others = files_of(layout, name, _logits(network, images, integer_only)[0])
    for file, text in (
        (written.header, header),
        (written.source, source),
        *zip(written.others, others.values()),
    ):
        if layout != "files":
            file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text)
    return written


def _check(
    written: CProgram,
    network: Network | QuantizedNetwork,
    name: str,
    texts: tuple[str, str],
    integer_only: bool,
) -> None:
    """Run the program, given as source and header; raise ExportError unless its answers are those
    of the network."""
    assert written.checked_with is not None
    images, path = images_of_shape(network.input_spec.shape), str(written.source)
    logits, probs = c_compiler.run(
        written.checked_with, network, name, *texts, images, integer_only
    )
    expected = _logits(network, images, integer_only)
    if isinstance(network, QuantizedNetwork):
        if not np.array_equal(logits, expected):
            reason = (
                "" if integer_only else ("; is the compiler told to round otherwise (-ffast-math)?")
            )
            raise ExportError(
                f"{path}: its integers are not the network's{reason}  Nothing was written"
            )
    else:
        check_agreement(path, logits, expected)
    if not integer_only:
        check_probabilities(path, probs, logits, network.calibration_temperature)


def _logits(
    network: Network | QuantizedNetwork, images: np.ndarray, integer_only: bool
) -> np.ndarray:
    """What the program should compute."""
    if integer_only:
        assert isinstance(network, QuantizedNetwork)
        return network.predict_integer_logits(images).values
    return network.predict_logits(images)


class Writer(CSource):
    """The parts of the C program, collected in one walk over the network's calls.

    network  without BatchNorm
    """

    def __init__(self, network: Network, name: str) -> None:
        described = f"a network of {network.n_parameters:,} parameters"
        spec = network.input_spec
        super().__init__(name, described, spec, network.calibration_temperature)
        self.network = network
        mean, std = spec.normalization()
        scale = "channels" if mean.size else spec.scaling
        self.sections |= {"head", f"scale_{scale}"}
        if scale == "standardized":
            self.sections.add("square_root")
        self.calls = ["scale(image, &input);"]
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
        self.declared = [buffer.declared() for buffer in self.memory.buffers.values()]
        self.declared += [view.declared() for view in self.memory.views]
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
            shapes = f"{shown(step.input_shape)} -> {shown(step.output_shape)}"
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
        filled = filled_rows(p)
        declared = f"static const float {name}[{filled.size}] TINYCNN_FLASH"
        self.weights.append(
            f"/* {shown(p.shape)}, rows of {filled.shape[1]} */\n"
            f"{declared} = {{\n{hexadecimal(filled)}\n}};"
        )
        self.n_constant_bytes += filled.nbytes


def filled_rows(values: np.ndarray) -> np.ndarray:
    """A parameter as the functions of c_program.c read it: float32 (rows, columns), its last axis
    along the columns, filled up with zeros to a multiple of PADDED_TO."""
    rows = np.asarray(values, np.float32).reshape(-1, values.shape[-1])
    filled = np.zeros((len(rows), -(-rows.shape[1] // PADDED_TO) * PADDED_TO), np.float32)
    filled[:, : rows.shape[1]] = rows
    return filled
