"""Finds the expression in the picture of a face, with a small neural network.

This file is the whole program, written by tinycnn.  It needs Python and NumPy, nothing else.

    python PROGRAM.py face.png another.png
        prints the expression that each picture shows, and all probabilities
    import PROGRAM
    PROGRAM.predict(images)
        uint8 images (N, H, W) -> probabilities (N, K) in the order of CLASSES

A picture must show one face, cut out of its photo in the way that FRAMING names.  It is a PNG (not
interlaced), PGM or PPM file, and is made grey and resized as the network needs it.
What the network has learned, its WEIGHTS, is at the end of the file.
"""

import base64
import sys
import zlib

import numpy as np

# <constants>
CLASSES = ()
FRAMING = None
HEIGHT_PX, WIDTH_PX, CHANNELS = 84, 84, 1
SCALING = "raw"
MEAN: tuple[float, ...] = ()  # of each channel, or empty
STD: tuple[float, ...] = ()
CALIBRATION_TEMPERATURE = 1.0
SHAPES: dict[str, tuple[int, ...]] = {}
# </constants>

BATCH = 64  # images that go through the network together


# ---- the network: pictures are arrays (N, height, width, channels) ----------------------------


def conv2d(x, w, b, stride, padding):
    """y[n, i, j, f] = b[f] + sum over a, e, c of
                       x[n, i*stride[0] + a, j*stride[1] + e, c] * w[a, e, c, f]

    with zeros around x: padding = ((top, bottom), (left, right)).
    """
    windows = windows_of(x, w.shape[:2], stride, padding, 0)
    return np.tensordot(windows, w, axes=((4, 5, 3), (0, 1, 2))) + b


def depthwise_conv2d(x, w, b, stride, padding):
    """y[n, i, j, c*D + d] = b[c*D + d] + sum over a, e of
    x[n, i*stride[0] + a, j*stride[1] + e, c] * w[a, e, c, d],  d < D
    """
    windows = windows_of(x, w.shape[:2], stride, padding, 0)
    y = np.einsum("nijcae,aecd->nijcd", windows, w)
    return y.reshape(*y.shape[:3], -1) + b


def average_pool(x, size, stride, padding, count_padding):
    """y[n, i, j, c] = the mean of x[n, i*stride[0] + a, j*stride[1] + e, c] over a, e.

    count_padding: True if positions outside x count as zeros, False if they are left out
    """
    windows = windows_of(x, size, stride, padding, 0)
    total = sum(windows[..., a, e] for a, e in np.ndindex(*size))
    ones = np.ones((1, *x.shape[1:3], 1), x.dtype)
    return total / windows_of(ones, size, stride, padding, count_padding).sum(axis=(4, 5))


def global_average_pool(x):
    """y[n, c] = the mean of x[n, h, v, c] over h, v"""
    return x.mean(axis=(1, 2), dtype=np.float64).astype(x.dtype)


def max_pool(x, size, stride, padding):
    """y[n, i, j, c] = the largest of x[n, i*stride[0] + a, j*stride[1] + e, c]
    over a < size[0], e < size[1]."""
    windows = windows_of(x, size, stride, padding, -np.inf)  # which is never the largest
    return np.maximum.reduce([windows[..., a, e] for a, e in np.ndindex(*size)])


def windows_of(x, size, stride, padding, fill):
    """Every window (n, i, j, c, a, e) of x, with `fill` around x."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return windows[:, :: stride[0], :: stride[1]]


def relu(x, max_value=np.inf):
    """max(x, 0), and no more than max_value"""
    return np.clip(x, 0, max_value)


def leaky_relu(x, slope):
    """x where it is above 0, else slope * x; slope: a number, or one for each channel"""
    return np.where(x > 0, x, slope * x)


def sigmoid(x):
    """1 / (1 + exp(-x))"""
    return np.exp(-np.logaddexp(0, -x))  # the same, and nothing overflows


def flatten(x):
    """(N, H, W, C) -> (N, H * W * C)"""
    return x.reshape(len(x), -1)


def dense(x, w, b):
    """y[n, u] = b[u] + sum over k of x[n, k] * w[k, u]"""
    return x @ w + b


def scale(images):
    """uint8 images (N, H, W, C) -> the float32 numbers that the network was trained on."""
    x = images.astype(np.float32)
    if SCALING == "unit":
        x /= 255
    if SCALING == "standardized":  # each image to mean 0 and standard deviation 1
        axes = (1, 2, 3)
        mean = images.mean(axes, dtype=np.float64, keepdims=True)
        deviation = images.std(axes, dtype=np.float64, keepdims=True)
        n_values = HEIGHT_PX * WIDTH_PX * CHANNELS
        x = ((images - mean) / np.maximum(deviation, n_values**-0.5)).astype(np.float32)
    if MEAN:
        x -= np.array(MEAN, np.float32)
    if STD:
        x /= np.array(STD, np.float32)
    return x


# <network>
def network(x):
    """Layer by layer from scaled images (N, H, W, C) to logits (N, K)."""
    return x


# </network>


# ---- what the program offers ------------------------------------------------------------------


def logits(images):
    """(N, K): the larger a number, the likelier its class.

    images: uint8 (N, H, W) or (N, H, W, C), pixels 0..255.
    """
    images = np.asarray(images)
    if images.ndim == 3 and CHANNELS == 1:
        images = images[..., None]
    shape = (HEIGHT_PX, WIDTH_PX, CHANNELS)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(
            f"images are {images.dtype} of shape {images.shape}; expected uint8 of shape "
            f"(N, {HEIGHT_PX}, {WIDTH_PX}, {CHANNELS})"
        )
    found = np.empty((len(images), len(CLASSES)), np.float32)
    for k in range(0, len(images), BATCH):
        found[k : k + BATCH] = network(scale(images[k : k + BATCH]))
    return found


def predict(images):
    """Probabilities (N, K) in the order of CLASSES.  images: as for `logits`"""
    z = logits(images) / CALIBRATION_TEMPERATURE
    e = np.exp(z - z.max(axis=1, keepdims=True))  # at most e**0: nothing overflows
    return e / e.sum(axis=1, keepdims=True)


# ---- reading pictures -------------------------------------------------------------------------


def read_picture(path):
    """uint8 (H, W) or (H, W, 3) from the file at `path`; ValueError says what is wrong with it."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return read_png(data)
    if data[:2] in (b"P5", b"P6"):
        return read_pnm(data)
    raise ValueError("not a PNG, PGM or PPM file")


