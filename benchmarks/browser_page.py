"""Frames a second of the page that `tinycnn export --to html` writes, on one core.

    python -m benchmarks.browser_page

Node runs the page's engine: grey pixels, the search for the face, the cut, the network; without
what a browser does to get and show a picture. The film is made here: a drawn face of 120 px that
moves, in frames of 640x480. The time is the processor's, so other programs disturb it less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import ferdata
import tinycnn
from ferdata.photos.cascade import tables
from tinycnn.export.browser import html_file, node_check
from tinycnn.export.browser.program import Cascade
from tinycnn.formats.pretrained import PRETRAINED

from .table import render

WIDTH, HEIGHT, N_FRAMES = 640, 480, 40
ENOUGH = 60
"""Frames a second: as many as screens show."""


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(
        "python -m benchmarks.browser_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    node = node_check.node()
    if node is None:
        print(f"needs node {node_check.OLDEST} or later", file=sys.stderr)
        return 2
    rows = []
    for name in PRETRAINED:
        for engine, found in frame_times(name).items():
            rows.append([name, engine, f"{found['ms']:.2f} ms", f"{1000 / found['ms']:.0f}"])
    print(f"{node}; one face in {WIDTH}x{HEIGHT}; {ENOUGH} frames a second are enough")
    print(render(["network", "engine", "a frame", "frames/s"], rows))
    return 0


def frame_times(name: str) -> dict[str, dict[str, float]]:
    """Of one of the shipped networks, for each engine: ms of a frame, and faces found in it."""
    with tempfile.TemporaryDirectory() as folder:
        page, frames = Path(folder, "page.html"), Path(folder, "frames")
        network = tinycnn.load_pretrained(name, backend="numpy")
        page.write_text(html_file.page_text(network, Cascade(*tables())), encoding="utf-8")
        frames.write_bytes(film().tobytes())
        script = Path(__file__).with_name("page_frames.js")
        command = ["node", str(script), str(page), str(frames), str(WIDTH), str(HEIGHT)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def film() -> np.ndarray:
    """RGBA frames (N_FRAMES, HEIGHT, WIDTH, 4): a face moves over a plain ground with noise."""
    face = ferdata.render_faces(1, 1, seed=1, size_px=120).images[5]
    rng = np.random.default_rng(0)
    frames = np.full((N_FRAMES, HEIGHT, WIDTH, 4), 255, np.uint8)
    for k, frame in enumerate(frames):
        grey = rng.normal(110, 8, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8)
        away = min(k, N_FRAMES - k)  # and back, so that the film can be repeated
        grey[150 + away : 270 + away, 100 + 5 * away : 220 + 5 * away] = face
        frame[..., :3] = grey[..., None]
    return frames


if __name__ == "__main__":
    sys.exit(main())
