"""Prediction in 8-bit integers against prediction in float32, and against ONNX Runtime's integers.

    python -m benchmarks int8 [NETWORK ...] [--batch N] [--rounds N]

On one core.  The engines take turns in every round; ONNX Runtime (if it is installed) runs the
model that tinycnn exports, after its logits were compared.  All get scaled images in float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from tinycnn.network import Network
from tinycnn.quantized.network import QuantizedNetwork

from .measures import MAX_ERROR, error, quartiles, seconds_per_call
from .roofline import TURN_S, one_core
from .table import ms, render, significant
from .zoo_networks import ZOO

FLOAT, INT8, ONNX = "float32", "int8", "ONNX Runtime int8"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks int8", description=__doc__)
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help=", ".join(ZOO))
    parser.add_argument("--batch", metavar="N", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--rounds", metavar="N", type=int, default=9, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    names = options.networks or list(ZOO)
    if unknown := set(names) - set(ZOO):
        print(f"no network {min(unknown)!r}: expected some of {', '.join(ZOO)}", file=sys.stderr)
        return 2
    rows = []
    with one_core():
        for name in names:
            rows.append(measure(name, options.batch, options.rounds))
    header = ("network", FLOAT, INT8, ONNX, "float32 / int8", "ONNX Runtime / int8")
    print(f"milliseconds for {options.batch} images, one core\n{render(header, rows)}")
    return 0


def measure(name: str, batch: int, rounds: int) -> list[str]:
    """A row of the table."""
    network = ZOO[name].build(n_threads=1, backend="numba")
    rng = np.random.default_rng(0)
    shape = network.input_spec.shape
    images = rng.integers(0, 256, (max(batch, 32), *shape), dtype=np.uint8)
    quantized = network.quantized(images[:32])
    calls = engines(network, quantized, images[:batch])
    counts = {}
    for engine, call in calls.items():
        call()
        counts[engine] = max(1, round(TURN_S / seconds_per_call(call, 3)))
    times: dict[str, list[float]] = {engine: [] for engine in calls}
    for _ in range(rounds):
        for engine in rng.permutation(list(calls)).tolist():
            calls[engine]()
            times[engine].append(seconds_per_call(calls[engine], counts[engine]))
    found = {engine: quartiles(values) for engine, values in times.items()}
    cells = [ms(found[engine]) if engine in found else "-" for engine in (FLOAT, INT8, ONNX)]
    for peer in (FLOAT, ONNX):
        known = peer in found
        cells.append(significant(found[peer].median / found[INT8].median) if known else "-")
    return [name, *cells]


def engines(
    network: Network, quantized: QuantizedNetwork, images: np.ndarray
) -> dict[str, Callable[[], object]]:
    """What is timed, by the name of the column."""
    x = network.scale(images)
    calls: dict[str, Callable[[], object]] = {
        FLOAT: lambda: network.forward(x),
        INT8: lambda: quantized.forward(x),
    }
    try:
        import onnxruntime

        from tinycnn.formats.onnx_quantized import quantized_model

        model = quantized_model(quantized)
    except ImportError as missing:
        print(f"{ONNX} is left out: {missing}", file=sys.stderr)
        return calls
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"images": images.astype(np.float32)}
    difference = error(session.run(None, feed)[0], quantized.predict_logits(images))
    if difference > MAX_DIFFERENCE:
        print(f"{ONNX} is left out: its logits differ by {difference:.1e}", file=sys.stderr)
        return calls
    calls[ONNX] = lambda: session.run(None, feed)
    return calls


MAX_DIFFERENCE = 100 * MAX_ERROR
"""Integers may differ by one where rounding is close: see docs/quantised.md."""
