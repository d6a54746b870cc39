"""A quantised network as a C program: its functions are in c_quantized.c."""

from __future__ import annotations

import math

import numpy as np

from ..layers import Shape, UnknownLayerError
from ..plan import NETWORK_INPUT
from ..quantized.calibration import pixel_table
from ..quantized.integer_only import (
    Factors,
    check_integer_only,
    logit_scale,
    mean_factors,
    one_over,
    weight_factors,
)
from ..quantized.network import QuantizedNetwork
from ..quantized.program import WITH_WEIGHTS, Operation
from ..quantized.quantization import LARGEST, Quantization, multipliers, sum_factors
from ..quantized.reference_program import window_sums
from .c_operations import c_float, c_name
from .c_quantized_calls import Call, calls_of, places_of
from .c_source import CSource, hexadecimal, sections_of, shown

FILTERS_TOGETHER = 4
"""As in c_quantized.c: sums of so many filters are computed together."""


class QuantizedWriter(CSource):
    """The parts of the program, collected in one walk over its calls.

    Raises UnknownLayerError for an operation in float32, which has no C function.
    """

    integer_only = False
    about_values = "the output of each layer, as long as it is needed"
    about_weights = "the weights, biases, factors and tables"
    advice = "Compile it with -O3, without -ffast-math."

    def __init__(self, network: QuantizedNetwork, name: str) -> None:
        program = network.program
        if in_floats := program.first_in_floats():
            raise UnknownLayerError(
                f"{in_floats}, which the C program of a quantised network cannot do"
            )
        n = sum(o.arrays["w"].size for o in program.operations if o.kind in WITH_WEIGHTS)
        described = f"a network of {n:,} weights in 8 bits"
        super().__init__(name, described, network.input_spec, network.calibration_temperature)
        self.program = program
        self.functions = sections_of("c_quantized.c")
        self.used = {"integers", "fixed_point" if self.integer_only else "floats"}
        self.structures: list[str] = []
        calls = calls_of(program)
        table = pixel_table(network.input_spec, program.input)
        is_image = table is not None and bool((table == np.arange(LARGEST + 1)).all())
        found = places_of(program, calls, is_image)
        self.places, self.n_static_bytes = found.values, found.n_bytes
        self.macros["ARENA_BYTES"] = f"{found.n_bytes} /* static memory of the program */"
        if found.n_bytes:
            self.declared.append(f"static uint8_t arena[{self.name.upper()}_ARENA_BYTES];")
        if not is_image:
            self._load(table)
        for call in calls:
            self._call(call, found.rows.get(call.number, ""))
        self._end(program.operations[-1], self.places[len(program.operations) - 1])
        self.own_sources = {
            text: None for section, text in self.functions.items() if section in self.used
        }

    def _use(self, *sections: str) -> None:
        self.used |= set(sections)

    def _constant(self, kind: str, name: str, values: np.ndarray) -> str:
        """Store an array of C type `kind`; returns its name."""
        if values.dtype == np.float32:
            numbers = hexadecimal(values)
        else:
            texts = [str(value) for value in values.ravel().tolist()]
            rows = [", ".join(texts[k : k + 20]) for k in range(0, len(texts), 20)]
            numbers = "\n".join(f"    {row}," for row in rows)
        self._stored(kind, name, values.size, numbers, values.nbytes)
        return name

    def _factors(self, name: str, factors: np.ndarray | Factors) -> str:
        """Store factors of sums; returns the name of their array."""
        if isinstance(factors, np.ndarray):
            return self._constant("factor", name, factors)
        pairs = list(zip(*(part.ravel().tolist() for part in factors)))
        numbers = "\n".join(f"    {{{M}, {s}}}," for M, s in pairs)
        self._stored("factor", name, len(pairs), numbers, 8 * len(pairs))
        return name

    def _stored(self, kind: str, name: str, n: int, numbers: str, n_bytes: int) -> None:
        self.weights.append(f"static const {kind} {name}[{n}] TINYCNN_FLASH = {{\n{numbers}\n}};")
        self.n_constant_bytes += n_bytes

    def _load(self, table: np.ndarray | None) -> None:
        """The call that makes integers of the image."""
        n, x = math.prod(self.program.plan.input_shape), self.program.input
        place = self.places[NETWORK_INPUT]
        if table is not None:
            self._use("pixel_table")
            name = self._constant("uint8_t", "pixel_table", table)
            self.calls.append(f"load(image, {n}, {len(table)}, {name}, {place});")
        elif self.integer_only:
            self._use("integer_standardized")
            by = self._factors("one_over_scale", one_over(x.scale))
            self.calls.append(f"load(image, {n}, {by}[0], {x.zero_point}, {place});")
        else:
            self.sections.add("square_root")
            self._use("standardized")
            scale = c_float(float(x.scale))
            self.calls.append(f"load(image, {n}, {scale}, {x.zero_point}, {place});")

    def _call(self, call: Call, row: str) -> None:
        operation, pool, step = call.operation, call.pool, call.operation.step
        then = f", then {pool.step.name} -> {shown(pool.shape)}" if pool is not None else ""
        shapes = f"{shown(step.input_shape)} -> {shown(operation.shape)}"
        self.calls.append(f"/* {step.name}: {shapes}{then} */")
        given = [self.places[number] for number in call.inputs]
        place = self.places[call.number]
        if operation.kind not in WITH_WEIGHTS:
            self.calls.append(self._without_weights(operation, given, place))
            return
        name = self._layer(operation)
        function = "depthwise" if operation.kind == "depthwise" else "convolution"
        if operation.output is None:
            self._use("four_sums", "dense_logits")
            self.calls.append(f"dense_logits(&{name}, {given[0]}, {place});")
            return
        self._use(f"{function}_row", *(("four_sums",) if function == "convolution" else ()))
        if pool is None:
            self._use(function)
            self.calls.append(f"{function}(&{name}, {given[0]}, {place});")
            return
        self._use("pooled_row", "rows_max_pool")
        by = f"&{name}, {function}_row, {given[0]}, {row}"
        window, shape = self._window(pool), self._shape(pool.shape)
        self.calls.append(f"rows_max_pool({by}, {window}, {place}, {shape});")

    def _layer(self, operation: Operation) -> str:
        """Store a layer with weights; returns the name of its C structure."""
        step, arrays, x = operation.step, operation.arrays, self._input(operation)
        name = c_name(step)
        self._use("layer")
        w = arrays["w"] if operation.kind == "depthwise" else in_blocks(arrays["w"])
        parts = [
            self._constant("int8_t", f"{name}_w", w),
            self._constant("int32_t", f"{name}_b", arrays["b"]),
        ]
        if self.integer_only:
            factors: np.ndarray | Factors = weight_factors(self.program, operation)
        else:
            factors = multipliers(x, arrays["scale"], operation.output)
        parts.append(self._factors(f"{name}_by", factors))
        window = (1, 1, 1, 1, 0, 0) if operation.kind == "dense" else operation.step.window[:6]
        given = (1, 1, len(arrays["w"])) if operation.kind == "dense" else step.input_shape
        parts += [_braces(window), _braces(given), _braces(as_picture(operation.shape))]
        parts += [str(x.zero_point), _limits(operation)]
        self.weights.append(f"static const layer {name} = {{{', '.join(parts)}}};")
        if operation.output is not None:
            self._use("fixed_point_rounded" if self.integer_only else "float_rounded")
        else:
            self._use("fixed_point_logit" if self.integer_only else "float_logit")
        return name

    def _without_weights(self, operation: Operation, given: list[str], place: str) -> str:
        kind, arrays, x = operation.kind, operation.arrays, self._input(operation)
        step = operation.step
        name, n = c_name(step), math.prod(operation.shape)
        to_logits = operation.output is None
        self._use("mean_logits" if to_logits else kind)
        if kind == "add":
            x2 = self._input(operation, 1)
            assert operation.output is not None
            first, second, shift = sum_factors(x, x2, operation.output)
            limits = self._named("limits", _limits(operation))
            return (
                f"add({given[0]}, {x.zero_point}, {first}, {given[1]}, {x2.zero_point}, {second}, "
                f"{shift}, {limits}, {n}, {place});"
            )
        if kind == "table":
            table = self._constant("uint8_t", f"{name}_table", arrays["table"])
            return f"look_up({given[0]}, {n}, {len(arrays['table'])}, {table}, {place});"
        picture = self._shape(step.input_shape)
        if kind == "max_pool":
            self._use("pooled_row")
            into, window = self._shape(operation.shape), self._window(operation)
            return f"max_pool({given[0]}, {picture}, {window}, {place}, {into});"
        by, least = self._mean_factors(operation)
        if to_logits:
            return f"mean_logits({given[0]}, {picture}, {x.zero_point}, {by}, {place});"
        into, window = self._shape(operation.shape), self._window(operation)
        limits, counts = self._named("limits", _limits(operation)), int(step.counts_padding)
        numbers = f"{x.zero_point}, {by}, {least}, {window}, {counts}, {limits}"
        return f"average_pool({given[0]}, {picture}, {numbers}, {place}, {into});"

    def _mean_factors(self, operation: Operation) -> tuple[str, int]:
        """(name of the array of factors for windows of so many values, the smallest number)."""
        step, x = operation.step, self._input(operation)
        nothing = np.zeros((1, *step.input_shape), np.uint8)
        found = window_sums(nothing, x, step.window, step.counts_padding, operation.shape)[1]
        counts = np.arange(int(found.min()), int(found.max()) + 1)
        if self.integer_only:
            factors: np.ndarray | Factors = mean_factors(self.program, operation, counts)
        else:
            m = multipliers(x, np.float32(1), operation.output)
            factors = m / counts.astype(np.float32)
        rounding = "logit" if operation.output is None else "rounded"
        self._use(f"fixed_point_{rounding}" if self.integer_only else f"float_{rounding}")
        return self._factors(f"{c_name(step)}_by", factors), int(counts[0])

    def _end(self, last: Operation, place: str) -> None:
        """Values that are not logits yet become logits."""
        if last.output is None:
            return
        n, (scale, zero) = math.prod(last.shape), last.output
        if self.integer_only:
            self._use("integer_values")
            self.calls.append(f"values({place}, {n}, {zero}, logits);")
        else:
            self._use("values")
            self.calls.append(f"values({place}, {n}, {c_float(float(scale))}, {zero}, logits);")

    def _input(self, operation: Operation, which: int = 0) -> Quantization:
        return self.program.quantization(operation.inputs[which])

    def _named(self, kind: str, numbers: str) -> str:
        """The name of a constant structure with these numbers."""
        for k, text in enumerate(self.structures):
            if text == f"{kind} {numbers}":
                return f"{kind}{k}"
        k = len(self.structures)
        self.structures.append(f"{kind} {numbers}")
        self.weights.append(f"static const {kind} {kind}{k} = {numbers};")
        return f"{kind}{k}"

    def _shape(self, shape: Shape) -> str:
        return self._named("shape", _braces(as_picture(shape)))

    def _window(self, operation: Operation) -> str:
        return self._named("window", _braces(operation.step.window[:6]))


