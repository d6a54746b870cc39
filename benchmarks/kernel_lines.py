"""Every kernel on the arrays that it meets in MicroExpNet: one line of the roofline each.  Kernels
that MicroExpNet does not have get pictures of other networks.

A chunk of 8 images goes through the network kernel by kernel, forward and backward, as in training
on a batch of 64; each line is one call with its real shapes and values.  Products with padding are
not counted, for no kernel computes them; of the pooled backward passes only the winners' are.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinycnn.layers import Conv2D, Dense, MaxPool2D, ReLU
from tinycnn.plan import Window

from .problem import Problem

N_IMAGES = 8
DIRECT_MACS = 2_853_248
"""Multiply-adds of an image's forward pass by direct convolution, padding included."""
DIRECT_TRAINING_MACS = 6_753_408
"""The same of a training step: each pass again for the weights and, but for the first layer, for
the input."""


class Line(NamedTuple):
    """One call.  macs: its multiply-adds, 0 where it is not about those; n_bytes: its arrays."""

    kernel: str
    layer: str
    call: Callable[[], Any]
    macs: int
    n_bytes: int


def registry() -> dict[str, Any]:
    """tinycnn's kernels and their helpers by name, all of them imported."""
    from tinycnn.kernels import _jit

    _import_kernels()
    return {**_jit.HELPERS, **_jit.KERNELS}


def without_line(lines: list[Line]) -> list[str]:
    """Kernels that nothing here measures: a benchmark is missing.  (Helpers are measured with the
    kernels that call them.)"""
    from tinycnn.kernels import _jit

    _import_kernels()
    return sorted(set(_jit.KERNELS) - {line.kernel for line in lines})


def _import_kernels() -> None:
    from tinycnn import kernels

    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"{kernels.__name__}.{module.name}")


def taps_inside(n_out: int, stride: int, before: int, n_taps: int, size: int) -> int:
    """Pairs of output position and tap, along one axis, whose tap lies inside the input."""
    return sum(0 <= i * stride - before + tap < size for i in range(n_out) for tap in range(n_taps))


def conv_macs(n_images: int, step: Any) -> int:
    """Multiply-adds of a convolution of n_images, products with padding left out."""
    (H, W, C), (OH, OW, F) = step.input_shape, step.output_shape
    KH, KW, SH, SW, PT, PL, _, _ = step.window
    return n_images * C * F * taps_inside(OH, SH, PT, KH, H) * taps_inside(OW, SW, PL, KW, W)


def make_lines(problem: Problem) -> tuple[list[Line], dict[str, str]]:
    """All lines, and why some could not be made."""
    walk = _Walk(problem)
    walk.forward()
    walk.winograd()
    walk.losses()
    walk.backward()
    walk.activations()
    walk.channels()
    walk.windows()
    walk.winograd_3x3()
    walk.few_filters()
    walk.depthwise_3x3()
    walk.optimizers()
    return walk.lines, walk.failed


