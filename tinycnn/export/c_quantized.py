"""A quantised network as a C program: its functions are in c_quantized.c."""

from __future__ import annotations

import numpy as np

from ..layers import UnknownLayerError
from ..plan import NETWORK_INPUT
from ..quantized.calibration import pixel_table
from ..quantized.network import QuantizedNetwork
from ..quantized.program import WITH_WEIGHTS, Operation
from ..quantized.quantization import Quantization, multipliers, sum_factors
from .c_operations import c_float, c_name
from .c_source import CSource, hexadecimal, sections_of, shown


class QuantizedWriter(CSource):
    """The parts of the program, collected in one walk over the operations.

    Raises UnknownLayerError for an operation in float32, which has no C function.
    """

    about_values = "the output of each operation"
    about_weights = "the weights, biases, factors and tables"
    advice = "Compile it with -O3, without -ffast-math."

    def __init__(self, network: QuantizedNetwork, name: str) -> None:
        program = network.program
        n = sum(o.arrays["w"].size for o in program.operations if o.kind in WITH_WEIGHTS)
        described = f"a network of {n:,} weights in 8 bits"
        super().__init__(name, described, network.input_spec, network.calibration_temperature)
        self.program = program
        filters = [o.shape[-1] for o in program.operations if o.kind in WITH_WEIGHTS]
        self.functions = {
            section: text.replace("@MOST_FILTERS@", str(max(filters, default=1)))
            for section, text in sections_of("c_quantized.c").items()
        }
        self._use("integers")
        self.names = {NETWORK_INPUT: "input"}
        self._buffer("input", int(np.prod(program.plan.input_shape)))
        self._load(network)
        for k, operation in enumerate(program.operations):
            self._operation(k, operation)
        last = program.operations[-1]
        if last.output is not None:
            self._use("values")
            n = int(np.prod(last.shape))
            scale, zero = c_float(float(last.output.scale)), last.output.zero_point
            name_of_last = self.names[len(program.operations) - 1]
            self.calls.append(f"values({name_of_last}, {n}, {scale}, {zero}, logits);")

    def _use(self, section: str) -> None:
        self.own_sources[self.functions[section] + "\n"] = None

    def _buffer(self, name: str, n_bytes: int) -> None:
        self.declared.append(f"static uint8_t {name}[{n_bytes}];")
        self.n_static_bytes += n_bytes

    def _constant(self, kind: str, name: str, values: np.ndarray) -> str:
        """Store an array of C type `kind`; returns its name."""
        if values.dtype == np.float32:
            numbers = hexadecimal(values)
        else:
            texts = [str(value) for value in values.ravel().tolist()]
            rows = [", ".join(texts[k : k + 20]) for k in range(0, len(texts), 20)]
            numbers = "\n".join(f"    {row}," for row in rows)
        self.weights.append(f"static const {kind} {name}[{values.size}] = {{\n{numbers}\n}};")
        self.n_constant_bytes += values.nbytes
        return name

    def _load(self, network: QuantizedNetwork) -> None:
        """The call that makes integers of the image."""
        n, x = int(np.prod(self.program.plan.input_shape)), self.program.input
        table = pixel_table(network.input_spec, x)
        if table is None:
            self.sections.add("square_root")
            self._use("standardized")
            scale = c_float(float(x.scale))
            self.calls.append(f"load(image, {n}, {scale}, {x.zero_point}, input);")
        else:
            self._use("pixel_table")
            name = self._constant("uint8_t", "pixel_table", table)
            self.calls.append(f"load(image, {n}, {len(table)}, {name}, input);")

    def _operation(self, k: int, operation: Operation) -> None:
        step, kind = operation.step, operation.kind
        given = [self.names[number] for number in operation.inputs]
        if kind == "copy":
            self.names[k] = given[0]
            return
        if kind == "float":
            raise UnknownLayerError(
                f"layer {step.name} ({type(step.layer).__name__}) is computed in float32, which "
                "the C program of a quantised network cannot do"
            )
        name = self.names[k] = c_name(step)
        if operation.output is not None:
            self._buffer(name, int(np.prod(operation.shape)))
        self.calls.append(
            f"/* {step.name}: {shown(step.input_shape)} -> {shown(operation.shape)} */"
        )
        self.calls.append(self._call(name, operation, given))

    def _call(self, name: str, operation: Operation, given: list[str]) -> str:
        kind, arrays, x = operation.kind, operation.arrays, self._input(operation)
        n, n_channels = int(np.prod(operation.shape)), len(arrays.get("table", ()))
        pictures = f"{given[0]}, {_shape(operation.step.input_shape)}"
        target = f"{name}, {_shape(operation.shape)}"
        zero, limits, to_logits = x.zero_point, _limits(operation), operation.output is None
        if kind in WITH_WEIGHTS:
            w = self._constant("int8_t", f"{name}_w", arrays["w"])
            b = self._constant("int32_t", f"{name}_b", arrays["b"])
            factors = multipliers(x, arrays["scale"], operation.output)
            factor = self._constant("float", f"{name}_factor", factors)
            function = "depthwise" if kind == "depthwise" else "convolution"
            self._use("dense_logits" if to_logits else function)
            if to_logits:
                n_given = operation.step.input_shape[0]
                return (
                    f"dense_logits({given[0]}, {n_given}, {zero}, {w}, {b}, {factor}, {n}, logits);"
                )
            numbers = f"{w}, {b}, {factor}, {_window(operation)}, {limits}"
            return f"{function}({pictures}, {zero}, {numbers}, {target});"
        self._use("mean_logits" if to_logits else kind)
        if kind == "max_pool":
            return f"max_pool({pictures}, {_window(operation)}, {target});"
        if kind == "average_pool":
            factor = c_float(float(multipliers(x, np.float32(1), operation.output)))
            if to_logits:
                return f"mean_logits({pictures}, {zero}, {factor}, logits);"
            window, counts = _window(operation), int(operation.step.counts_padding)
            numbers = f"{zero}, {factor}, {window}, {counts}, {limits}"
            return f"average_pool({pictures}, {numbers}, {target});"
        if kind == "add":
            x2 = self._input(operation, 1)
            assert operation.output is not None
            first, second, shift = sum_factors(x, x2, operation.output)
            return (
                f"add({given[0]}, {zero}, {first}, {given[1]}, {x2.zero_point}, {second}, {shift}, "
                f"{limits}, {n}, {name});"
            )
        table = self._constant("uint8_t", f"{name}_table", arrays["table"])
        return f"look_up({given[0]}, {n}, {n_channels}, {table}, {name});"

    def _input(self, operation: Operation, which: int = 0) -> Quantization:
        return self.program.quantization(operation.inputs[which])


def _shape(shape: tuple[int, ...]) -> str:
    sizes = shape if len(shape) == 3 else (1, 1, shape[0])
    return f"(shape){{{', '.join(map(str, sizes))}}}"


def _limits(operation: Operation) -> str:
    zero = 0 if operation.output is None else operation.output.zero_point
    low, high = operation.limits
    return f"(limits){{{low}, {high}, {zero}}}"


def _window(operation: Operation) -> str:
    sizes = (1, 1, 1, 1, 0, 0) if operation.kind == "dense" else operation.step.window[:6]
    return f"(window){{{', '.join(map(str, sizes))}}}"
