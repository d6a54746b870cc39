"""Find the faces in photos and say which expression each of them shows.

    python examples/predict.py photo.jpg
    python examples/predict.py --json holidays/ > faces.jsonl
    python examples/predict.py --annotate marked/ holidays/

A folder is searched with all its subfolders, in alphabetical order. A file that cannot be read is
reported on stderr and skipped.

Exit status: 0 if every file was read, 1 if some were not, 2 if none was or an option is wrong.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import ferdata
import tinycnn
from ferdata.photos.faces import FRAMINGS, SIZE_PX, Faces, find_faces
from ferdata.photos.photo import read_photo
from tinycnn.classify import UNSURE, Classification
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import positive
from tinycnn.models.pretrained import load_pretrained

PICTURE_SUFFIXES = tuple(".bmp .gif .jpeg .jpg .mpo .pbm .pgm .png .ppm .tif .tiff .webp".split())
"""Files in a folder with these suffixes are pictures. A file named on the command line is always
tried."""

KEPT_SUFFIXES = (".jpeg", ".jpg", ".png")
"""Annotated pictures keep these formats; all others are written as .png."""


class UsageError(Exception):
    """A mistake that the user can correct; the message says how."""


# ---- options ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line, as all other errors are reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help explains the options)")


class Options(argparse.Namespace):
    """The command line."""

    photos: list[Path]
    json: bool
    csv: bool
    annotate: Path | None
    model: str | None
    framing: str | None
    unsure_below: float
    threads: int | None


def parse(argv: list[str]) -> Options:
    parser = Parser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "photos",
        metavar="PHOTO_OR_FOLDER",
        nargs="+",
        type=Path,
        help="picture files, and folders to search for pictures",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per line and photo: {file, faces: [{box, expression, "
        "probabilities}]}; a box is x, y, width, height in pixels of the upright photo",
    )
    rows.add_argument(
        "--csv", action="store_true", help="print CSV: a header, then one row per face"
    )
    parser.add_argument(
        "--annotate",
        metavar="FOLDER",
        type=Path,
        help="also write a copy of each photo to FOLDER, with a frame and a label on each face",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="model file, .safetensors (default: the model that comes with tinycnn)",
    )
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how faces were cut out of the photos that the network was trained on; needed only "
        "for a model file that does not record it",
    )
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=probability,
        default=0.0,
        help="answer 'unsure' for a face if no expression reaches the probability P, from 0 to 1 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="CPU threads (default: one per usable core)"
    )
    # photos may stand before, between and after the options
    options = parser.parse_intermixed_args(argv, Options())
    if options.annotate:
        refuse_to_overwrite(options.photos, options.annotate)
    return options


def probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 1")
    return value


def refuse_to_overwrite(photos: list[Path], annotate: Path) -> None:
    """Raise UsageError if an annotated picture would overwrite a photo or another annotated
    picture."""
    if annotate.exists() and not annotate.is_dir():
        raise UsageError(f"--annotate {annotate}: a file; expected a folder")
    seen = set()
    for path in photos:
        place = (path if path.is_dir() else path.parent).resolve()
        if place == annotate.resolve():
            raise UsageError(
                f"--annotate {annotate}: holds {path}, which would be overwritten; choose another "
                "folder"
            )
        name = path.resolve().name
        if name in seen:
            raise UsageError(
                f"--annotate {annotate}: two of the given photos are called {name}; annotate "
                "them in separate runs"
            )
        seen.add(name)


def load_network(options: Options) -> tuple[tinycnn.Network, str]:
    """The network, and its framing: how its faces are cut. The input spec has the framing, too."""
    if options.model is None:
        network = load_pretrained(n_threads=options.threads)
    else:
        network = tinycnn.load(options.model, n_threads=options.threads)
    name, spec = options.model or "the shipped model", network.input_spec
    if spec.shape != (SIZE_PX, SIZE_PX, 1):
        H, W, C = spec.shape
        raise UsageError(f"{name}: takes {H}x{W}x{C} images; faces come as {SIZE_PX}x{SIZE_PX}x1")
    framing = spec.framing or options.framing
    if framing is None:
        raise UsageError(
            f"{name}: does not say how its faces were cut; give --framing, one of "
            f"{', '.join(FRAMINGS)}"
        )
    if options.framing and options.framing != framing:
        raise UsageError(f"{name}: learned from framing {framing}, not {options.framing}")
    if framing not in FRAMINGS:
        raise UsageError(f"{name}: its framing is {framing}; known are {', '.join(FRAMINGS)}")
    network.input_spec = replace(spec, framing=framing)
    return network, framing


# ---- photos ----------------------------------------------------------------------------------


class Found(NamedTuple):
    """A photo to process.

    path: the file. name: the path of its annotated copy, relative to the folder of --annotate.
    problem: why it cannot be processed, "" if it can.
    """

    path: Path
    name: Path
    problem: str = ""


def find_photos(photos: list[Path], skipped: Path | None) -> Iterator[Found]:
    """All files in turn; folders are listed step by step, so their size does not matter.

    skipped: a folder that is not searched.
    """
    for path in photos:
        if not path.is_dir():
            yield Found(path, Path(path.name))
            continue
        name = Path() if len(photos) == 1 else Path(path.resolve().name)
        n_found = 0
        for found in photos_in(path, name, skipped):
            n_found += 1
            yield found
        if not n_found:
            yield Found(path, name, "no pictures in this folder")


def photos_in(folder: Path, name: Path, skipped: Path | None) -> Iterator[Found]:
    """The pictures in a folder and its subfolders; hidden files and folders are left out."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield Found(folder, name, f"cannot be listed: {error.strerror or error}")
        return
    for entry_name, is_folder in listed:
        if entry_name.startswith("."):
            continue
        path = folder / entry_name
        if is_folder:
            if skipped is None or path.resolve() != skipped:
                yield from photos_in(path, name / entry_name, skipped)
        elif path.suffix.lower() in PICTURE_SUFFIXES:
            yield Found(path, name / entry_name)


