"""Runs the engines of a page with node on images, for the check against the network."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...formats.agreement import ExportError
from ...ground.package_files import package_text

TIMEOUT_S = 120
OLDEST = 16
"""The first release of node that runs the vector instructions of WebAssembly."""


class Answers(NamedTuple):
    """What an engine of the page computes: (N, K) each."""

    logits: np.ndarray
    probs: np.ndarray


def node() -> str | None:
    """The node of this machine, with its version: "node v20.1.0"; None without one of OLDEST or
    later."""
    if shutil.which("node") is None:
        return None
    try:
        done = subprocess.run(
            ["node", "--version"], capture_output=True, encoding="utf-8", timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.fullmatch(r"v(\d+)\.[\w.-]+", done.stdout.strip())
    return f"node {version[0]}" if version and int(version[1]) >= OLDEST else None


def run(name: str, page: str, images: np.ndarray, n_classes: int) -> list[Answers]:
    """The answers of the page's engine with vector instructions and of the one without.

    name  what `node` returned, for messages;  page: its text;  images: uint8 (N, H, W, C)
    """
    with tempfile.TemporaryDirectory() as folder:
        script = package_text(__package__, "node_check.js")
        for file_name, text in (("page.html", page), ("node_check.js", script)):
            Path(folder, file_name).write_text(text, encoding="utf-8")
        Path(folder, "images").write_bytes(np.ascontiguousarray(images).tobytes())
        command = ["node", "node_check.js", "page.html", "images", str(images[0].size)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(f"the page could not be checked with {name}: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        first = next((line for line in lines if "Error" in line), lines[-1])
        raise ExportError(f"the page does not run with {name}: {first}")
    numbers = np.frombuffer(done.stdout, "<f4")
    if numbers.size != 2 * len(images) * 2 * n_classes:
        raise ExportError(f"the page gave {numbers.size} numbers with {name}")
    both = numbers.reshape(2, len(images), 2, n_classes)
    return [Answers(answers[:, 0], answers[:, 1]) for answers in both]
