"""Speed of preprocessing, from photos to 84x84 faces, compared with only decoding the files.

    python -m benchmarks.preprocessing

The photos show scikit-image's astronaut, framed like the people in CK+ (640x490, the face takes
40 % of the height), with noise. They are grey PNG files, as in CK+, and colour JPEG files. Only 200
are different; the rest are links to these. Decoding is Pillow's open and load, in as many threads.
Each round processes the files in parts of 250: it decodes a part, then preprocesses it. The printed
rates are over all parts, the ratio is the median over the parts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .measures import seconds_per_call
from .table import render, significant

N_DIFFERENT, N_AT_ONCE = 200, 250
FACE_AND_SHOULDERS = (68, 0, 379, 238)  # left, top, right, bottom in the astronaut's picture
WAYS = ("no framing", "fer2013, boxes given", "fer2013", "paper")
"""Without framing; with a given face box, so no face is searched; with both framings."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.preprocessing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=300, help="number of each kind (300)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--workers", type=int, default=2, help="number of threads (2)")
    parser.add_argument(
        "--kinds", default="png,jpg", help="file formats, separated by commas (png,jpg)"
    )
    parser.add_argument(
        "--framings",
        default=";".join(WAYS),
        help="how faces are cut, separated by semicolons (%(default)s)",
    )
    parser.add_argument(
        "--size", default="640x490", help="width and height of the photos in px (640x490)"
    )
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinycnn-photos-") as name:
        os.environ["FERDATA_CACHE_DIR"] = str(Path(name) / "cache")
        for kind in options.kinds.split(","):
            mode = {"png": "L", "jpg": "RGB"}[kind]
            paths = _write_photos(Path(name), kind, mode, (width, height), options.photos)
            for way in options.framings.split(";"):
                found = _measured(paths, way, options.rounds, options.workers)
                rows.append([f"{kind} {mode}", way, *found])
    print(render(["files", "framing", "decoded/s", "preprocessed/s", "ratio"], rows))
    return 0


def _measured(paths: list[Path], way: str, n_rounds: int, n_workers: int) -> list[str]:
    """The last three columns of a row of the table."""
    from ferdata.photos.preprocess import frame_photos

    framing = None if way == "no framing" else way.split(",")[0]
    boxes = None
    if "boxes" in way:
        from ferdata.photos.faces import find_faces

        boxes = np.repeat(find_faces(paths[0]).boxes[:1], len(paths), axis=0)

    def preprocess(some: list[Path], key: str) -> None:
        given = None if boxes is None else boxes[: len(some)]
        frame_photos(some, framing=framing, cache_key=key, n_workers=n_workers, boxes=given)

    preprocess(paths[:2], f"warm {way}")  # compiles the kernels
    decoded, preprocessed = [], []
    for i in range(n_rounds):
        for k in range(0, len(paths), N_AT_ONCE):
            some, key = paths[k : k + N_AT_ONCE], f"{way} {paths[0].suffix} {i} {k}"
            decoded.append(seconds_per_call(lambda: _decode(some, n_workers)))
            preprocessed.append(seconds_per_call(lambda: preprocess(some, key)))
    ratio = np.median(np.array(decoded) / np.array(preprocessed))
    rates = [len(paths) * n_rounds / sum(seconds) for seconds in (decoded, preprocessed)]
    return [significant(rate) for rate in rates] + [f"{ratio:.2f}"]


def _decode(paths: list[Path], n_workers: int) -> None:
    from PIL import Image

    def one(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    with ThreadPoolExecutor(n_workers) as pool:
        for _ in pool.map(one, paths):
            pass


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
        Image.fromarray(noisy).save(paths[-1], quality=90)  # PNG has no quality and ignores it
    return paths


if __name__ == "__main__":
    sys.exit(main())