# ---- output formats --------------------------------------------------------------------------

PrintLine = Callable[[str], None]


class Output(Protocol):
    """One of the formats below."""

    def write(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        """Print the answers for the faces of one photo."""


class JsonOutput:
    """One JSON object per line and photo."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line

    def write(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        shown = [
            {
                "box": box.tolist(),
                "expression": answer.label,
                "probabilities": {name: round(p, 6) for name, p in answer.probs.items()},
            }
            for box, answer in zip(faces.boxes, answers)
        ]
        self.print_line(json.dumps({"file": str(path), "faces": shown}))


class CsvOutput:
    """One CSV row per face; a photo without faces has no row."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line
        self.write_row("file", "x", "y", "width", "height", "expression", *classes)

    def write(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            probs = [f"{p:.6f}" for p in answer.probs.values()]
            self.write_row(path, *box.tolist(), answer.label, *probs)

    def write_row(self, *fields: object) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields)
        self.print_line(line.getvalue())


class TableOutput:
    """A table to read: one line per face, with probabilities in percent and the file at the end."""

    NO_FACE = "(no face)"

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line
        self.first_width = max(len(name) for name in (*classes, UNSURE, self.NO_FACE, "expression"))
        self.widths = [max(len(name), 3) for name in classes]
        self.write_line("expression", classes, ("x", "y", "width", "height"), "file")

    def write(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            percents = [f"{100 * p:.0f}" for p in answer.probs.values()]
            self.write_line(answer.label, percents, [str(v) for v in box.tolist()], str(path))
        if not answers:
            self.write_line(self.NO_FACE, [""] * len(self.widths), [""] * 4, str(path))

    def write_line(
        self, expression: str, probs: Iterable[str], box: Iterable[str], file: str
    ) -> None:
        columns = [f"{text:>{width}}" for text, width in zip(probs, self.widths)]
        columns += [f"{text:>6}" for text in box]
        self.print_line(f"{expression:<{self.first_width}}  {' '.join(columns)}  {file}")


# ---- annotated pictures ----------------------------------------------------------------------

FRAME_COLOUR, TEXT_COLOUR = (0, 200, 90), (0, 0, 0)


def annotated(photo: np.ndarray, faces: Faces, answers: list[Classification]) -> Image.Image:
    """The photo in colour, with a frame around each face and its expression above the frame, or
    below it if there is no room above."""
    picture = Image.fromarray(photo).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for (x, y, width, height), answer in zip(faces.boxes.tolist(), answers):
        line_px = max(round(height / 40), 1)
        box = (x, y, x + width - 1, y + height - 1)
        draw.rectangle(box, outline=FRAME_COLOUR, width=line_px)
        percent = "" if answer.label == UNSURE else f" {answer.confidence:.0%}"
        text = f" {answer.label}{percent} "
        font = load_font(min(max(height // 7, 10), 60))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        text_width, text_height = right - left, bottom - top + 2 * line_px
        x = max(min(x, picture.width - text_width), 0)
        y = y - text_height if y >= text_height else min(y + height, picture.height - text_height)
        draw.rectangle((x, y, x + text_width, y + text_height - 1), fill=FRAME_COLOUR)
        draw.text((x - left, y - top + line_px), text, fill=TEXT_COLOUR, font=font)
    return picture


def load_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1 has a single size
        return ImageFont.load_default()


def write_annotated(folder: Path, name: Path, picture: Image.Image) -> None:
    path = folder / name
    if path.suffix.lower() not in KEPT_SUFFIXES:
        path = path.with_name(path.name + ".png")
    content = io.BytesIO()
    if path.suffix.lower() == ".png":
        picture.save(content, "PNG")
    else:
        picture.save(content, "JPEG", quality=92)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())


# ---- the program -----------------------------------------------------------------------------


@dataclass
class Counts:
    """How many photos and faces have been processed so far."""

    photos: int = 0
    faces: int = 0
    without_faces: int = 0
    failed: int = 0

    def __str__(self) -> str:
        text = f"{counted(self.photos, 'photo')}, {counted(self.faces, 'face')}"
        if self.without_faces:
            text += f", {counted(self.without_faces, 'photo')} without a face"
        return text + (f", {counted(self.failed, 'file')} not read" if self.failed else "")


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def run(argv: list[str]) -> int:
    options = parse(argv)
    network, framing = load_network(options)
    skipped = None
    if options.annotate:
        options.annotate.mkdir(parents=True, exist_ok=True)
        skipped = options.annotate.resolve()
    total = sum(1 for _ in find_photos(options.photos, skipped))
    kind = JsonOutput if options.json else CsvOutput if options.csv else TableOutput
    output: Output = kind(lambda line: tqdm.write(line, file=sys.stdout), network.classes)
    counts = Counts()
    bar = tqdm(total=total, unit="photo", disable=None if total > 1 else True)
    try:
        for found in find_photos(options.photos, skipped):
            try:
                process(found, network, framing, options, output, counts)
            except BrokenPipeError:
                raise
            except (ferdata.DataError, OSError) as error:
                counts.failed += 1
                tqdm.write(f"error: {error}", file=sys.stderr)
            bar.update()
    except KeyboardInterrupt:
        bar.close()
        print(f"stopped: {counts}", file=sys.stderr)
        raise
    finally:
        bar.close()
    if total > 1:
        print(counts, file=sys.stderr)
    return 0 if not counts.failed else 1 if counts.photos else 2


def process(
    found: Found,
    network: tinycnn.Network,
    framing: str,
    options: Options,
    output: Output,
    counts: Counts,
) -> None:
    """Find and classify the faces of one photo, and write the answers."""
    if found.problem:
        raise ferdata.DataError(f"{found.path}: {found.problem}")
    faces = find_faces(found.path, framing)
    answers = network.classify(faces, unsure_below=options.unsure_below)
    if options.annotate:
        photo = read_photo(found.path)
        write_annotated(options.annotate, found.name, annotated(photo, faces, answers))
    output.write(found.path, faces, answers)
    counts.photos += 1
    counts.faces += len(answers)
    counts.without_faces += not answers


def main(argv: list[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold characters that the
        sys.stdout.reconfigure(errors="backslashreplace")  # terminal cannot show
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the program that reads our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
