"""Draws what was found into a copy of a photo: a frame and a label for each face."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ferdata.photos.faces import Faces

from ..classify import UNSURE, Classification
from ..ground.atomic_file import write_atomically
from ..ground.mark import MARK
from ..ground.output_files import refuse_files_of_others

FRAME_COLOUR, TEXT_COLOUR = (0, 200, 90), (0, 0, 0)

KEPT_SUFFIXES = (".jpeg", ".jpg", ".png")
"""Annotated pictures keep these formats; all others are written as .png."""


def annotated(photo: np.ndarray, faces: Faces, answers: Sequence[Classification]) -> Image.Image:
    """The photo in colour, with a frame around each face and its expression above the frame, or
    below it if there is no room above.  photo: uint8 (H, W) or (H, W, 3)."""
    picture = Image.fromarray(photo).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for (x, y, width, height), answer in zip(faces.boxes.tolist(), answers):
        line_px = max(round(height / 40), 1)
        box = (x, y, x + width - 1, y + height - 1)
        draw.rectangle(box, outline=FRAME_COLOUR, width=line_px)
        percent = "" if answer.label == UNSURE else f" {answer.confidence:.0%}"
        text = f" {answer.label}{percent} "
        font = _font(min(max(height // 7, 10), 60))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        text_width, text_height = right - left, bottom - top + 2 * line_px
        x = max(min(x, picture.width - text_width), 0)
        y = y - text_height if y >= text_height else min(y + height, picture.height - text_height)
        draw.rectangle((x, y, x + text_width, y + text_height - 1), fill=FRAME_COLOUR)
        draw.text((x - left, y - top + line_px), text, fill=TEXT_COLOUR, font=font)
    return picture


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1 has a single size
        return ImageFont.load_default()


def annotated_path(folder: Path, name: Path) -> Path:
    """The annotated copy of the photo that is called `name`."""
    path = folder / name
    if path.suffix.lower() not in KEPT_SUFFIXES:
        path = path.with_name(path.name + ".png")
    return path


def write_annotated(folder: Path, name: Path, picture: Image.Image) -> None:
    """Write `picture` to the copy of `name` in the folder.  Raises OSError, also for a file there
    that this package has not written."""
    path = annotated_path(folder, name)
    refuse_files_of_others([path])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        write_png(path, picture)
        return
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=92, comment=MARK)
    write_atomically(path, content.getvalue())


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a PNG file with the mark of this package, whole or not at all.  Raises OSError."""
    mark, content = PngInfo(), io.BytesIO()
    mark.add_text("Comment", MARK)
    picture.save(content, "PNG", pnginfo=mark)
    write_atomically(path, content.getvalue())
