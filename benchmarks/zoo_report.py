"""The comparison on the zoo in short: a table of ratios for each number of threads, as text or as
Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .engine_comparison import TASKS
from .measures import OURS
from .table import render, significant
from .zoo_networks import ZOO

TITLES = {
    ("forward", 1): "forward, 1 image",
    ("forward", 64): "forward, 64 images",
    ("train", 64): "training step, 64 images",
}

NAMES = {
    "litert": "LiteRT",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
    "torch nhwc": "PyTorch (channels last)",
    "jax": "JAX",
}
"""Engines in the tables of README."""

BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"
"""The lines of a Markdown file between which the tables are written."""

NOT_QUIET = (
    "**The machine was not quiet**, as the control measurement showed: single numbers may "
    "be wrong by half."
)

Row = Mapping[str, Any]


class NoSuchPlace(ValueError):
    """A file has no place for the tables; the message says what is missing."""


def geometric_means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each number of threads and task: the geometric mean of the ratios of all networks."""
    means = []
    for threads in sorted({row["threads"] for row in rows}):
        for task, batch in TASKS:
            ratios = [
                row["ratio_to_fastest_peer"]
                for row in rows
                if (row["threads"], row["task"], row["batch"]) == (threads, task, batch)
                and row["ratio_to_fastest_peer"] is not None
            ]
            if ratios:
                mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
                means.append(
                    {"threads": threads, "task": task, "batch": batch, "ratio": mean}
                    | {"n_networks": len(ratios)}
                )
    return means


def tables(found: Mapping[str, Any]) -> list[tuple[int, list[str], list[list[str]]]]:
    """(threads, header, rows of cells) for each number of threads.  A cell has our time, the ratio
    to the fastest peer and its name; the last column our largest error in a forward pass."""
    result = []
    for threads in sorted({row["threads"] for row in found["rows"]}):
        of_threads = [row for row in found["rows"] if row["threads"] == threads]
        lines = []
        for name in dict.fromkeys(row["network"] for row in of_threads):
            own = {(r["task"], r["batch"]): r for r in of_threads if r["network"] == name}
            cells = [_cell(own.get(task)) for task in TASKS]
            lines.append([ZOO[name].title, *cells, _error(list(own.values()))])
        means = {(m["task"], m["batch"]): f"{m['ratio']:.2f}" for m in geometric_means(of_threads)}
        lines.append(["geometric mean", *(means.get(task, "-") for task in TASKS), ""])
        result.append((threads, ["", *(TITLES[task] for task in TASKS), "error"], lines))
    return result


def _cell(row: Row | None) -> str:
    if row is None or row["ours_s"] is None:
        return "-"
    ours = f"{significant(row['ours_s'] * 1e3)} ms"
    if row["ratio_to_fastest_peer"] is None:
        return ours
    peer = NAMES.get(row["fastest_peer"], row["fastest_peer"])
    return f"{ours}; {row['ratio_to_fastest_peer']:.2f}, {peer}"


def _error(rows: Sequence[Row]) -> str:
    errors = [
        row["ours_error"]
        for row in rows
        if row["task"] == "forward" and row["ours_error"] is not None
    ]
    return f"{max(errors):.0e}" if errors else "-"


MEANING = (
    "tinycnn's median time; the fastest other engine's time / ours (above 1 tinycnn is faster), "
    "and its name; error: tinycnn's largest error of a forward pass against the float64 reference"
)


def text(found: Mapping[str, Any]) -> str:
    """The tables, what was left out, and what is compared."""
    lines = []
    for threads, header, rows in tables(found):
        lines += ["", f"{threads} thread{'s' if threads > 1 else ''}", render(header, rows)]
    lines += [MEANING]
    lines += [f"geometric mean: of the ratios of {_n_networks(found)} networks"]
    if found["without_time"]:
        names = ",".join(found["without_time"])
        lines += [f"left out for want of time: {names}; measure them with --networks {names}"]
    return "\n".join(lines)


def _n_networks(found: Mapping[str, Any]) -> int:
    return len({row["network"] for row in found["rows"]})


def markdown(found: Mapping[str, Any], machine: str, quiet: bool) -> str:
    """The tables for README.  machine: the processor and so on;  quiet: as the control says."""
    lines = []
    for threads, header, rows in tables(found):
        header = [f"{threads} thread{'s' if threads > 1 else ''}", *header[1:]]
        lines += ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    engines = {NAMES.get(n, n): v for n, v in found["engines"].items() if n != OURS}
    named = ", ".join(
        f"{name} {version.split('-')[0]}".strip() for name, version in engines.items()
    )
    weights = ", ".join(sorted(set(found["weights"].values())))
    lines += [f"Each cell: {MEANING}.", ""]
    lines += [f"Measured on {machine}, with {named}; weights: {weights}."]
    if not quiet:
        lines[-1] += f" {NOT_QUIET}"
    if found["without_time"]:
        lines[-1] += f" Not measured: {', '.join(found['without_time'])}."
    return "\n".join(lines)


def check_place(path: Path) -> tuple[str, str]:
    """What stands in the file up to BEGIN and from END on.  Raises NoSuchPlace; OSError."""
    content = path.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise NoSuchPlace(f"--markdown {path}: expected one line {BEGIN} and one line {END} in it")
    before, rest = content.split(BEGIN)
    if END not in rest:
        raise NoSuchPlace(f"--markdown {path}: expected the line {END} behind {BEGIN}")
    return before + BEGIN, END + rest.split(END)[1]


def write(path: Path, tables_text: str) -> None:
    """Replace what stands between BEGIN and END in a file.  Errors as `check_place`."""
    before, after = check_place(path)
    path.write_text(f"{before}\n\n{tables_text}\n\n{after}", encoding="utf-8")
