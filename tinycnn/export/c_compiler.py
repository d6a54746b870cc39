"""Compiles a C program of `c_file.py` and runs it on images, for the check against the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..formats.agreement import ExportError
from ..network import Network
from ..quantized.network import QuantizedNetwork

TIMEOUT_S = 300


def compiler() -> str | None:
    """$CC, cc, gcc or clang: the first that this machine has."""
    for candidate in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if candidate and shutil.which(candidate):
            return candidate
    return None


_MAIN = """\
#include "{name}.h"
#include <stdio.h>
int main(void)
{{
    static uint8_t image[{n_bytes}];
    static {kind} answer[{n_classes}];
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {{
{calls}
    }}
    return 0;
}}
"""
_CALL = """\
        {function}(image, answer);
        fwrite(answer, 1, sizeof answer, stdout);"""


def run(
    compiler_name: str,
    network: Network | QuantizedNetwork,
    name: str,
    source: str,
    header: str,
    images: np.ndarray,
    integer_only: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(logits, probabilities) that the program computes, compiled with `compiler_name`.  A program
    in integers alone has int32 logits, and no probabilities: (N, 0)."""
    n_classes = len(network.classes)
    functions = [f"{name}_logits", f"{name}_probabilities"][: 1 if integer_only else 2]
    main = _MAIN.format(
        name=name,
        n_bytes=images[0].size,
        n_classes=n_classes,
        kind="int32_t" if integer_only else "float",
        calls="\n".join(_CALL.format(function=function) for function in functions),
    )
    with tempfile.TemporaryDirectory() as folder:
        contents = {f"{name}.c": source, f"{name}.h": header, "check_main.c": main}
        for file_name, content in contents.items():
            Path(folder, file_name).write_text(content, encoding="utf-8")
        program = str(Path(folder, "check.out"))
        command = [compiler_name, "-std=c99", "-O2", f"{name}.c", "check_main.c", "-o", program]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT_S)
            if done.returncode == 0:
                given = images.tobytes()
                done = subprocess.run(
                    [program], cwd=folder, input=given, capture_output=True, timeout=TIMEOUT_S
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(
                f"{name}.c: it could not be checked with {compiler_name}: {error}"
            ) from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise ExportError(
            f"{name}.c: {compiler_name} does not compile it, or it does not run: {first}"
        )
    answers = np.frombuffer(done.stdout, np.int32 if integer_only else np.float32)
    n_each = len(functions) * n_classes
    if answers.size != len(images) * n_each:
        expected = len(images) * n_each
        raise ExportError(f"{name}.c: it gave {answers.size} numbers; expected {expected}")
    answers = answers.reshape(len(images), n_each)
    return answers[:, :n_classes], answers[:, n_classes:]