def read_pnm(data):
    """PGM or PPM, binary, 8 bits: words for kind, width, height, maximum; one space; pixels."""
    words, at = [], 0
    while len(words) < 4:
        while data[at : at + 1].isspace():
            at += 1
        end = at
        while end < len(data) and not data[end : end + 1].isspace():
            end += 1
        if data[at : at + 1] == b"#":  # a comment, to the end of its line
            at = max(data.find(b"\n", at), 0) or len(data)
            continue
        if end == at:
            raise ValueError("a damaged picture: its header is cut off")
        words.append(data[at:end])
        at = end
    if not all(word.isdigit() and len(word) < 7 for word in words[1:]) or int(words[3]) != 255:
        raise ValueError("a PGM or PPM with another maximum than 255, or damaged")
    width, height = int(words[1]), int(words[2])
    channels = 1 if words[0] == b"P5" else 3
    pixels = np.frombuffer(data[at + 1 :], np.uint8)
    if pixels.size < height * width * channels or height * width == 0:
        raise ValueError("a damaged picture: pixels are missing")
    pixels = pixels[: height * width * channels]
    return pixels.reshape((height, width) if channels == 1 else (height, width, 3))


def read_png(data):
    """PNG, not interlaced.  Transparent pixels are blended with white.  See w3.org/TR/png."""
    chunks, at = {}, 8
    while at < len(data) and b"IEND" not in chunks:
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, end = data[at + 8 : at + 8 + size], at + 8 + size
        if zlib.crc32(kind + body) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError("a damaged PNG: a checksum does not match, or its end is missing")
        chunks.setdefault(kind, []).append(body)  # IDAT comes in parts
        at = end + 4
    chunks = {kind: b"".join(parts) for kind, parts in chunks.items()}
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or b"IDAT" not in chunks or b"IEND" not in chunks:
        raise ValueError("a damaged PNG: a part is missing")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, interlaced = header[8], header[9], header[12]
    if interlaced:
        raise ValueError("an interlaced PNG; save it without interlacing")
    n_channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)  # grey, RGB, palette, + alpha
    depths = {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colour, (8, 16))
    if not n_channels or depth not in depths or not 0 < width * height <= 10_000_000:
        raise ValueError(f"a PNG of {width}x{height} px, depth {depth}, colour type {colour}")
    if b"tRNS" in chunks and colour != 3:
        raise ValueError("a PNG with a transparent colour; save it without transparency")

    n_bytes = -(-width * n_channels * depth // 8)  # of a row
    n_all = height * (1 + n_bytes)
    try:
        packed = zlib.decompressobj().decompress(chunks[b"IDAT"], n_all)
    except zlib.error:
        packed = b""
    if len(packed) < n_all:
        raise ValueError("a damaged PNG: pixels are missing")
    rows = np.frombuffer(packed, np.uint8).reshape(height, 1 + n_bytes)
    rows = undo_filters(rows[:, 0], rows[:, 1:], max(n_channels * depth // 8, 1))

    if depth == 16:
        rows = rows[:, ::2]  # the high byte
    elif depth < 8:
        bits = np.unpackbits(rows, axis=1).reshape(height, -1, depth)[:, :width]
        rows = (bits @ (1 << np.arange(depth)[::-1])).astype(np.uint8)
        if colour == 0:
            rows *= 255 // (2**depth - 1)
    pixels = rows.reshape(height, width, n_channels)
    if colour == 3:
        palette = np.frombuffer(chunks.get(b"PLTE", b""), np.uint8)
        if palette.size % 3 or pixels.max() >= palette.size // 3:
            raise ValueError("a damaged PNG: a colour is not in its palette")
        alpha = np.full(palette.size // 3, 255, np.uint8)
        transparent = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)[: len(alpha)]
        alpha[: len(transparent)] = transparent
        pixels = np.column_stack([palette.reshape(-1, 3), alpha])[pixels[..., 0]]
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:].astype(int)
        on_white = (pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255
        pixels = on_white.astype(np.uint8)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def undo_filters(kinds, rows, step):
    """Rows of pixels from rows as PNG stores them: as differences from the pixel on the left (its
    bytes are `step` before), the row above, or both.  kinds: the kind of difference of each row"""
    out = np.zeros((len(rows) + 1, rows.shape[1] + step), np.uint8)  # zeros above and to the left
    for k, (kind, row) in enumerate(zip(kinds, rows), start=1):
        above = out[k - 1]
        if kind == 0:
            out[k, step:] = row
        elif kind == 1:
            n_pixels = len(row) // step
            sums = np.cumsum(row[: n_pixels * step].reshape(-1, step), axis=0, dtype=np.uint8)
            out[k, step:] = sums.ravel()
        elif kind == 2:
            out[k, step:] = row + above[step:]
        elif kind in (3, 4):
            now, up = out[k].tolist(), above.tolist()
            for i, value in enumerate(row.tolist(), start=step):
                a, b, c = now[i - step], up[i], up[i - step]
                guess = (a + b) // 2
                if kind == 4:  # Paeth: the one nearest to a + b - c
                    guess = min((a, b, c), key=lambda v: abs(a + b - c - v))
                now[i] = (value + guess) % 256
            out[k] = now
        else:
            raise ValueError("a damaged PNG: an unknown filter")
    return out[1:, step:]


def to_input(pixels):
    """The picture as the network takes it: uint8 (HEIGHT_PX, WIDTH_PX, CHANNELS), grey or RGB.

    A picture of another size is resized if it has the network's proportions.  Else it is refused:
    it cannot be a face that was cut out as FRAMING says.
    """
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = pixels.reshape(*pixels.shape[:2], 1)
        pixels = np.repeat(pixels, 3, axis=2) if CHANNELS == 3 else pixels
    elif CHANNELS == 1 and pixels.shape[2] == 3:  # ITU-R BT.601 luma, in whole numbers
        luma = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        pixels = ((luma + 32768) >> 16)[..., None]
    height, width, channels = pixels.shape
    if channels != CHANNELS:
        raise ValueError(f"a picture of {channels} channels; expected {CHANNELS}")
    if abs(width * HEIGHT_PX - height * WIDTH_PX) > max(width, height) * 2:
        raise ValueError(
            f"a picture of {width}x{height} px; expected one face, cut out with framing {FRAMING!r}"
            f", of {WIDTH_PX}x{HEIGHT_PX} px or the same proportions"
        )
    resized = np.einsum(
        "ih,jw,hwc->ijc",
        resizing(height, HEIGHT_PX),
        resizing(width, WIDTH_PX),
        pixels.astype(np.float64),
        optimize=True,
    )
    return np.floor(resized + 0.5).astype(np.uint8)


def resizing(n_in, n_out):
    """Weights (n_out, n_in) of input pixels, whose weighted mean is an output pixel.  They fall
    linearly with the distance (bilinear; over a wider range where the picture shrinks)."""
    reach = max(n_in / n_out, 1)
    centres = (np.arange(n_out)[:, None] + 0.5) * n_in / n_out - 0.5
    weights = np.maximum(1 - np.abs(np.arange(n_in) - centres) / reach, 0)
    return weights / weights.sum(axis=1, keepdims=True)


def main(paths):
    """Prints what each picture shows; returns the exit status."""
    if not paths or paths[0] in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0 if paths else 2
    status = 0
    for path in paths:
        try:
            probs = predict(to_input(read_picture(path))[None])[0]
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
            continue
        print(f"{path}: {CLASSES[probs.argmax()]}")
        for k in np.argsort(-probs):
            print(f"  {probs[k]:7.2%}  {CLASSES[k]}")
    return status


# ---- the weights: float32, little-endian, one tensor of SHAPES after the other, in base 64 ----

# <weights>
WEIGHTS = ""
# </weights>


def unpack():
    """Tensors by name."""
    numbers = np.frombuffer(base64.b64decode(WEIGHTS), "<f4")
    tensors, at = {}, 0
    for name, shape in SHAPES.items():
        n_values = int(np.prod(shape))
        tensors[name] = numbers[at : at + n_values].reshape(shape).astype(np.float32)
        at += n_values
    return tensors


TENSORS = unpack()

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
