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
    static float answer[{n_classes}];
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {{
        {name}_logits(image, answer);
        fwrite(answer, 1, sizeof answer, stdout);
        {name}_probabilities(image, answer);
        fwrite(answer, 1, sizeof answer, stdout);
    }}
    return 0;
}}
"""


def run(
    compiler_name: str,
    network: Network | QuantizedNetwork,
    name: str,
    source: str,
    header: str,
    images: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(logits, probabilities) that the program computes, compiled with `compiler_name`."""
    n_classes = len(network.classes)
    main = _MAIN.format(name=name, n_bytes=images[0].size, n_classes=n_classes)
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
    answers = np.frombuffer(done.stdout, np.float32)
    expected = len(images) * 2 * n_classes
    if answers.size != expected:
        raise ExportError(f"{name}.c: it gave {answers.size} numbers; expected {expected}")
    answers = answers.reshape(len(images), 2, n_classes)
    return answers[:, 0], answers[:, 1]
