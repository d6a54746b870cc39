"""Arrays as HTML: small pictures in colour, bars, and tables of coloured numbers.

Red is above 0, white is 0, blue is below 0; the strongest colour is the largest |value|.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..ground.html_page import escape, png, png_picture

MINUS = "\u2212"
N_SHADES = 63  # odd, so that the middle one is exactly 0; few, as each picture stores them
_BELOW, _ABOVE, _GAP, _INK = (33, 90, 172), (190, 30, 45), (205, 208, 212), (0, 0, 0)


def colour(share: float) -> tuple[int, int, int]:
    """share -1..1 -> red, green, blue."""
    strongest = _ABOVE if share > 0 else _BELOW
    red, green, blue = (round(255 + (c - 255) * min(abs(share), 1.0)) for c in strongest)
    return red, green, blue


_PALETTE = [channel for k in range(N_SHADES) for channel in colour(2 * k / (N_SHADES - 1) - 1)]
_PALETTE += [*_GAP, *_INK]


def shades(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Palette indices, uint8, for values of any shape.

    largest: the |value| that gets the strongest colour; by default the largest one
    """
    if largest is None:
        largest = float(np.abs(values).max(initial=0.0))
    middle = N_SHADES // 2
    share = np.clip(values / largest, -1, 1) if largest else np.zeros(values.shape)
    # rounded away from 0, so that only 0 is white
    return (middle + np.copysign(np.ceil(np.abs(share) * middle), share)).astype(np.uint8)


def sheet(planes: np.ndarray) -> np.ndarray:
    """n shaded planes, an array (H, W, n), in rows and columns with grey lines between them, nearly
    square in all."""
    H, W, n = planes.shape
    n_columns = max(1, min(n, round(math.sqrt(n * (H + 1) / (W + 1)))))
    n_rows = -(-n // n_columns)
    drawn = np.full((n_rows * (H + 1) - 1, n_columns * (W + 1) - 1), N_SHADES, np.uint8)
    for k in range(n):
        row, column = divmod(k, n_columns)
        drawn[row * (H + 1) :, column * (W + 1) :][:H, :W] = planes[:, :, k]
    return drawn


def marked_plane(plane: np.ndarray, winners: np.ndarray, pixel: int = 8) -> np.ndarray:
    """plane (H, W) shaded, each value as pixel x pixel, with black frames around the winners.

    winners: flat indices into plane
    """
    drawn = np.kron(shades(plane), np.ones((pixel, pixel), np.uint8))
    for winner in np.unique(winners):
        row, column = divmod(int(winner), plane.shape[1])
        block = drawn[row * pixel : (row + 1) * pixel, column * pixel : (column + 1) * pixel]
        block[[0, -1]] = block[:, [0, -1]] = N_SHADES + 1
    return drawn


def picture(drawn: np.ndarray, alt: str, width_px: int) -> str:
    """Palette indices (H, W) as an <img>."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(drawn))
    image.putpalette(_PALETTE)
    return _img(image, alt, width_px)


def grey_picture(pixels: np.ndarray, alt: str, width_px: int) -> str:
    """uint8 (H, W, C) as an <img>: in colour where C is 3, else the first channel in grey."""
    from PIL import Image

    plain = pixels if pixels.shape[2] == 3 else pixels[:, :, 0]
    return _img(Image.fromarray(np.ascontiguousarray(plain)), alt, width_px)


def _img(image, alt: str, width_px: int) -> str:
    height_px = round(width_px * image.height / image.width)
    return png_picture(png(image), alt, size_px=(width_px, height_px))


def number(value: float, n_digits: int = 4) -> str:
    """value to n_digits significant digits, as short as possible, with the sign − (not -)."""
    if value == 0:
        return "0"
    text = f"{value:.{n_digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{value:.0f}" if 0 < int(exponent) < 6 else f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS)


def cell(value: float, largest: float, text: str, class_: str = "") -> str:
    """A table cell: text on the colour of value.  class_: more CSS classes"""
    share = value / largest if largest else 0.0
    red, green, blue = colour(share)
    classes = " ".join(filter(None, [class_, "deep" if abs(share) > 0.55 else ""]))
    mark = f' class="{classes}"' if classes else ""
    return f'<td{mark} style="background:#{red:02x}{green:02x}{blue:02x}">{text}</td>'


def number_grid(
    plane: np.ndarray,
    at: tuple[slice, slice],
    caption: str,
    mark: Callable[[int, int], str] = lambda row, column: "",
) -> str:
    """A part of a plane (H, W) as a table of coloured numbers with their indices at the sides.

    All numbers are multiples of one power of ten, which the caption names, with as many decimals as
    give the largest three digits.  Exact zeros are "0".
    at    the part's rows and columns;  caption: HTML
    mark  from a row's and a column's index to a CSS class for the cell
    """
    values = plane[at].astype(float)
    largest = float(np.abs(values).max(initial=0.0))
    power, n_decimals = common_scale(largest)
    unit = f" <b>× 10<sup>{number(power)}</sup></b>" if power else ""
    whole = bool((values == np.rint(values)).all())
    rows, columns = (range(one.start, one.stop) for one in at)
    head = "".join(f"<th>{column}</th>" for column in columns)
    lines = [f'<table class="grid"><caption>{caption}{unit}</caption><tr><td></td>{head}</tr>']
    for row, of_row in zip(rows, values.tolist()):
        cells = []
        for column, value in zip(columns, of_row):
            text = f"{value / 10.0**power:.{0 if whole else n_decimals}f}" if value else "0"
            cells.append(cell(value, largest, text.replace("-", MINUS), mark(row, column)))
        lines.append(f"<tr><th>{row}</th>{''.join(cells)}</tr>")
    return "".join(lines) + "</table>"


def common_scale(largest: float) -> tuple[int, int]:
    """(power, n_decimals): how to write the numbers of a table whose largest is `largest`.

    They are divided by 10^power and written with n_decimals, so that the largest has three digits.
    power is 0 if the largest is from 0.1 to 9,999, otherwise a multiple of 3.
    """
    if not largest:
        return 0, 0
    digits = math.floor(math.log10(largest))
    power = 0 if -1 <= digits <= 3 else 3 * math.floor(digits / 3)
    return power, max(0, 2 - (digits - power))


def bars(
    values: np.ndarray,
    names: Sequence[str],
    mark: int | None = None,
    largest: float | None = None,
) -> str:
    """One bar for each value, from 0 to the left (blue) or right (red), between name and number.

    mark: the index of a row to highlight;  largest: the |value| that gets the longest bar; by
    default the largest one
    """
    if largest is None:
        largest = float(np.abs(values).max(initial=0.0))
    lines = []
    for k, (value, name) in enumerate(zip(values.tolist(), names)):
        share = 50 * abs(value) / largest if largest else 0.0
        start = 50 - share if value < 0 else 50
        side = "below" if value < 0 else "above"
        class_ = ' class="spot"' if k == mark else ""
        lines.append(
            f'<tr{class_}><th>{escape(name)}</th><td class="length"><i class="{side}" '
            f'style="left:{start:.2f}%;width:{share:.2f}%"></i></td>'
            f'<td class="n">{number(value)}</td></tr>'
        )
    return f'<table class="bars">{"".join(lines)}</table>'


def around(centre: int, size: int, n: int) -> slice:
    """n neighbouring indices of 0..size-1, with `centre` in the middle unless it is near an end."""
    first = max(min(centre - n // 2, size - n), 0)
    return slice(first, min(first + n, size))
