"""What `ferdata.detect` computes over and over, by Pillow and NumPy.

The reference of detect_loops, which does the same some ten times faster, and what is used where
Numba is missing.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ferdata.cascade import WINDOW_PX, stages_passed


def reduced(grey: np.ndarray, k: int, margin: int) -> np.ndarray:
    """uint8 (ceil(H / k) + 2 margin, ...): means of k x k pixels, the outermost ones repeated."""
    return np.pad(np.asarray(Image.fromarray(grey).reduce(k)), margin, mode="edge")


def windows(
    picture: np.ndarray,
    area: np.ndarray,
    sizes: np.ndarray,
    around: np.ndarray,
    step: int,
    at_least: int,
    hopeless: int,
    *tables: np.ndarray,
) -> np.ndarray:
    """Windows of 24 px that pass the first stages of the cascade, in an area at several sizes.

    picture   uint8 (H, W);  area  float64 (4,): left, top, right, bottom in px of it
    sizes     int64 (L, 2)    height and width of each level, 24 or more: the area is resized to the
              largest of them, and that one to the others
    around    float64 (3,)    x, y in px of the picture, and how many px of each level a window may
              lie off from there; below 0: all windows
    step      1 or 2: every window, or every second one both ways
    at_least  stages, 1 or more
    hopeless  if none passes that many stages in the first level, the others are spared
    tables    as ferdata.cascade.tables gives them

    float64 (n, 4): stages passed, x and y of the window's middle in px of the picture, its level;
    level by level, row by row.
    """
    left, top, right, bottom = area.tolist()
    finest = sizes[sizes[:, 0].argmax()].tolist()
    source = _resized(Image.fromarray(picture), finest, area.tolist())
    found = [np.empty((0, 4))]
    for k, (h, w) in enumerate(sizes.tolist()):
        level = np.asarray(_resized(source, (h, w), (0, 0, *source.size)))
        px_x, px_y = (right - left) / w, (bottom - top) / h
        row_0, column_0, reach = 0, 0, int(around[2])
        if reach >= 0:
            column_0 = max(round((around[0] - left) / px_x - WINDOW_PX / 2 - reach), 0)
            row_0 = max(round((around[1] - top) / px_y - WINDOW_PX / 2 - reach), 0)
            side = WINDOW_PX + 2 * reach
            level = level[row_0 : row_0 + side, column_0 : column_0 + side]
        if min(level.shape) < WINDOW_PX:
            continue
        passed = stages_passed(level, step)
        rows, columns = np.nonzero(passed >= at_least)
        x = left + (column_0 + columns * step + WINDOW_PX / 2) * px_x
        y = top + (row_0 + rows * step + WINDOW_PX / 2) * px_y
        found.append(np.stack([passed[rows, columns], x, y, np.full(len(x), k)], axis=1))
        if k == 0 and passed.max() < hopeless:
            break
    return np.concatenate(found)


def _resized(image: Image.Image, size: list[int], area: list[float]) -> Image.Image:
    """First the width, then the height: in one go Pillow starts with whichever it finds cheaper."""
    (height, width), (left, top, right, bottom) = size, area
    image = image.resize(
        (width, image.height), Image.Resampling.BILINEAR, (left, 0, right, image.height)
    )
    return image.resize((width, height), Image.Resampling.BILINEAR, (0, top, width, bottom))
