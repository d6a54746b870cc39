"""Runs kernels in ARM code (AArch64, NEON) under QEMU, and compares them with the reference.

    python tests/neon_run.py conv2d_forward dense_forward       # all without names; minutes

Prints a line of JSON for each kernel: {kernel: largest difference / largest value}, where values
below 1 count as 1.  A kernel is compiled with the settings of an ARM host (TINYCNN_TILE=128:6x2);
its LLVM IR is then compiled for AArch64, linked with a C program that has its arguments, and run
by qemu-aarch64.  Needs aarch64-linux-gnu-gcc, qemu-aarch64 and an empty TINYCNN_CACHE_DIR, for
cached code has no IR.  Winograd's and 3x3 depthwise convolutions, BatchNorm, optimizers and int8
sums are not among these kernels.
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

from tinycnn import reference
from tinycnn.plan import Window

TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
WINDOW = Window(3, 2, 2, 1, 1, 0, 0, 1)
N, H, W, C, F = 3, 7, 6, 5, 13
OH, OW = 4, 6


def values(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def arguments():
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
        "dense_backward_input": ((values(N, 19), np.ascontiguousarray(m.T)), (values(N, 37),)),
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
        "add_forward": ((flat, values(flat.size)), (values(flat.size),)),
        "prelu_forward": ((pixels, slopes), (values(*pixels.shape),)),
        "scale_shift_forward": ((pixels, slopes, values(C)), (values(*pixels.shape),)),
        "softmax_forward": ((values(N, 19), 2.0), (values(N, 19),)),
        "cross_entropy_hard": ((values(N, 19), labels), (values(N), values(N, 19))),
    }


def machine():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    return target.create_target_machine(cpu="generic", features="+neon", opt=3, reloc="static")


def kernel_of(name):
    """The kernel, from the file that is called like its operation."""
    files = ("cross_entropy", *(name.rsplit("_", k)[0] for k in (1, 2)))
    for file in files:
        try:
            return getattr(import_module(f"tinycnn.kernels.{file}"), name)
        except (ImportError, AttributeError):
            continue
    raise KeyError(name)


def on_arm(name, given):
    """The outputs (as bytes, one after another) of a kernel in ARM code."""
    inputs, outputs = given
    kernel = kernel_of(name)
    kernel(*inputs, *(output.copy() for output in outputs))
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
        Path(folder, "main.c").write_text(program(symbol, inputs, outputs, Path(folder)))
        link = ["-static", "-Wl,--unresolved-symbols=ignore-all", "main.c", "kernel.o", "-lm"]
        for command in (
            ["aarch64-linux-gnu-gcc", "-O1", *link, "-o", "run"],
            ["qemu-aarch64", "run"],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout


def program(symbol, inputs, outputs, folder):
    """The C program: a call with Numba's arguments, which are numbers and the fields of arrays."""
    kinds, passed, declared, printed = ["void *", "void *"], ["&result", "&error"], [], []
    for k, argument in enumerate((*inputs, *outputs)):
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
            if k >= len(inputs):
                printed.append(f"fwrite(a{k}, 1, {argument.nbytes}, stdout);")
        else:
            numbers = argument if isinstance(argument, tuple) else (argument,)
            kinds += ["double" if isinstance(n, float) else "long" for n in numbers]
            passed += [str(n) for n in numbers]
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
    {" ".join(printed)}
    return 0;
}}
"""


def error_of(name, given):
    """The largest difference from the reference in NumPy, over its largest value."""
    inputs, outputs = given
    printed, errors = on_arm(name, given), []
    expected = [output.copy() for output in outputs]
    getattr(reference, name)(*inputs, *expected)
    for one in expected:
        found = np.frombuffer(printed[: one.nbytes], one.dtype).reshape(one.shape)
        printed = printed[one.nbytes :]
        errors.append(float(np.abs(found - one).max() / max(np.abs(one).max(), 1)))
    return max(errors)


if __name__ == "__main__":
    known = arguments()
    for name in sys.argv[1:] or known:
        print(json.dumps({name: error_of(name, known[name])}), flush=True)