class IntegerOnlyWriter(QuantizedWriter):
    """The same with the arithmetic of `tinycnn.quantized.integer_only`, without floats.

    Raises ValueError as `check_integer_only` does.
    """

    integer_only = True
    advice = "It computes without floats.  Compile it with -O2 or -O3."

    def __init__(self, network: QuantizedNetwork, name: str) -> None:
        check_integer_only(network.program, network.input_spec)
        super().__init__(network, name)
        self.sections.discard("exponential")
        temperature = f"{self.calibration_temperature:.9g}"
        scale = f"{logit_scale(self.program):.9g}"
        self.macros["CONSTANT_BYTES"] = f"{self.n_constant_bytes} /* weights and tables */"
        self.macros["LOGIT_SCALE"] = f"{scale} /* an integer of the logits is worth this */"
        self.macros["TEMPERATURE"] = f"{temperature} /* calibrates the probabilities */"

    def _declarations(self) -> str:
        name, NAME, shape = self.name, self.name.upper(), shown(self.input_spec.shape)
        return f"""\
/* image: pixels 0..255, row by row, {shape} bytes.
 * logits: {NAME}_N_CLASSES integers; the larger, the likelier its class.  Probabilities are
 * softmax(logits * {NAME}_LOGIT_SCALE / {NAME}_TEMPERATURE). */
void {name}_logits(const uint8_t *image, int32_t *logits);

/* The number of the likeliest class, in the order of {name}_classes. */
int {name}_class(const uint8_t *image);
"""

    def _definitions(self) -> str:
        name, NAME = self.name, self.name.upper()
        calls = "\n".join(f"    {call}" for call in self.calls)
        return f"""\
void {name}_logits(const uint8_t *image, int32_t *logits)
{{
{calls}
}}

int {name}_class(const uint8_t *image)
{{
    int32_t logits[{NAME}_N_CLASSES];
    int likeliest = 0;
    {name}_logits(image, logits);
    for (int k = 1; k < {NAME}_N_CLASSES; k++)
        likeliest = logits[k] > logits[likeliest] ? k : likeliest;
    return likeliest;
}}
"""


def in_blocks(w: np.ndarray) -> np.ndarray:
    """Weights in the order in which the C functions read them, FILTERS_TOGETHER filters at a time.

    w (KH, KW, C, F) of a convolution, or (n, F) of a dense layer, becomes
    (blocks, KH, KW, C, FILTERS_TOGETHER).  The last block is filled up with zeros.
    """
    w = w if w.ndim == 4 else w[None, None]
    F = w.shape[3]
    n_blocks = -(-F // FILTERS_TOGETHER)
    filled = np.zeros((*w.shape[:3], n_blocks * FILTERS_TOGETHER), w.dtype)
    filled[..., :F] = w
    blocks = filled.reshape(*w.shape[:3], n_blocks, FILTERS_TOGETHER)
    return np.ascontiguousarray(np.moveaxis(blocks, 3, 0))


def as_picture(shape: Shape) -> Shape:
    """A vector is a picture of 1x1 pixels."""
    return shape if len(shape) == 3 else (1, 1, shape[0])


def _braces(numbers: tuple[int, ...]) -> str:
    return f"{{{', '.join(map(str, numbers))}}}"


def _limits(operation: Operation) -> str:
    zero = 0 if operation.output is None else operation.output.zero_point
    return _braces((*operation.limits, zero))
