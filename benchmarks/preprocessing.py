"""python -m benchmarks.preprocessing: photos to 84x84, against decoding the same files alone.

Photos of scikit-image's astronaut, cut as CK+ frames its people (640x490, the face 40 % of the
height) and with noise, as grey PNG, as CK+ comes, and as colour JPEG; of more than 200 photos the
others are links to them. Decoding alone is Pillow's open and load, in as many threads. Every round
takes the files 250 at a time and first decodes, then preprocesses them; rates are those of the
whole, ratios the medians over all such parts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .table import render, significant

N_DIFFERENT, N_AT_ONCE = 200, 250
FACE_AND_SHOULDERS = (68, 0, 379, 238)  # left, top, right, bottom in the astronaut's picture
WAYS = ("no framing", "fer2013, boxes given", "fer2013", "paper")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.preprocessing", description=__doc__)
    parser.add_argument("--photos", type=int, default=300, help="how many of each kind (300)")
    parser.add_argument("--rounds", type=int, default=5, help="5")
    parser.add_argument("--workers", type=int, default=2, help="threads (2)")
    parser.add_argument("--kinds", default="png,jpg", help="png,jpg")
    parser.add_argument("--framings", default=";".join(WAYS), help="; between them")
    parser.add_argument("--size", default="640x490", help="width and height in px (640x490)")
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinycnn-photos-") as name:
        os.environ["FERDATA_CACHE_DIR"] = str(Path(name) / "cache")
        for kind in options.kinds.split(","):
            mode = {"png": "L", "jpg": "RGB"}[kind]
            paths = _write_photos(Path(name), kind, mode, (width, height), options.photos)
            for way in options.framings.split(";"):
                rows.append([f"{kind} {mode}", way, *_measured(paths, way, options)])
    print(render(["files", "framing", "decoded/s", "preprocessed/s", "ratio"], rows))
    return 0


def _measured(paths: list[Path], way: str, options: argparse.Namespace) -> list[str]:
    from ferdata.preprocess import frame_photos

    framing = None if way == "no framing" else way.split(",")[0]
    boxes = None
    if "boxes" in way:
        from ferdata.faces import find_faces

        boxes = np.repeat(find_faces(paths[0]).boxes[:1], len(paths), axis=0)

    def preprocess(some: list[Path], key: str) -> None:
        given = None if boxes is None else boxes[: len(some)]
        frame_photos(some, framing=framing, cache_key=key, n_workers=options.workers, boxes=given)

    preprocess(paths[:2], f"warm {way}")  # compiles
    decoded, preprocessed = [], []
    for i in range(options.rounds):
        for k in range(0, len(paths), N_AT_ONCE):
            some, key = paths[k : k + N_AT_ONCE], f"{way} {paths[0].suffix} {i} {k}"
            decoded.append(_seconds(lambda: _decode(some, options.workers)))
            preprocessed.append(_seconds(lambda: preprocess(some, key)))
    ratio = np.median(np.array(decoded) / np.array(preprocessed))
    rates = [len(paths) * options.rounds / sum(seconds) for seconds in (decoded, preprocessed)]
    return [significant(rate) for rate in rates] + [f"{ratio:.2f}"]


def _decode(paths: list[Path], n_workers: int) -> None:
    from PIL import Image

    def one(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    with ThreadPoolExecutor(n_workers) as pool:
        for _ in pool.map(one, paths):
            pass


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _write_photos(
    folder: Path, kind: str, mode: str, size: tuple[int, int], n_photos: int
) -> list[Path]:
    from PIL import Image
    from skimage.data import astronaut

    picture = Image.fromarray(astronaut()).crop(FACE_AND_SHOULDERS).convert(mode)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(n_photos):
        paths.append(folder / f"{i:05d}.{kind}")
        if i >= N_DIFFERENT:
            os.link(paths[i % N_DIFFERENT], paths[-1])
            continue
        noisy = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(paths[-1], **({"quality": 90} if kind == "jpg" else {}))
    return paths


if __name__ == "__main__":
    sys.exit(main())
