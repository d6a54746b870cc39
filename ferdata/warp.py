"""Bilinear affine warp of uint8 images: resizing and augmentation in one interpolation.

Output pixel (i, j) of image n has the value of the source image at

    y = a[n,0,0]*i + a[n,0,1]*j + a[n,0,2],    x = a[n,1,0]*i + a[n,1,1]*j + a[n,1,2]        (1)

where pixel (r, c) of the source has its centre at y = r, x = c. Outside the image its edge pixels
repeat: y is clamped to [0, H-1], x to [0, W-1]. With r = floor(y), fy = y - r, c = floor(x),
fx = x - c

    top    = s[r, c]   + fx * (s[r, c+1]   - s[r, c])
    bottom = s[r+1, c] + fx * (s[r+1, c+1] - s[r+1, c])
    value  = floor(top + fy * (bottom - top) + 0.5)            halves round up               (2)

computed in float32 by loops that Numba compiles (`ferdata.jit`). While they are not loaded, and
without Numba, NumPy computes the same bits, many times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache

import numpy as np

from ferdata.errors import DataError
from ferdata.image_hashes import checked_images
from ferdata.jit import WARP, compile_cached, compiled, note_kept
from tinycnn.ground.masked_arrays import unmasked
from tinycnn.ground.numpy_first import all_work_waits

# Larger entries could overflow float32 inside the kernel. NaN, which the clamping would not catch,
# is not within this limit either.
_MAX_ENTRY = 1e9

_NUMPY_S = 60e-9
"""Seconds that `warp_arrays` needs for a pixel, as measured."""

Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


def warp_images(
    images: np.ndarray,
    matrices: np.ndarray,
    size_px: int,
    which: np.ndarray | None = None,
    n_threads: int = 1,
    pool: Executor | None = None,
) -> np.ndarray:
    """B warped images by equations (1) and (2): uint8 (B, size_px, size_px).

    images     uint8 (N, H, W)
    matrices   float (B, 2, 3), finite: output (i, j, 1) -> source (y, x)
    which      int   (B,): the image that each matrix warps; None: image b for matrix b (B = N)
    n_threads  the work is divided into so many parts; the result does not depend on it
    pool       the threads to use; None: threads started for this call. Callers with many small
               batches save time with a pool of their own

    Raises DataError for other shapes or dtypes.
    """
    images, matrices, which = _checked(images, matrices, size_px, which)
    out = np.empty((len(matrices), size_px, size_px), dtype=np.uint8)
    if not _kernel.cache_info().currsize and _numpy_is_enough(out):
        with WARP.working():
            warp_arrays(images, which, matrices, out)
        return out
    kernel = _kernel()
    n_parts = min(n_threads, len(out))
    if n_parts <= 1:
        kernel(images, which, matrices, out)
        return out
    bounds = np.linspace(0, len(out), n_parts + 1).astype(int)
    with nullcontext(pool) if pool is not None else ThreadPoolExecutor(n_parts) as workers:
        jobs = [
            workers.submit(kernel, images, which[lo:hi], matrices[lo:hi], out[lo:hi])
            for lo, hi in zip(bounds[:-1], bounds[1:])
        ]
        for job in jobs:
            job.result()
    return out


def resize_matrix(height_px: int, width_px: int, size_px: int) -> np.ndarray:
    """The matrix of (1) that resizes (height_px, width_px) to size_px squared: float64 (2, 3).

    Pixel i covers i to i + 1, its centre is at i + 0.5: so y = (i + 0.5) * H / size - 0.5.
    """
    sy, sx = height_px / size_px, width_px / size_px
    return np.array([[sy, 0.0, 0.5 * sy - 0.5], [0.0, sx, 0.5 * sx - 0.5]])


def resize_images(
    images: np.ndarray, size_px: int, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Images uint8 (N, H, W) resized to uint8 (N, size_px, size_px).

    They are enlarged by `warp_images`. If a side shrinks, bilinear interpolation would skip pixels;
    then scikit-image's resize is used (order 1, edge mode, Gaussian anti-aliasing with a sigma of
    (factor - 1) / 2 pixels), image by image. `progress(done, total)` counts these images.
    """
    n, height, width = images.shape
    if (height, width) == (size_px, size_px):
        return images
    if height <= size_px and width <= size_px:
        matrix = resize_matrix(height, width, size_px)
        return warp_images(images, np.broadcast_to(matrix, (n, 2, 3)), size_px)
    from skimage.transform import resize

    out = np.empty((n, size_px, size_px), dtype=np.uint8)
    for i, image in enumerate(images):
        small = resize(
            image.astype(np.float64), (size_px, size_px), order=1, mode="edge", anti_aliasing=True
        )
        out[i] = np.clip(np.floor(small + 0.5), 0, 255)
        if progress is not None:
            progress(i + 1, n)
    return out


