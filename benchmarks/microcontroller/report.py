"""python -m benchmarks microcontroller: flash, memory and instructions on emulated boards."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import tinycnn
from tinycnn.export import c_file
from tinycnn.quantized.network import QuantizedNetwork

from .boards import BOARDS, Result, drawn_images, run

HEADER = (
    "| processor | flash, bytes | static memory, bytes | stack, bytes | instructions for an image "
    "| instructions for a multiply-add |"
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks microcontroller",
        description="Flash, memory and instructions of a network in integers alone on boards that "
        "QEMU emulates.  An emulator counts instructions, not cycles.",
    )
    parser.add_argument(
        "--model",
        default="microexpnet",
        help="a network that comes with tinycnn (default: %(default)s)",
    )
    parser.add_argument(
        "--optimise",
        choices=("2", "3", "s"),
        default="2",
        help="the compiler's option -O (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    network = tinycnn.load_pretrained(options.model, backend="numpy")
    images = drawn_images(5, network.input_spec.shape)
    quantized = network.quantized(images)
    results: dict[str, Result] = {}
    for name, board in BOARDS.items():
        if board.missing:
            print(f"{board.processor}: not installed: {', '.join(board.missing)}", file=sys.stderr)
            continue
        results[name] = measured(quantized, name, f"-O{options.optimise}")
    n_multiply_adds = network.summary().rows[-1][4]
    print(table(results, n_multiply_adds))
    return 0


def measured(quantized: QuantizedNetwork, name: str, optimisation: str) -> Result:
    """Runs the network on a board; raises RuntimeError unless it computes NumPy's integers."""
    with tempfile.TemporaryDirectory() as folder:
        c_file.write(quantized, folder, "net", integer_only=True)
        found = run(BOARDS[name], Path(folder), optimisation=optimisation)
    images = drawn_images(1, quantized.input_spec.shape)
    if not np.array_equal(found.logits, quantized.predict_integer_logits(images).values):
        raise RuntimeError(f"{BOARDS[name].processor} computed other integers than NumPy")
    return found


def table(results: Mapping[str, Result], n_multiply_adds: int) -> str:
    """In Markdown, a row for each board."""
    rows = [HEADER, "|" + "---|" * 6]
    for name, found in results.items():
        sizes = (found.n_flash_bytes, found.n_ram_bytes, found.n_stack_bytes)
        counts = ["-", "-"]
        if found.n_instructions:
            ratio = found.n_instructions / n_multiply_adds
            counts = [f"{found.n_instructions:,}", f"{ratio:.2f}"]
        cells = [BOARDS[name].processor, *(f"{n:,}" for n in sizes), *counts]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