class _Walk:
    """Goes through the network; each line is called once, so that its output feeds the next."""

    def __init__(self, problem: Problem) -> None:
        from tinycnn.models.microexpnet import microexpnet

        self.plan = microexpnet(n_threads=1).plan
        self.weights, self.kernels = problem.weights, registry()
        self.x = problem.x[:N_IMAGES].copy()
        self.rng = np.random.default_rng(0)
        self.lines: list[Line] = []
        self.failed: dict[str, str] = {}
        self.kept: dict[str, dict[str, np.ndarray]] = {}

    def add(self, kernel: str, layer: str, *arguments: Any, macs: int = 0) -> None:
        """A line for kernel(*arguments)."""
        name = f"{layer} {kernel}".strip()
        function = self.kernels.get(kernel)
        if function is None:
            self.failed[name] = "there is no such kernel any more"
            return
        try:
            function(*arguments)
        except Exception as error:  # another signature than this file knows
            self.failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            return
        arrays = [a for a in arguments if isinstance(a, np.ndarray)]
        arrays += [a for given in arguments if isinstance(given, tuple) for a in given]
        n_bytes = sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))
        self.lines.append(Line(kernel, layer, lambda: function(*arguments), macs, n_bytes))

    def forward(self) -> None:
        x = self.x
        self.add("scale_images", "", x.astype(np.uint8), 2, np.zeros((2, 0)), np.empty_like(x))
        for step in self.plan.steps:
            layer, name, kept = step.layer, step.name, {"x": x}
            self.kept[name] = kept
            y = np.zeros((len(x), *step.output_shape), np.float32)
            if isinstance(layer, Conv2D):
                w, b = self.weights[f"{name}.w"], self.weights[f"{name}.b"]
                macs = conv_macs(len(x), step)
                self.add("conv2d_forward", name, x, w, b, step.window, y, macs=macs)
            elif isinstance(layer, MaxPool2D):
                kept["argmax"] = np.zeros(y.shape, np.int32)
                self.add("maxpool2d_forward", name, x, step.window, y, kept["argmax"])
            elif isinstance(layer, Dense):
                w, b = self.weights[f"{name}.w"], self.weights[f"{name}.b"]
                self.add("dense_forward", name, x, w, b, y, macs=len(x) * w.size)
                one = (x[:1], w, b, y[:1].copy())
                self.add("dense_forward", f"{name}, one image", *one, macs=w.size)
            elif isinstance(layer, ReLU):
                self.add("relu_forward", name, x.reshape(-1), y.reshape(-1))
            else:
                y = x.reshape(y.shape)
            kept["y"] = x = y

    def winograd(self) -> None:
        """Convolutions as float32 does them, winners wanted; macs are those of the direct one."""
        from tinycnn.kernels.conv2d_winograd import winograd_sizes
        from tinycnn.kernels.table import make_operations

        convolutions = [step for step in self.plan.steps if type(step.layer).__name__ == "Conv2D"]
        table = make_operations(self.plan, np.dtype(np.float32))
        for step, op in zip(convolutions, table.operations):
            if not op.winograd:
                continue
            w, b = self.weights[f"{step.name}.w"], self.weights[f"{step.name}.b"]
            u, scratch = (np.zeros(size, np.float32) for size in winograd_sizes(op))
            x = self.kept[step.name]["x"]
            y = np.zeros((len(x), op.OH, op.OW, op.F), np.float32)
            self.add("conv2d_winograd_weights", step.name, w, u)
            argmax = np.zeros(y.shape, np.int32)
            arguments = (x, w, u, b, step.window, int(op.pool), 1, scratch, y, argmax)
            macs = conv_macs(len(x), step)
            self.add("conv2d_winograd_forward", step.name, *arguments, macs=macs)

    def losses(self) -> None:
        N, K = shape = (64, 8)
        logits, teacher = (self.rng.normal(size=shape).astype(np.float32) for _ in range(2))
        targets = np.eye(K, dtype=np.float32)[self.rng.integers(0, K, N)]
        out, loss, labels = np.empty_like(logits), np.empty(N), targets.argmax(axis=1)
        self.add("softmax_forward", "", logits, 1.0, out)
        self.add("log_softmax_forward", "", logits, 1.0, out)
        self.add("cross_entropy_hard", "", logits, labels, loss, out)
        self.add("cross_entropy_soft", "", logits, targets, loss, out)
        self.add("distillation", "", logits, targets, teacher, 4.0, 0.7, 16.0, loss, out)
        decoupled = (logits, labels, teacher, 4.0, 1.0, 8.0, 16.0, loss, out)
        self.add("decoupled_distillation", "", *decoupled)
        z, dz, scratch = np.empty((3, *shape))
        relations = (logits, teacher, 4.0, 2.0, 2.0, 16.0, z, dz, scratch, loss, out)
        self.add("relation_distillation", "", *relations)
        self.add("standardize_logits_forward", "", logits, z, loss)
        self.add("standardize_logits_backward", "", dz, z, loss, out)

    def backward(self) -> None:
        dy = self.rng.normal(size=self.kept[self.plan.steps[-1].name]["y"].shape)
        dy, behind = dy.astype(np.float32), None
        for step in reversed(self.plan.steps):
            name, kind = step.name, type(step.layer).__name__
            x, y = self.kept[name]["x"], self.kept[name]["y"]
            dx = np.zeros_like(x)
            if kind == "Conv2D":
                self._conv_backward(step, x, dy, dx)
                if behind is not None:
                    self._pooled_conv_backward(step, x, dx, behind)
            elif kind == "MaxPool2D":
                argmax = self.kept[name]["argmax"]
                self.add("maxpool2d_backward", name, dy, argmax, dx)
                # a ReLU stands between: without a gradient where the window's largest is <= 0
                behind = (np.where(y > 0, dy, np.float32(0)), argmax)
            elif kind == "Dense":
                from tinycnn.kernels import packed_weights

                w = self.weights[f"{name}.w"]
                dw, db, (K, U) = np.empty_like(w), np.empty(w.shape[1], w.dtype), w.shape
                columns = packed_weights.panel_columns(K, w.itemsize)
                w_t = np.empty((K // columns, U, columns), w.dtype)
                columns = packed_weights.panel_columns(U, w.itemsize)
                self.add("pack_weights", name, w, np.empty((U // columns, K, columns), w.dtype))
                macs = len(x) * w.size
                self.add("dense_backward_params", name, x, dy, dw, db, macs=macs)
                self.add("dense_transpose_weights", name, w, w_t)
                self.add("dense_backward_input", name, dy, w_t, dx, macs=macs)
            elif kind == "ReLU":
                self.add("relu_backward", name, *(a.reshape(-1) for a in (y, dy, dx)))
            else:
                dx = dy.reshape(x.shape)
            dy = dx
        mask = np.ones((N_IMAGES, 1, 48), np.float32)  # dropout stands behind the first dense layer
        for kernel in ("dropout_forward", "dropout_backward"):
            self.add(kernel, "", mask, mask[:, 0], mask.copy())

    def activations(self) -> None:
        """Those that MicroExpNet does not have, on the output of its first convolution."""
        x = self.rng.normal(size=self.kept["conv1"]["y"].shape).astype(np.float32)
        flat, C = x.reshape(-1), x.shape[-1]
        y, dy = np.empty_like(flat), flat.copy()
        options = {"clipped_relu": (6.0,), "leaky_relu": (0.01,), "sigmoid": (), "tanh": ()}
        for stem, values in options.items():
            self.add(f"{stem}_forward", "", flat, *values, y)
            self.add(f"{stem}_backward", "", y, *values, dy, np.empty_like(y))
        by_channel, alpha = x.reshape(-1, C), np.full(C, 0.25, np.float32)
        self.add("prelu_forward", "", by_channel, alpha, y.reshape(-1, C))
        self.add("prelu_backward_params", "", by_channel, dy.reshape(-1, C), alpha.copy())
        self.add("prelu_backward_input", "", by_channel, alpha, dy.reshape(-1, C), y.reshape(-1, C))

    def _conv_backward(self, step: Any, x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
        name, w = step.name, self.weights[f"{step.name}.w"]
        dw, db = np.empty_like(w), np.empty(w.shape[3], w.dtype)
        w_t = np.empty((w.shape[3], *w.shape[:3]), w.dtype)
        macs = conv_macs(len(x), step)
        self.add("conv2d_backward_params", name, x, dy, step.window, dw, db, macs=macs)
        self.add("conv2d_transpose_weights", name, w, w_t)
        self.add("conv2d_transpose_weights_back", name, w_t, dw)
        rows, w_1x1 = x.reshape(-1, x.shape[3]), np.ones((w.shape[3], x.shape[3]), w.dtype)
        self.add(  # of a 1x1 convolution with the same channels
            "conv2d_1x1_backward", name, rows, np.ones((len(rows), w.shape[3]), w.dtype), w_1x1,
            np.empty(x.shape[3], w.dtype), w_1x1.T.copy(), db, np.empty_like(rows),
            macs=2 * rows.size * w.shape[3],
        )  # fmt: skip
        if step is not self.plan.steps[0]:  # of its input no gradient is needed
            self.add("conv2d_backward_input", name, dy, w_t, step.window, dx, macs=macs)

    def _pooled_conv_backward(
        self, step: Any, x: np.ndarray, dx: np.ndarray, behind: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """behind: dy and argmax of the pooling that follows.  Scratch as `make_operations` sizes
        it."""
        from tinycnn.kernels._winner_lists import LANES
        from tinycnn.kernels.arrays import WinnerScratch
        from tinycnn.kernels.operations import N_LISTED

        dy, argmax = behind
        (OH, OW, F), (H, W, C) = step.output_shape, step.input_shape
        KH, KW, SH, SW, PT, PL, _, _ = step.window
        padded_shape = (max((OH - 1) * SH + KH, PT + H), max((OW - 1) * SW + KW, PL + W), C)
        L = min(dy.shape[1] * dy.shape[2], N_LISTED) + LANES
        scratch = WinnerScratch(
            x_padded=np.zeros(padded_shape, x.dtype),
            dx_padded=np.zeros(padded_shape, x.dtype),
            gradients=np.zeros((2, F, L), x.dtype),
            positions=np.zeros((2, F, L), np.int32),
            counts=np.zeros(F, np.int64),
            lists=np.zeros((2, 3, max(F, OH * OW)), np.int32),
        )
        w_t = np.ascontiguousarray(self.weights[f"{step.name}.w"].transpose(3, 0, 1, 2))
        wants_dx = step is not self.plan.steps[0]
        macs = int(np.count_nonzero(dy)) * KH * KW * C * (1 + wants_dx)
        dw, db, dx_out = np.empty_like(w_t), np.empty(F, x.dtype), dx if wants_dx else dx[:0]
        arguments = (x, dy, argmax, w_t, step.window, scratch, dw, db, dx_out)
        self.add("conv2d_maxpool2d_backward", step.name, *arguments, macs=macs)

    def channels(self) -> None:
        """What MicroExpNet does not have: a BatchNorm, a scale and a residual's sum, on the output
        of its first convolution."""
        y = self.kept["conv1"]["y"]
        x = np.ascontiguousarray(y.reshape(-1, y.shape[3]), np.float32)
        (P, C), dy = x.shape, self.rng.normal(size=x.shape).astype(np.float32)
        out, gamma, beta = np.empty_like(x), np.ones(C, np.float32), np.zeros(C, np.float32)
        dgamma, dbeta, scratch = gamma.copy(), beta.copy(), np.empty((5, C), np.float32)
        moments, of_chunks = np.empty((2, C)), self.rng.uniform(1, 2, (8, 2, C))
        self.add("batch_norm_moments", "conv1", x, 0, scratch, moments)
        self.add("batch_norm_combine", "", of_chunks, 64, 8, np.empty((2, C)))
        self.add("batch_norm_update_running", "", moments, P, 0.9, 1, beta.copy(), gamma.copy())
        forward: tuple[Any, ...] = (x, moments, gamma, beta, 1e-5, 0, scratch, out)
        self.add("batch_norm_forward", "conv1", *forward)
        normed: tuple[Any, ...] = (x, dy, moments, gamma, beta, 1e-5, 1)
        self.add("batch_norm_backward_params", "conv1", *normed, 0, scratch, dgamma, dbeta)
        of_batch: tuple[Any, ...] = (dgamma, dbeta, P, scratch, out)
        self.add("batch_norm_backward_input", "conv1", *normed, *of_batch)
        self.pooled_batch_norm(y, moments, gamma, scratch)
        self.add("scale_shift_forward", "conv1", x, gamma, beta, 0, scratch[:2], out)
        self.add("scale_shift_backward_params", "conv1", x, dy, dgamma, dbeta)
        self.add("scale_shift_backward_input", "conv1", dy, gamma, out)
        self.add("add_forward", "conv1", x.reshape(-1), dy.reshape(-1), 1, out.reshape(-1))

    def pooled_batch_norm(
        self, x: np.ndarray, moments: np.ndarray, gamma: np.ndarray, scratch: np.ndarray
    ) -> None:
        """A BatchNorm with a 2x2 pooling behind it, on pictures x of even sizes."""
        N, H, W, C = x.shape
        window, shape = Window(2, 2, 2, 2, 0, 0, 0, 0), (N, H // 2, W // 2, C)
        y, argmax, dx = self._normal(*shape), np.zeros(shape, np.int32), np.empty_like(x)
        self.add("batch_norm_maxpool2d_forward", "conv1", x, gamma, window, scratch, y, argmax)
        given = (x, y, argmax, window, moments, gamma, 1e-5, gamma, gamma, x[..., 0].size)
        self.add("batch_norm_maxpool2d_backward_input", "conv1", *given, scratch, dx)

    def windows(self) -> None:
        """Those of DS-CNN (keyword spotting): pictures of 25x5x64, depthwise 3x3, then the mean."""
        x, w = self._normal(N_IMAGES, 25, 5, 64), self._normal(3, 3, 64, 1)
        dy, dw, b, dx = (np.zeros_like(a) for a in (x, w, w[0, 0, :, 0], x))
        window = Window(3, 3, 1, 1, 1, 1, 1, 1)
        macs = N_IMAGES * 64 * taps_inside(25, 1, 1, 3, 25) * taps_inside(5, 1, 1, 3, 5)
        self.add("depthwise_conv2d_forward", "", x, w, b, window, dy, macs=macs)
        self.add("depthwise_conv2d_backward_params", "", x, dy, window, dw, b.copy(), macs=macs)
        self.add("depthwise_conv2d_backward_input", "", dy, w, window, dx, macs=macs)
        picture, mean = Window(25, 5, 1, 1, 0, 0, 0, 0), self._normal(N_IMAGES, 1, 1, 64)
        self.add("averagepool2d_forward", "", x, picture, 0, mean)
        self.add("averagepool2d_backward", "", mean, picture, 0, dx)

    def winograd_3x3(self) -> None:
        """A convolution of 24x24x32 to as many filters, with tiles of 4x4 and of 2x2; macs are
        those of the direct one."""
        from tinycnn.kernels.conv2d_winograd_3x3_tiles import scratch_size, weights_size

        size, C = 24, 32
        x, w, b = self._normal(N_IMAGES, size, size, C), self._normal(3, 3, C, C), self._normal(C)
        dy, dx, dw, w_t = self._normal(*x.shape), x.copy(), w.copy(), w.transpose(3, 0, 1, 2).copy()
        window, winners = Window(3, 3, 1, 1, 1, 1, 1, 1), np.zeros((0, 0, 0, 0), np.int32)
        macs = N_IMAGES * C * C * taps_inside(size, 1, 1, 3, size) ** 2
        stem = "conv2d_winograd_3x3"
        for m in (4, 2):
            layer = f"F({m}x{m})"
            u, exchanged = (np.zeros(weights_size(m, C, C), np.float32) for _ in range(2))
            scratch = np.zeros(scratch_size(m, C, C), np.float32)
            self.add(f"{stem}_weights", layer, w, m, 0, u)
            self.add(f"{stem}_weights", f"{layer}, exchanged", w, m, 1, exchanged)
            forward = (x, w, u, b, window, m, 0, 1, scratch, dy.copy(), winners)
            self.add(f"{stem}_forward", layer, *forward, macs=macs)
            backward = (x, dy, w_t, exchanged, window, m, scratch, dw, b.copy(), dx)
            self.add(f"{stem}_backward", layer, *backward, macs=2 * macs)

    def few_filters(self) -> None:
        """The first convolution of LeNet-5, with its pooling."""
        from tinycnn.kernels.conv2d_columns import scratch_size

        x, w, b = self._normal(N_IMAGES, 28, 28, 1), self._normal(5, 5, 1, 6), self._normal(6)
        record = SimpleNamespace(conv_OH=28, conv_OW=28, C=1, F=6, KH=5, KW=5, SH=1)
        scratch, y = (
            np.zeros(scratch_size(record, 4), np.float32),
            self._normal(N_IMAGES, 14, 14, 6),
        )
        macs = N_IMAGES * 6 * taps_inside(28, 1, 2, 5, 28) ** 2
        arguments = (x, w, b, Window(5, 5, 1, 1, 2, 2, 2, 2), 1, 1, scratch, y)
        self.add("conv2d_columns_forward", "LeNet-5 conv1", *arguments, macs=macs)

    def depthwise_3x3(self) -> None:
        """The depthwise convolution of `windows`, as it is done with stride 1."""
        from tinycnn.kernels.depthwise_conv2d_3x3 import scratch_size

        (H, W, C), stem = (25, 5, 64), "depthwise_conv2d_3x3"
        x, w, b = self._normal(N_IMAGES, H, W, C), self._normal(3, 3, C, 1), self._normal(C)
        dy, dx, dw = self._normal(*x.shape), x.copy(), w.copy()
        shape = SimpleNamespace(H=H, W=W, OH=H, OW=W, C=C)
        scratch = np.zeros(scratch_size(shape), np.float32)
        window = Window(3, 3, 1, 1, 1, 1, 1, 1)
        macs = N_IMAGES * C * taps_inside(H, 1, 1, 3, H) * taps_inside(W, 1, 1, 3, W)
        self.add(f"{stem}_forward", "", x, w, b, window, 1, dy.copy(), macs=macs)
        params = (x, dy, window, scratch, dw, b.copy())
        self.add(f"{stem}_backward_params", "", *params, macs=macs)
        self.add(f"{stem}_backward_input", "", dy, w, window, scratch, dx, macs=macs)
        # of MobileNetV1 0.25, with stride 2
        (H, W, C), window = (48, 48, 16), Window(3, 3, 2, 2, 0, 0, 1, 1)
        x, w, b = self._normal(N_IMAGES, H, W, C), self._normal(3, 3, C, 1), self._normal(C)
        y = self._normal(N_IMAGES, H // 2, W // 2, C)
        macs = N_IMAGES * C * taps_inside(H, 2, 0, 3, H // 2) * taps_inside(W, 2, 0, 3, W // 2)
        self.add(f"{stem}_forward", "stride 2", x, w, b, window, 1, y, macs=macs)

    def _normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def optimizers(self) -> None:
        p, g, m, v = (np.zeros(self.plan.n_parameter_slots, np.float32) for _ in range(4))
        g[:] = self.rng.normal(size=g.size)
        self.add("adam_update", "", p, g, m, v, 1, 1e-4, 0.9, 0.999, 1e-8, 0.0, False)
        self.add("sgd_update", "", p, g, m, 1e-4, 0.9, 0.0, False)
        b = np.zeros_like(p)
        self.add("rmsprop_update", "", p, g, m, v, b, 1e-4, 0.9, 0.0, (1e-7, 0.0), 0.0, False)
