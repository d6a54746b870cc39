"""The frame of an exported C program: its header, and its source around the calls."""

from __future__ import annotations

import re

import numpy as np

from ..ground.package_files import package_text
from ..input_spec import InputSpec
from ..layers import Shape
from .c_operations import exact_hex


def sections_of(file_name: str) -> dict[str, str]:
    """The sections of a file of this folder with C functions, by their names."""
    template = package_text(__package__, file_name)
    parts = re.split(r"^/\* @@ (\w+) \*/\n", template, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


class CSource:
    """The parts of a C program, and how they become its two files.

    described, advice            for the comment at the top: what the network is, how to compile it
    about_values, about_weights  headings of their parts of the source
    sections     the functions that are used, names of sections of c_program.c
    own_sources  further functions, in their order
    declared     the arrays for the values between layers;  weights: the constants
    calls        the statements that compute the logits
    macros       further macros of the header: name without the program's -> value
    """

    about_values = "the output of each layer, with the zeros around it that the next layer reads"
    about_weights = "the weights: rows are filled up with zeros"
    advice = "Compile it with -O3; -march and -ffast-math are not needed."

    def __init__(self, name: str, described: str, spec: InputSpec, temperature: float) -> None:
        self.name, self.described = name, described
        self.input_spec, self.calibration_temperature = spec, temperature
        self.sections = {"exponential"}
        self.own_sources: dict[str, None] = {}
        self.declared: list[str] = []
        self.weights: list[str] = []
        self.calls: list[str] = []
        self.macros: dict[str, str] = {}
        self.n_constant_bytes = self.n_static_bytes = 0

    def _described(self) -> str:
        """The comment at the top of both files."""
        return f"""\
/* {self.name}: {self.described}, written by tinycnn.  C99; needs no library.
 *
 * {self.n_static_bytes:,} bytes of static memory and {self.n_constant_bytes:,} bytes of constants;
 * nothing is allocated.  Because of the static memory, only one thread at a time may call it.  An
 * int must have 32 bits or more.  {self.advice} */
"""

    def header(self) -> str:
        spec, NAME = self.input_spec, self.name.upper()
        framing = c_text(spec.framing) if spec.framing is not None else "0"
        macros = "".join(f"#define {NAME}_{key} {value}\n" for key, value in self.macros.items())
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
#define {NAME}_N_CLASSES {len(self.input_spec.classes)}
#define {NAME}_FRAMING {framing} /* how a face is cut from its photo */
{macros}
/* Names of the classes, UTF-8, in the order of the logits. */
extern const char *const {self.name}_classes[{NAME}_N_CLASSES];

{self._declarations()}
#ifdef __cplusplus
}}
#endif

#endif
"""

    def source(self) -> str:
        sections = sections_of("c_program.c")
        used = [text for section, text in sections.items() if section in self.sections]
        used += self.own_sources
        name, NAME = self.name, self.name.upper()
        classes = ",\n".join(f"    {c_text(label)}" for label in self.input_spec.classes)
        body = "".join(used).replace("@NAME@", NAME).replace("@name@", name).rstrip()
        declared = "\n".join(self.declared)
        weights = "\n\n".join(self.weights)
        return f"""\
{self._described()}
#include "{name}.h"

{body}

const char *const {name}_classes[{NAME}_N_CLASSES] = {{
{classes}
}};

/* ---- {self.about_values} ---- */

{declared}

/* ---- {self.about_weights} ---- */

/* An attribute of these arrays, such as __attribute__((section(".weights"))), can be given here. */
#ifndef TINYCNN_FLASH
#define TINYCNN_FLASH
#endif

{weights}

/* ---- the network, layer by layer ---- */

{self._definitions()}"""

    def _declarations(self) -> str:
        """What the header says of the functions."""
        return f"""\
/* image: pixels 0..255, row by row, {shown(self.input_spec.shape)} bytes.
 * logits: {self.name.upper()}_N_CLASSES numbers; the larger, the likelier its class. */
void {self.name}_logits(const uint8_t *image, float *logits);

/* The same as probabilities, which add up to 1. */
void {self.name}_probabilities(const uint8_t *image, float *probabilities);
"""

    def _definitions(self) -> str:
        """The functions that the header declares."""
        name, n_classes = self.name, f"{self.name.upper()}_N_CLASSES"
        calls = "\n".join(f"    {call}" for call in self.calls)
        temperature = float(self.calibration_temperature).hex()
        return f"""\
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
    for (int k = 1; k < {n_classes}; k++)
        largest = probabilities[k] > largest ? probabilities[k] : largest;
    for (int k = 0; k < {n_classes}; k++)
        sum += exponential(((double)probabilities[k] - (double)largest) / temperature);
    for (int k = 0; k < {n_classes}; k++)
        probabilities[k] = (float)(
            exponential(((double)probabilities[k] - (double)largest) / temperature) / sum);
}}
"""


def shown(shape: Shape) -> str:
    return "x".join(map(str, shape))


def hexadecimal(values: np.ndarray) -> str:
    """Hexadecimal C numbers, which are exact, six on a line."""
    texts = [f"{exact_hex(value)}F," for value in values.ravel().tolist()]
    return "\n".join("    " + " ".join(texts[k : k + 6]) for k in range(0, len(texts), 6))


def c_text(text: str) -> str:
    """A C string.  Unusual bytes are written as three octal digits: unlike hexadecimal ones, these
    cannot run on into the letter that follows.  Raises ValueError for NUL, which ends it, and for
    half of a letter, which UTF-8 does not have."""
    if "\0" in text:
        raise ValueError(f"{text!r} holds NUL, with which a text in C ends: expected another name")
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"{text!r} holds half of a letter (a surrogate), which UTF-8 cannot write: expected "
            "another name"
        ) from None
    plain = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b" -_.,:()+" else f"\\{byte:03o}"
        for byte in content
    )
    return f'"{plain}"'
