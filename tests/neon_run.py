"""Runs kernels in ARM code (AArch64, NEON) under QEMU, and compares them with the reference.

    python tests/neon_run.py conv2d_forward dense_forward       # all without names; minutes

Prints a line of JSON for each kernel: {kernel: largest difference / largest value}, where values
below 1 count as 1.  A kernel is compiled with the settings of an ARM host (TINYCNN_TILE=128:6x2);
its LLVM IR is then compiled for AArch64, linked with a C program that has its arguments, and run
by qemu-aarch64.  Needs aarch64-linux-gnu-gcc, qemu-aarch64 and an empty TINYCNN_CACHE_DIR, for
cached code has no IR.  Not among these kernels: sums of 8-bit integers, and the backward passes
that are fused with a max-pooling.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import tile_check

from tinycnn import kernels, reference, reference_optimizers
from tinycnn.plan import Window

TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
WINDOW = Window(3, 2, 2, 1, 1, 0, 0, 1)
N, H, W, C, F = 3, 7, 6, 5, 13
OH, OW = 4, 6


def values(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def simple_arguments():
    """Kernel -> its arguments; (inputs, outputs)."""
    x, y = values(N, H, W, C), values(N, OH, OW, F)
    w, b, pooled = values(3, 2, C, F), values(F), values(N, OH, OW, C)
    argmax = np.zeros(pooled.shape, np.int32)
    reference.maxpool2d_forward(x, WINDOW, pooled, argmax)
    rows, m = values(N, 37), values(37, 19)
    deep, deep_w = values(N, OH, OW, 2 * C), values(3, 2, C, 2)
    flat, pixels = x.ravel(), x.reshape(-1, C)
    slopes, labels = values(C) / 4, np.array([3, 0, 17], np.int64)
    like_x = (values(*x.shape),)
    return {
        "dense_forward": ((rows, m, values(19)), (values(N, 19),)),
        "dense_backward_params": ((rows, values(N, 19)), (values(37, 19), values(19))),
        "dense_backward_input": (
            (values(N, 19), m.T.copy()[None]),
            (values(N, 37),),
        ),
        "conv2d_forward": ((x, w, b, WINDOW), (y,)),
        "conv2d_backward_params": ((x, y, WINDOW), (values(*w.shape), values(F))),
        "conv2d_backward_input": ((y, values(F, 3, 2, C), WINDOW), like_x),
        "depthwise_conv2d_forward": ((x, deep_w, values(2 * C), WINDOW), (deep,)),
        "depthwise_conv2d_backward_params": (
            (x, deep, WINDOW),
            (values(*deep_w.shape), values(2 * C)),
        ),
        "depthwise_conv2d_backward_input": ((deep, deep_w, WINDOW), like_x),
        "maxpool2d_forward": ((x, WINDOW), (values(*pooled.shape), argmax)),
        "maxpool2d_backward": ((pooled, argmax), like_x),
        "averagepool2d_forward": ((x, WINDOW, 0), (values(*pooled.shape),)),
        "averagepool2d_backward": ((pooled, WINDOW, 1), like_x),
        "relu_forward": ((flat,), (values(flat.size),)),
        "relu_backward": ((flat, values(flat.size)), (values(flat.size),)),
        "leaky_relu_forward": ((flat, 0.125), (values(flat.size),)),
        "sigmoid_forward": ((flat,), (values(flat.size),)),
        "tanh_forward": ((flat,), (values(flat.size),)),
        "add_forward": ((flat, values(flat.size), 1), (values(flat.size),)),
        "prelu_forward": ((pixels, slopes), (values(*pixels.shape),)),
        "scale_shift_forward": (
            (pixels, slopes, values(C), 0),
            (values(2, C), values(*pixels.shape)),
        ),
        "softmax_forward": ((values(N, 19), 2.0), (values(N, 19),)),
        "cross_entropy_hard": ((values(N, 19), labels), (values(N), values(N, 19))),
    }


def elementwise_arguments():
    """Kernel -> its arguments, of activations, layouts and losses."""
    x, y, dy, out = values(41), values(42)[1:].copy(), values(43)[2:].copy(), values(44)[3:].copy()
    pixels, dpixels, like_pixels = values(9, 13), values(10, 13)[1:].copy(), values(9, 13)
    alpha, sums, more = values(13), values(14)[1:].copy(), values(15)[2:].copy()
    z, v = values(N, 19), values(N + 1, 19)[1:].copy()
    targets, labels = np.abs(v) / np.abs(v).sum(1, keepdims=True), np.array([3, 0, 17], np.int64)
    loss, dz = values(N + 2)[2:].copy(), values(N + 3, 19)[3:].copy()
    mask = (np.arange(3 * 13).reshape(3, 13) % 3 > 0).astype(np.float32) * 1.5
    rows = pixels.reshape(3, 3, 13)
    images = np.arange(2 * 5 * 7 * 1, dtype=np.uint8).reshape(2, 5, 7, 1)
    square, scaled = [np.zeros((N, 19), np.float32) for _ in range(3)], np.zeros(images.shape)
    mean_and_std = np.array([[7.0], [2.5]])
    return {
        "clipped_relu_forward": (x, 0.75, out),
        "clipped_relu_backward": (np.clip(y, 0, 0.75), 0.75, dy, out),
        "leaky_relu_backward": (y, 0.125, dy, out),
        "sigmoid_backward": (y, dy, out),
        "tanh_backward": (y, dy, out),
        "dropout_forward": (rows, mask, np.zeros_like(rows)),
        "dropout_backward": (rows, mask, np.zeros_like(rows)),
        "prelu_backward_params": (pixels, dpixels, sums),
        "prelu_backward_input": (pixels, alpha, dpixels, like_pixels),
        "scale_shift_backward_params": (pixels, dpixels, sums, more),
        "scale_shift_backward_input": (dpixels, alpha, like_pixels),
        "dense_transpose_weights": (values(18, 5), values(3, 5, 6)),
        "conv2d_transpose_weights": (values(3, 2, 5, 13), values(13, 3, 2, 5)),
        "conv2d_transpose_weights_back": (values(13, 3, 2, 5), values(3, 2, 5, 13)),
        "log_softmax_forward": (z, 2.0, dz),
        "cross_entropy_soft": (z, targets, loss, dz),
        "distillation": (z, targets, v, 4.0, 0.7, 16.0, loss, dz),
        "decoupled_distillation": (z, labels, v, 4.0, 1.0, 8.0, 1.0, loss, dz),
        "relation_distillation": (z, v, 4.0, 1.0, 1.0, 1.0, *square, loss, dz),
        "scale_images": (images, 0, mean_and_std, scaled.astype(np.float32)),
    }


def batch_norm_arguments():
    """Kernel -> its arguments, for P = 42 values of 13 channels in two parts."""
    P, C = 42, 13
    x, dy, scratch = values(P, C), values(P + 1, C)[1:].copy(), np.zeros((5, C), np.float32)
    moments, parts = np.zeros((2, C)), np.zeros((2, 2, C))
    gamma, beta = values(C), values(C + 1)[1:].copy()
    for part, rows in zip(parts, (x[: P // 2], x[P // 2 :])):
        reference.batch_norm_moments(rows, 0, scratch, part)
    reference.batch_norm_moments(x, 0, scratch, moments)
    dgamma, dbeta = values(C + 2)[2:].copy(), values(C + 3)[3:].copy()
    ones = np.ones(C, np.float32)
    return {
        "batch_norm_moments": (x, 0, scratch, np.zeros((2, C))),
        "batch_norm_combine": (parts, P, P // 2, np.zeros((2, C))),
        "batch_norm_update_running": (moments, P, 0.9, 1, np.zeros(C, np.float32), ones),
        "batch_norm_forward": (x, moments, gamma, beta, 1e-3, 1, scratch, np.zeros_like(x)),
        "batch_norm_backward_params": (
            *(x, dy, moments, gamma, beta, 1e-3, 1, 1, scratch),
            *(np.zeros(C, np.float32), np.zeros(C, np.float32)),
        ),
        "batch_norm_backward_input": (
            *(x, dy, moments, gamma, beta, 1e-3, 1, dgamma, dbeta, P, scratch),
            np.zeros_like(x),
        ),
    }


def optimizer_arguments():
    parameters, gradients = values(61), values(62)[1:].copy()
    slots = [np.abs(values(61 + k)[k:]).copy() for k in range(2, 5)]
    return {
        "adam_update": (parameters, gradients, *slots[:2], 3, 0.01, 0.9, 0.999, 1e-8, 0.1, True),
        "sgd_update": (parameters, gradients, slots[0], 0.01, 0.9, 0.1, True),
        "rmsprop_update": (
            *(parameters, gradients, slots[0], gradients / 8, slots[1]),
            *(0.01, 0.9, 0.5, (0.0, 1e-7), 0.1, False),
        ),
    }


class Recorder:
    """Stands for the kernels: keeps the arguments of the first call of each, and lets the reference
    compute."""

    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.setdefault(name, [copied(argument) for argument in arguments])
            getattr(reference, name)(*arguments)

        return call


def convolution_arguments():
    """Kernel -> its arguments, for convolutions by Winograd's algorithm and depthwise ones of 3x3
    taps, as tile_check.py calls them."""
    found, place = {}, tile_check.ordinary
    for part, number in (("one channel", 0), ("more", 2)):
        _, *of_an_image = tile_check.WINOGRAD_CONVOLUTIONS[number]
        H, W, C, F, K, *_ = of_an_image
        recorder = Recorder()
        x, w, b = values(1, H, W, C), values(K, K, C, F), values(F)
        tile_check.winograd_pass(recorder, place, (1, *of_an_image), x, w, b)
        found |= {f"{name}, {part}": call for name, call in recorder.calls.items()}
    for m in (2, 4):
        recorder = Recorder()
        dy = values(2, 9, 11, 13)
        tile_check.winograd_3x3_passes(
            recorder, place, m, values(2, 9, 11, 5), values(3, 3, 5, 13), values(13), dy
        )
        found |= {f"{name}, m = {m}": call for name, call in recorder.calls.items()}
    recorder = Recorder()
    tile_check.depthwise_3x3_passes(
        recorder, place, values(2, 9, 11, 16), values(3, 3, 16, 1), values(16)
    )
    x, w, b = values(2, 9, 11, 1), values(5, 5, 1, 6), values(6)
    window, *n_out = tile_check.make_window(9, 11, 5, 1)
    tile_check.few_filters_passes(recorder, place, x, w, b, window, n_out)
    return found | recorder.calls


def arguments():
    """Kernel -> its arguments.  Behind a comma: which case of it."""
    simple = {name: [*inputs, *outputs] for name, (inputs, outputs) in simple_arguments().items()}
    simple |= elementwise_arguments() | batch_norm_arguments() | optimizer_arguments()
    return simple | convolution_arguments()


def copied(argument):
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def machine():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    return target.create_target_machine(cpu="generic", features="+neon", opt=3, reloc="static")


def kernel_of(name):
    """The kernel, from the file that defines it."""
    for path in Path(kernels.__file__).parent.glob("*.py"):
        if f"\ndef {name}(" in path.read_text(encoding="utf-8"):
            return getattr(import_module(f"tinycnn.kernels.{path.stem}"), name)
    raise KeyError(name)


def on_arm(name, given, printed):
    """What a kernel in ARM code leaves in those of its arguments that are printed, as bytes."""
    kernel = kernel_of(name)
    kernel(*map(copied, given))
    signature = kernel.signatures[-1]
    symbol = kernel.overloads[signature].fndesc.llvm_func_name
    ir = re.sub(r"^target (triple|datalayout).*\n", "", kernel.inspect_llvm(signature), flags=re.M)
    # Numba's wrapper around the kernel uses an x86 instruction to count references.
    ir = re.sub(r"@llvm[.]x86[.]([a-z0-9.]*)", r'@"x86_\1"', ir).replace("immarg", "")
    compiler = machine()
    module = llvm.parse_assembly(ir)
    module.triple, module.data_layout = compiler.triple, str(compiler.target_data)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.o").write_bytes(compiler.emit_object(module))
        Path(folder, "main.c").write_text(program(symbol, given, printed, Path(folder)))
        link = ["-static", "-Wl,--unresolved-symbols=ignore-all", "main.c", "kernel.o", "-lm"]
        for command in (
            ["aarch64-linux-gnu-gcc", "-O1", *link, "-o", "run"],
            ["qemu-aarch64", "run"],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout


def program(symbol, given, printed, folder):
    """The C program: a call with Numba's arguments, which are numbers and the fields of arrays."""
    kinds, passed, declared, prints = ["void *", "void *"], ["&result", "&error"], [], []
    for k, argument in enumerate(given):
        if isinstance(argument, np.ndarray):
            Path(folder, f"a{k}").write_bytes(argument.tobytes())
            declared.append(
                f'__asm__(".data\\n.balign 64\\n.globl a{k}\\na{k}: .incbin \\"a{k}\\"\\n.text");'
            )
            declared.append(f"extern char a{k}[];")
            numbers = [argument.size, argument.itemsize]
            kinds += ["void *", "void *", "long", "long", "void *"]
            passed += ["0", "0", *map(str, numbers), f"a{k}"]
            kinds += ["long"] * (2 * argument.ndim)
            passed += [f"{n}L" for n in (*argument.shape, *argument.strides)]
            if k in printed:
                prints.append(f"fwrite(a{k}, 1, {argument.nbytes}, stdout);")
        else:
            numbers = argument if isinstance(argument, tuple) else (argument,)
            kinds += ["double" if isinstance(n, float) else "long" for n in numbers]
            passed += [str(n if isinstance(n, float) else int(n)) for n in numbers]
    newline = "\n"
    return f"""\
#include <stdio.h>
{newline.join(declared)}
/* Numba's own function for views of arrays; all arrays here are contiguous. */
int numba_attempt_nocopy_reshape(long n, const long *shape, const long *strides, long n_new,
                                 const long *new_shape, long *new_strides, long itemsize, int order)
{{
    (void)n, (void)shape, (void)strides, (void)order;
    for (long k = n_new - 1; k >= 0; k--) {{
        new_strides[k] = itemsize;
        itemsize *= new_shape[k];
    }}
    return 1;
}}

int kernel({", ".join(kinds)}) __asm__("{symbol}");
int main(void)
{{
    void *result = 0, *error = 0;
    if (kernel({", ".join(passed)}) != 0)
        return 3;
    {" ".join(prints)}
    return 0;
}}
"""


def error_of(name, given):
    """The largest difference from the reference in NumPy, over its largest value, in the arrays
    that the reference changes."""
    kernel = name.partition(",")[0]
    expected = [copied(argument) for argument in given]
    owner = reference_optimizers if kernel.endswith("_update") else reference
    getattr(owner, kernel)(*expected)
    changed = [
        k
        for k, (one, before) in enumerate(zip(expected, given))
        if isinstance(one, np.ndarray) and one.tobytes() != before.tobytes()
    ]
    assert changed, name
    content, errors = on_arm(kernel, given, changed), []
    for one in (expected[k] for k in changed):
        found = np.frombuffer(content[: one.nbytes], one.dtype).reshape(one.shape)
        content = content[one.nbytes :]
        errors.append(float(np.abs(found - one).max() / max(np.abs(one).max(), 1)))
    return max(errors)


if __name__ == "__main__":
    known = arguments()
    for name in sys.argv[1:] or known:
        print(json.dumps({name: error_of(name, known[name])}), flush=True)