def _checked(
    images: np.ndarray, matrices: np.ndarray, size_px: int, which: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = checked_images(images)
    matrices = unmasked("matrices", matrices).astype(np.float64, copy=False)
    if matrices.ndim != 3 or matrices.shape[1:] != (2, 3):
        raise DataError(f"expected matrices (B, 2, 3), found shape {matrices.shape}")
    if not (np.abs(matrices) <= _MAX_ENTRY).all():
        raise DataError(f"matrices: entries must be finite and within +-{_MAX_ENTRY:g}")
    if size_px < 1:
        raise DataError(f"size_px must be 1 or more, found {size_px}")
    which = np.arange(len(images)) if which is None else unmasked("which", which)
    if which.shape != (len(matrices),):
        raise DataError(f"{len(matrices)} matrices for {len(which)} images")
    if which.size and (which.min() < 0 or which.max() >= len(images)):
        raise DataError(f"which: indices must lie in 0..{len(images) - 1}")
    return images, np.require(matrices, None, ["C", "A"]), np.require(which, np.int64, ["C", "A"])


def _numpy_is_enough(out: np.ndarray) -> bool:
    """Whether NumPy warps these images while the kernel is not loaded.  A single one, such as a
    face in a photo, is not worth loading it."""
    return (len(out) <= 1 and not all_work_waits()) or WARP.takes(out.size * _NUMPY_S)


_TYPES = (  # True: read-only arrays are accepted too
    "void(Array(uint8, 3, 'C', True), Array(int64, 1, 'C', True), "
    "Array(float64, 3, 'C', True), uint8[:, :, ::1])"
)


@lru_cache(maxsize=1)
def _kernel() -> Kernel:
    """The compiled kernel, or NumPy's if Numba fails. Made when first needed."""
    return compiled(warp_loops, _TYPES, warp_arrays)


def compile_warp(_: str = "") -> None:
    """Compile the kernel, or load it from the cache. Raises what Numba raises if it cannot."""
    compile_cached(warp_loops, _TYPES)
    note_kept(WARP)


def warp_loops(
    images: np.ndarray, which: np.ndarray, matrices: np.ndarray, out: np.ndarray
) -> None:
    """Equations (1) and (2) as loops that LLVM turns into vector code.

    First, every source pixel and its neighbours to the right, below, and below right are packed
    into one 32-bit word of a table, so that an output pixel needs one load, at any angle. The table
    handles the edges, and the coordinates are clamped, so no inner loop has a branch. A row of the
    output takes three loops: the table look-up cannot be vectorised, the loops before and after
    it can.
    """
    height, width = images.shape[1], images.shape[2]
    size = out.shape[1]
    words = np.empty(height * width, np.uint32)
    columns = np.arange(size).astype(np.float32)
    fy, fx = np.empty(size, np.float32), np.empty(size, np.float32)
    position, word = np.empty(size, np.int32), np.empty(size, np.uint32)
    zero, half, bits = np.float32(0.0), np.float32(0.5), np.uint32(255)
    last_y, last_x = np.float32(height - 1), np.float32(width - 1)
    for b in range(out.shape[0]):
        source = images[which[b]]
        for r in range(height):
            below = min(r + 1, height - 1)
            for c in range(width - 1):
                words[r * width + c] = (
                    np.uint32(source[r, c])
                    | np.uint32(source[r, c + 1]) << np.uint32(8)
                    | np.uint32(source[below, c]) << np.uint32(16)
                    | np.uint32(source[below, c + 1]) << np.uint32(24)
                )
            c = width - 1
            words[r * width + c] = np.uint32(source[r, c]) * np.uint32(257) | (
                np.uint32(source[below, c]) * np.uint32(257)
            ) << np.uint32(16)
        y_step, x_step = np.float32(matrices[b, 0, 1]), np.float32(matrices[b, 1, 1])
        for i in range(size):
            y_row = np.float32(matrices[b, 0, 0] * i + matrices[b, 0, 2])
            x_row = np.float32(matrices[b, 1, 0] * i + matrices[b, 1, 2])
            for j in range(size):
                y = min(max(y_row + y_step * columns[j], zero), last_y)  # (1)
                x = min(max(x_row + x_step * columns[j], zero), last_x)
                r, c = np.int32(y), np.int32(x)
                fy[j], fx[j] = y - np.float32(r), x - np.float32(c)
                position[j] = r * np.int32(width) + c
            for j in range(size):
                word[j] = words[np.uint32(position[j])]
            for j in range(size):
                s00 = np.float32(np.int32(word[j] & bits))
                s01 = np.float32(np.int32(word[j] >> np.uint32(8) & bits))
                s10 = np.float32(np.int32(word[j] >> np.uint32(16) & bits))
                s11 = np.float32(np.int32(word[j] >> np.uint32(24)))
                top = s00 + fx[j] * (s01 - s00)  # (2)
                bottom = s10 + fx[j] * (s11 - s10)
                out[b, i, j] = np.uint8(np.int32(top + fy[j] * (bottom - top) + half))


def warp_arrays(
    images: np.ndarray, which: np.ndarray, matrices: np.ndarray, out: np.ndarray
) -> None:
    """Equations (1) and (2) in NumPy, with the same roundings as `warp_loops`."""
    height, width = images.shape[1:]
    steps = np.arange(out.shape[1])
    columns, half = steps.astype(np.float32), np.float32(0.5)
    for b, matrix in enumerate(matrices):
        source = images[which[b]]
        last = np.array([height - 1, width - 1], np.float32)[:, None, None]
        rows = (matrix[:, :1] * steps + matrix[:, 2:]).astype(np.float32)[:, :, None]
        yx = rows + matrix[:, 1].astype(np.float32)[:, None, None] * columns  # (1)
        yx = np.minimum(np.maximum(yx, np.float32(0)), last)
        whole = yx.astype(np.int32)
        fy, fx = yx - whole.astype(np.float32)
        (r, c), (below, right) = whole, np.minimum(whole + 1, last.astype(np.int32))
        s00, s01 = source[r, c].astype(np.float32), source[r, right].astype(np.float32)
        s10, s11 = source[below, c].astype(np.float32), source[below, right].astype(np.float32)
        top, bottom = s00 + fx * (s01 - s00), s10 + fx * (s11 - s10)  # (2)
        out[b] = (top + fy * (bottom - top) + half).astype(np.uint8)
