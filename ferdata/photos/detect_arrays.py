"""The inner functions of `ferdata.photos.detect` in Pillow and NumPy.

`windows` is the reference for the one in detect_loops, which is some ten times faster, and the
fallback if Numba is missing.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ferdata.photos.cascade import WINDOW_PX, stages_passed


def reduced(grey: np.ndarray, k: int, margin: int) -> np.ndarray:
    """The picture shrunk by k (means of k x k pixels), then padded by repeating its edge pixels:
    uint8 (ceil(H / k) + 2 margin, ceil(W / k) + 2 margin)."""
    return np.pad(np.asarray(Image.fromarray(grey).reduce(k)), margin, mode="edge")


def windows(
    picture: np.ndarray,
    area: np.ndarray,
    sizes: np.ndarray,
    around: np.ndarray,
    step: int,
    at_least: int,
    stop_below: int,
    *tables: np.ndarray,
) -> np.ndarray:
    """The 24x24 windows that pass the first stages of the cascade, in an area at several scales.

    picture     uint8 (H, W)
    area        float64 (4,): left, top, right, bottom in px of the picture
    sizes       int64 (L, 2): the height and width of each level, 24 or more. The area is resized to
                the largest level, and that level to the others
    around      float64 (3,): x, y and reach. Only windows whose centre is within reach px (of the
                level) of (x, y) (px of the picture) along both axes are tested; if reach is below
                0, all windows are
    step        1 or 2: every window, or every second one along each axis
    at_least    number of stages that a window must pass, 1 or more
    stop_below  if no window of the first level passes this many stages, the others are skipped
    tables      those of ferdata.photos.cascade.tables

    Returns float64 (n, 4): stages passed, x and y of the window's centre in px of the picture, and
    the level; level by level, row by row.
    """
    left, top, right, bottom = area.tolist()
    finest = sizes[sizes[:, 0].argmax()].tolist()
    source = _resized(Image.fromarray(picture), finest, (left, top, right, bottom))
    found = [np.empty((0, 4))]
    for k, (h, w) in enumerate(sizes.tolist()):
        level = np.asarray(_resized(source, (h, w), (0, 0, source.width, source.height)))
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
        if k == 0 and passed.max() < stop_below:
            break
    return np.concatenate(found)


def _resized(
    image: Image.Image, size: tuple[int, int], area: tuple[float, float, float, float]
) -> Image.Image:
    """`area` of the image, resized to `size` (height, width): the width first, then the height. In
    one call, Pillow would choose the order by cost."""
    (height, width), (left, top, right, bottom) = size, area
    image = image.resize(
        (width, image.height), Image.Resampling.BILINEAR, (left, 0, right, image.height)
    )
    return image.resize((width, height), Image.Resampling.BILINEAR, (0, top, width, bottom))
