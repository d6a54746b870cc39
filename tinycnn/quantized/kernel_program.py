"""Runs a quantised program on the kernels: where all values lie, and the table of operations.

The values of an image lie one after the other, see kernels/int8_program.py.  No two outputs share
memory, so the border around each, which windows read, is written once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from ..aligned_arrays import CACHE_LINE, aligned_zeros
from ..kernels import int8_program
from ..kernels._int8_tile import LANES
from ..layers import Shape
from ..parallel import Threads, run_in_threads
from ..plan import NETWORK_INPUT
from .program import WITH_WEIGHTS, Operation, Program, weights_as_convolution
from .quantization import Quantization, multipliers, sum_factors
from .reference_program import float_layer

CHUNK = 8
"""Images that go through the network together, at most."""

CHUNK_BYTES = 1 << 19
"""Their values take at most this many bytes, so that they stay in the cache."""

BEHIND = 64
"""The tile reads up to this many bytes behind the values that count."""


@dataclass
class Picture:
    """Where the output of an operation is: a picture with a border.

    above, left, below, right  rows and columns of the border
    start                      byte of the whole picture in an image's values
    """

    shape: tuple[int, int, int]
    zero: int
    above: int = 0
    left: int = 0
    below: int = 0
    right: int = 0
    start: int = 0

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return (self.left + self.shape[1] + self.right) * self.shape[2]

    @property
    def n_bytes(self) -> int:
        return (self.above + self.shape[0] + self.below) * self.row

    @property
    def first(self) -> int:
        """Where pixel (0, 0) is."""
        return self.start + self.above * self.row + self.left * self.shape[2]


@dataclass
class Constants:
    """The flat arrays that the kernels read, while they are filled."""

    weights: list[np.ndarray] = field(default_factory=list)
    biases: list[np.ndarray] = field(default_factory=list)
    factors: list[np.ndarray] = field(default_factory=list)
    tables: list[np.ndarray] = field(default_factory=list)

    def add(self, parts: list[np.ndarray], values: np.ndarray) -> int:
        """Append an array; returns where it begins."""
        start = sum(part.size for part in parts)
        parts.append(np.ravel(values))
        return start

    def joined(self, parts: list[np.ndarray], dtype: type) -> np.ndarray:
        out = aligned_zeros(sum(part.size for part in parts), dtype)
        np.concatenate([*parts, out[:0]], out=out, casting="unsafe")
        return out


class KernelProgram:
    """Runs `program` on images in 8 bits."""

    def __init__(self, program: Program, threads: Threads) -> None:
        self.program, self.threads, self.work = program, threads, program.plan.work
        self.n_classes = program.plan.output_shape[0]
        self.pictures = _pictures(program)
        self.size = sum(_padded(picture.n_bytes) for picture in self.pictures.values())
        self.chunk = max(1, min(CHUNK, CHUNK_BYTES // self.size))
        self.spaces: list[tuple[np.ndarray, np.ndarray]] = []  # not in use
        constants = Constants()
        records = np.zeros(1 + len(program.operations), int8_program.RECORD)
        picture, load = self.pictures[NETWORK_INPUT], records[0]
        load["kind"], load["y"], load["y_row"] = int8_program.LOAD, picture.first, picture.row
        load["H"], load["W"], load["C"] = picture.shape
        for record, operation in zip(records[1:], program.operations):
            self._fill(record, operation, constants)
        records["n_bytes"] = self.size
        self.weights = constants.joined(constants.weights, np.int8)
        self.biases = constants.joined(constants.biases, np.int32)
        self.factors = constants.joined(constants.factors, np.float32)
        self._use(records, constants.joined(constants.tables, np.uint8))

    def of_pixels(self, table: np.ndarray) -> KernelProgram:
        """The same for pixels that go through a table (C, 256) first."""
        other = copy.copy(self)
        records, other.spaces = self.records.view(np.ndarray).copy(), []
        if (table == table[:1]).all():
            table = table[:1]
        if (table == np.arange(256)).all():
            return other
        records[0]["n_tables"], records[0]["table"] = len(table), self.tables.size
        other._use(records, np.concatenate([self.tables, table.ravel()]))
        return other

    def _use(self, records: np.ndarray, tables: np.ndarray) -> None:
        """Keep the table of operations, and divide it into stages: runs of records (begin, the
        table up to the end), with the operations in float32 between them."""
        self.records, self.tables = records.view(np.recarray), tables
        self.stages: list[tuple[int, np.ndarray] | int] = []
        begin = 0
        for k, operation in enumerate(self.program.operations):
            if operation.kind == "float":
                self.stages += [(begin, self.records[: k + 1]), k]
                begin = k + 2
        if begin < len(records):
            self.stages.append((begin, self.records))

    def compile_prediction(self) -> None:
        """Compile the kernels, or load them from the cache.  Raises CompileError."""
        self.quantized(self._none)
        self._run(self.records[:0], 0, np.zeros((0, 1, 1, 1), np.uint8), self._space(), self._none)

    _none = np.zeros(0, np.float32)

    def quantized(self, x: np.ndarray) -> np.ndarray:
        """uint8: x float32, C-contiguous, quantised as the program's input."""
        q = np.empty(x.shape, np.uint8)
        scale, zero = self.program.input
        int8_program.int8_quantize(x.reshape(-1), scale, zero, q.reshape(-1))
        return q

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (N, K) of x (N, H, W, C) uint8, C-contiguous."""
        logits = np.empty((len(x), self.n_classes), np.float32)
        n_chunks = -(-len(x) // self.chunk)
        chunks = iter(range(n_chunks))  # shared by the threads

        def work(worker: int) -> None:
            space = self._take_space()
            for k in chunks:
                part = slice(k * self.chunk, (k + 1) * self.chunk)
                self._predict_chunk(x[part], space, logits[part])
            self.spaces.append(space)

        # 8-bit integers take about half the time of floats
        run_in_threads(work, self.threads.for_work(n_chunks, len(x) * self.work // 2))
        return logits

    def _predict_chunk(
        self, x: np.ndarray, space: tuple[np.ndarray, np.ndarray], logits: np.ndarray
    ) -> None:
        for stage in self.stages:
            if isinstance(stage, int):
                self._in_float(stage, len(x), space[0], logits)
            else:
                begin, records = stage
                self._run(records, begin, x, space, logits.reshape(-1))
        last = self.program.operations[-1]
        if last.output is not None:
            q = self._view(len(self.program.operations) - 1, len(x), space[0])
            logits[:] = last.output.values(q).reshape(logits.shape)

    def _run(
        self, records: np.ndarray, begin: int, x: np.ndarray,
        space: tuple[np.ndarray, np.ndarray], logits: np.ndarray,
    ) -> None:  # fmt: skip
        values, sums = space
        int8_program.int8_program_predict(
            records, begin, x.reshape(-1), len(x), values, self.weights, self.biases,
            self.factors, self.tables, sums, logits,
        )  # fmt: skip

    def _in_float(self, k: int, n_images: int, values: np.ndarray, logits: np.ndarray) -> None:
        operation = self.program.operations[k]
        given = []
        for number in operation.inputs:
            q = self._view(number, n_images, values).reshape(n_images, *self.program.shape(number))
            given.append(self.program.quantization(number).values(q))
        given = [one.reshape(n_images, *operation.step.input_shape) for one in given]
        y = float_layer(operation, given)
        if operation.output is None:
            logits[:] = y.reshape(logits.shape)
        else:
            view = self._view(k, n_images, values)
            view[:] = operation.output.quantized(y).reshape(view.shape)

    def _view(self, number: int, n_images: int, values: np.ndarray) -> np.ndarray:
        """The output (N, H, W, C) of an operation without its border, or of NETWORK_INPUT."""
        picture = self.pictures[number]
        images = values[: n_images * self.size].reshape(n_images, self.size)
        whole = images[:, picture.start : picture.start + picture.n_bytes]
        H, W, C = picture.shape
        rows = whole.reshape(n_images, -1, picture.left + W + picture.right, C)
        return rows[:, picture.above : picture.above + H, picture.left : picture.left + W]

    def _take_space(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self.spaces.pop()
        except IndexError:
            return self._space()

    def _space(self) -> tuple[np.ndarray, np.ndarray]:
        """Memory for the values of a chunk, with all borders written, and for sums."""
        values = aligned_zeros(self.chunk * self.size + BEHIND, np.uint8)
        images = values[: self.chunk * self.size].reshape(self.chunk, self.size)
        for picture in self.pictures.values():
            images[:, picture.start : picture.start + picture.n_bytes] = picture.zero
        return values, np.zeros(self.chunk * self.n_classes, np.int32)

    # ---- the table -----------------------------------------------------------------------------

    def _fill(self, record: np.void, operation: Operation, constants: Constants) -> None:
        number = self.program.operations.index(operation)
        x, y = self.pictures[operation.inputs[0]], self.pictures[number]
        record["x"], record["x_row"], record["y"], record["y_row"] = x.first, x.row, y.first, y.row
        record["H"], record["W"], record["C"] = x.shape
        if len(operation.step.input_shape) == 1:  # also of a picture that was flattened: no border
            record["H"], record["W"], record["C"] = as_picture(operation.step.input_shape)
        record["OH"], record["OW"], record["F"] = y.shape
        record["zero_x"], record["zero_y"] = x.zero, y.zero
        record["low"], record["high"] = operation.limits
        record["to_logits"] = operation.output is None
        kind, arrays = operation.kind, operation.arrays
        if kind in ("convolution", "depthwise", "max_pool", "average_pool"):
            for name, value in zip(("KH", "KW", "SH", "SW", "PT", "PL"), operation.step.window):
                record[name] = value
            record["counts_padding"] = operation.step.counts_padding
        if kind in WITH_WEIGHTS:
            self._fill_weights(record, operation, constants)
        elif kind == "max_pool":
            record["kind"] = int8_program.MAX_POOL
        elif kind == "average_pool":
            self._fill_average(record, operation, constants)
        elif kind == "add":
            x2, q2 = self.pictures[operation.inputs[1]], self._input(operation, 1)
            record["kind"], record["x2"], record["x2_row"] = int8_program.ADD, x2.first, x2.row
            record["zero_x2"] = x2.zero
            assert operation.output is not None
            factors = sum_factors(self._input(operation), q2, operation.output)
            record["first"], record["second"], record["shift"] = factors
        elif kind == "table":
            record["kind"] = int8_program.TABLE
            record["n_tables"] = len(arrays["table"])
            record["table"] = constants.add(constants.tables, arrays["table"])
        elif kind == "copy":
            record["kind"] = int8_program.COPY

    def _fill_average(self, record: np.void, operation: Operation, constants: Constants) -> None:
        """An average over windows that all lie inside the picture is a depthwise convolution with
        weights of 1."""
        x, window = self._input(operation), operation.step.window
        (H, W, C), (OH, OW, _) = operation.step.input_shape, as_picture(operation.shape)
        factor = multipliers(x, np.float32(1), operation.output)
        beyond = (OH - 1) * window.SH + window.KH > H or (OW - 1) * window.SW + window.KW > W
        if window.PT or window.PL or beyond or operation.output is None:
            record["kind"] = int8_program.AVERAGE_POOL
            record["b"] = self._add_factors(constants, np.zeros(1, np.int32), np.array([factor]))
            return
        n = window.KH * window.KW
        record["kind"] = int8_program.DEPTHWISE
        ones = np.ones((window.KH, window.KW, C), np.int8)
        record["w"] = constants.add(constants.weights, packed_weights(ones, by_channel=True))
        biases, factors = np.full(C, -n * x.zero_point), np.full(C, factor / np.float32(n))
        record["b"] = self._add_factors(constants, biases, factors)

    def _fill_weights(self, record: np.void, operation: Operation, constants: Constants) -> None:
        x, arrays, kind = self._input(operation), operation.arrays, operation.kind
        w = arrays["w"].astype(np.int64)
        corrected = arrays["b"] - x.zero_point * w.sum(axis=tuple(range(w.ndim - 1)))
        factors = multipliers(x, arrays["scale"], operation.output)
        record["b"] = self._add_factors(constants, corrected, factors)
        if kind == "depthwise" and operation.shape[2] == operation.step.input_shape[2]:
            record["kind"] = int8_program.DEPTHWISE
            packed = packed_weights(arrays["w"], by_channel=True)
        else:
            whole = weights_as_convolution(operation)
            record["kind"] = int8_program.DENSE if kind == "dense" else int8_program.CONVOLUTION
            packed = packed_weights(whole.reshape(whole.shape[0], -1, whole.shape[3]))
            record["n_groups"] = packed.shape[2]
            self._flatten_pixels(record, operation)
        record["w"] = constants.add(constants.weights, packed)

    def _flatten_pixels(self, record: np.void, operation: Operation) -> None:
        """Make a convolution of single pixels, without borders, one row of them: long rows fill the
        tile."""
        x = self.pictures[operation.inputs[0]]
        y = self.pictures[self.program.operations.index(operation)]
        same = (record["KH"], record["KW"], record["SH"], record["SW"]) == (1, 1, 1, 1)
        whole = x.shape[:2] == y.shape[:2]
        if same and whole and x.row == x.shape[1] * x.shape[2] and y.row == y.shape[1] * y.shape[2]:
            record["OH"], record["OW"] = 1, y.shape[0] * y.shape[1]

    def _add_factors(self, constants: Constants, biases: np.ndarray, factors: np.ndarray) -> int:
        """Append biases and factors, filled up to whole vectors."""
        n = -(-len(factors) // LANES) * LANES
        start = constants.add(constants.biases, np.pad(biases, (0, n - len(biases))))
        constants.add(constants.factors, np.pad(factors, (0, n - len(factors))))
        return start

    def _input(self, operation: Operation, which: int = 0) -> Quantization:
        return self.program.quantization(operation.inputs[which])


def packed_weights(w: np.ndarray, by_channel: bool = False) -> np.ndarray:
    """int8 (blocks, KH, groups, LANES, 4), as kernels/_int8_tile.py reads them, of w (KH, values of
    a row, F); of a depthwise convolution: of w (KH, KW, C), with one weight in each group."""
    KH, n, F = w.shape
    n_blocks = -(-F // LANES)
    step = 1 if by_channel else 4
    groups = -(-n // step)
    out = np.zeros((KH, groups, step, n_blocks * LANES), np.int8)
    out.reshape(KH, groups * step, -1)[:, :n, :F] = w
    split = out.reshape(KH, groups, step, n_blocks, LANES).transpose(3, 0, 1, 4, 2)
    packed = np.zeros((n_blocks, KH, groups, LANES, 4), np.int8)
    packed[..., :step] = split
    return packed


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


def as_picture(shape: Shape) -> tuple[int, int, int]:
    """(H, W, C); a vector is a picture of one pixel."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, shape[0])


def _pictures(program: Program) -> dict[int, Picture]:
    """The picture of the network's input and of every output, placed one behind the other."""
    pictures = {NETWORK_INPUT: Picture(as_picture(program.plan.input_shape), program.input[1])}
    for k, operation in enumerate(program.operations):
        zero = 0 if operation.output is None else operation.output.zero_point
        pictures[k] = Picture(as_picture(operation.shape), zero)
    for operation in program.operations:
        if operation.kind in ("convolution", "depthwise"):
            _widen(pictures[operation.inputs[0]], operation)
    start = 0
    for picture in pictures.values():
        picture.start = start
        start += _padded(picture.n_bytes)
    return pictures


def _widen(picture: Picture, operation: Operation) -> None:
    """Make the border so wide that the windows of a convolution find its zeros."""
    KH, KW, SH, SW, PT, PL, _, _ = operation.step.window
    (OH, OW, _), (H, W, _) = operation.shape, picture.shape
    picture.above, picture.left = max(picture.above, PT), max(picture.left, PL)
    picture.below = max(picture.below, (OH - 1) * SH + KH - PT - H)
    picture.right = max(picture.right, (OW - 1) * SW + KW - PL - W)
