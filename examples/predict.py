"""Find the faces in photos and say which expression each of them shows.

    python examples/predict.py photo.jpg
    python examples/predict.py --json holidays/ > faces.jsonl
    python examples/predict.py --annotate marked/ holidays/

A folder is taken with its subfolders, in the order of the names.  A file that cannot be read is
told on stderr and passed over.

Exit status: 0 all files were read, 1 some were not, 2 none was, or the options are wrong.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import ferdata
import tinycnn
from ferdata.faces import FRAMINGS, SIZE_PX, Faces, find_faces
from ferdata.photo import read_photo
from tinycnn.classify import UNSURE, Classification
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.models.pretrained import load_pretrained

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
PICTURES += (".pbm", ".pgm", ".ppm")
"""What is a picture in a folder; a file that is named itself is always tried."""

KEPT_SUFFIXES = (".jpeg", ".jpg", ".png")
"""Marked pictures are written in these formats; others become .png."""


class UsageError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


# ---- options ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Wrong options are told like everything else that is wrong: in one line."""

    def error(self, message: str) -> None:
        raise UsageError(f"{message} (--help explains the options)")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", metavar="PHOTO_OR_FOLDER", nargs="+", type=Path)
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--json",
        action="store_true",
        help="a line of JSON a photo: {file, faces: [{box, expression, probabilities}]}; a box is "
        "x, y, width, height in px of the upright photo",
    )
    rows.add_argument("--csv", action="store_true", help="a row of csv a face, under a header")
    parser.add_argument(
        "--annotate",
        metavar="FOLDER",
        type=Path,
        help="write every photo there too, its faces framed and named",
    )
    parser.add_argument("--model", metavar="FILE", help="model file (default: the shipped one)")
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how the network's faces were cut, for model files that do not say it",
    )
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=probability,
        default=0.0,
        help="say 'unsure' where the likeliest expression is less likely than P, from 0 to 1 "
        "(default: %(default)s)",
    )
    parser.add_argument("--threads", metavar="N", type=positive, help="(default: all usable cores)")
    args = parser.parse_intermixed_args(argv)  # photos may stand before and behind options
    if args.annotate:
        refuse_lost_pictures(args.photos, args.annotate)
    return args


def probability(text: str) -> float:
    return number(text, float, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def positive(text: str) -> int:
    return number(text, int, "a whole number of 1 or more", lambda value: value >= 1)


def number(text: str, kind: type, expected: str, fits: Callable[[float], bool]) -> Any:
    """An option's value, or argparse's error that says what was expected."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
    return value


def refuse_lost_pictures(photos: list[Path], annotate: Path) -> None:
    """Before any work is done: no marked picture may take the place of a photo or of another."""
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
                f"--annotate {annotate}: two of the given photos are called {name}; mark them one "
                "by one"
            )
        seen.add(name)


def load_network(args: argparse.Namespace) -> tinycnn.Network:
    """The network, with the framing in its input spec."""
    if args.model is None:
        network = load_pretrained(n_threads=args.threads)
    else:
        network = tinycnn.load(args.model, n_threads=args.threads)
    name, spec = args.model or "the shipped model", network.input_spec
    if spec.shape != (SIZE_PX, SIZE_PX, 1):
        H, W, C = spec.shape
        raise UsageError(f"{name}: takes {H}x{W}x{C} images; faces come as {SIZE_PX}x{SIZE_PX}x1")
    if spec.framing is None and args.framing is None:
        raise UsageError(
            f"{name}: does not say how its faces were cut; give --framing, one of "
            f"{', '.join(FRAMINGS)}"
        )
    if args.framing and spec.framing and args.framing != spec.framing:
        raise UsageError(f"{name}: learned from framing {spec.framing}, not {args.framing}")
    framing = spec.framing or args.framing
    if framing not in FRAMINGS:
        raise UsageError(f"{name}: its framing is {framing}; known are {', '.join(FRAMINGS)}")
    network.input_spec = tinycnn.InputSpec(**{**spec.config(), "framing": framing})
    return network


# ---- photos ----------------------------------------------------------------------------------


class Found(NamedTuple):
    """A file to look at, its name among the marked pictures, and why it cannot be looked at."""

    path: Path
    name: Path
    problem: str = ""


def find_photos(photos: list[Path], leave_out: Path | None) -> Iterator[Found]:
    """Every file in turn; a folder's one at a time, however many there are."""
    for path in photos:
        if not path.is_dir():
            yield Found(path, Path(path.name))
            continue
        name = Path() if len(photos) == 1 else Path(path.resolve().name)
        n_found = 0
        for found in in_folder(path, name, leave_out):
            n_found += 1
            yield found
        if not n_found:
            yield Found(path, name, "no pictures in this folder")


def in_folder(folder: Path, name: Path, leave_out: Path | None) -> Iterator[Found]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield Found(folder, name, f"cannot be listed: {error.strerror or error}")
        return
    for entry, is_folder in listed:
        if entry.startswith("."):
            continue
        path = folder / entry
        if is_folder:
            if leave_out is None or path.resolve() != leave_out:
                yield from in_folder(path, name / entry, leave_out)
        elif path.suffix.lower() in PICTURES:
            yield Found(path, name / entry)


# ---- rows ------------------------------------------------------------------------------------

Say = Callable[[str], None]


class JsonRows:
    """A line of JSON a photo."""

    def __init__(self, say: Say, classes: tuple[str, ...]) -> None:
        self.say = say

    def photo(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        shown = [
            {
                "box": box.tolist(),
                "expression": answer.label,
                "probabilities": {name: round(p, 6) for name, p in answer.probs.items()},
            }
            for box, answer in zip(faces.boxes, answers)
        ]
        self.say(json.dumps({"file": str(path), "faces": shown}))


class CsvRows:
    """A row a face; a photo without faces has none."""

    def __init__(self, say: Say, classes: tuple[str, ...]) -> None:
        self.say = say
        self.row("file", "x", "y", "width", "height", "expression", *classes)

    def photo(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            probs = (f"{p:.6f}" for p in answer.probs.values())
            self.row(path, *box.tolist(), answer.label, *probs)

    def row(self, *fields: object) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields)
        self.say(line.getvalue())


class Table:
    """A line a face for reading: probabilities in percent, the file at the end."""

    NO_FACE = "(no face)"

    def __init__(self, say: Say, classes: tuple[str, ...]) -> None:
        self.say = say
        self.first = max(len(name) for name in (*classes, UNSURE, self.NO_FACE))
        self.widths = [max(len(name), 3) for name in classes]
        self.line("expression", classes, ("x", "y", "width", "height"), "file")

    def photo(self, path: Path, faces: Faces, answers: list[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            percents = [f"{100 * p:.0f}" for p in answer.probs.values()]
            self.line(answer.label, percents, [str(v) for v in box.tolist()], str(path))
        if not answers:
            self.line(self.NO_FACE, [""] * len(self.widths), [""] * 4, str(path))

    def line(self, expression: str, probs: Any, box: Any, file: str) -> None:
        columns = [f"{text:>{width}}" for text, width in zip(probs, self.widths)]
        columns += [f"{text:>6}" for text in box]
        self.say(f"{expression:<{max(self.first, 10)}}  {' '.join(columns)}  {file}")


# ---- marked pictures -------------------------------------------------------------------------

FRAME, TEXT = (0, 200, 90), (0, 0, 0)


def marked(photo: np.ndarray, faces: Faces, answers: list[Classification]) -> Image.Image:
    """The photo in colour, each face in a frame with its expression above (or below) it."""
    picture = Image.fromarray(photo).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for (x, y, width, height), answer in zip(faces.boxes.tolist(), answers):
        line_px = max(round(height / 40), 1)
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=FRAME, width=line_px)
        sure = "" if answer.label == UNSURE else f" {answer.confidence:.0%}"
        text = f" {answer.label}{sure} "
        font = font_of(min(max(height // 7, 10), 60))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        text_width, text_height = right - left, bottom - top + 2 * line_px
        x = max(min(x, picture.width - text_width), 0)
        y = y - text_height if y >= text_height else min(y + height, picture.height - text_height)
        draw.rectangle((x, y, x + text_width, y + text_height - 1), fill=FRAME)
        draw.text((x - left, y - top + line_px), text, fill=TEXT, font=font)
    return picture


def font_of(size_px: int) -> Any:
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1 has one size
        return ImageFont.load_default()


def write_marked(folder: Path, name: Path, picture: Image.Image) -> None:
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


# ---- the walk --------------------------------------------------------------------------------


@dataclass
class Counts:
    """What has come of the photos so far."""

    photos: int = 0
    faces: int = 0
    without: int = 0
    failed: int = 0

    def __str__(self) -> str:
        text = f"{counted(self.photos, 'photo')}, {counted(self.faces, 'face')}"
        text += f", {counted(self.without, 'photo')} without a face" if self.without else ""
        return text + (f", {counted(self.failed, 'file')} not read" if self.failed else "")


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def run(argv: list[str]) -> int:
    args = parse(argv)
    network = load_network(args)
    leave_out = None
    if args.annotate:
        args.annotate.mkdir(parents=True, exist_ok=True)
        leave_out = args.annotate.resolve()
    total = sum(1 for _ in find_photos(args.photos, leave_out))
    kind = JsonRows if args.json else CsvRows if args.csv else Table
    rows = kind(lambda line: tqdm.write(line, file=sys.stdout), network.classes)
    counts = Counts()
    bar = tqdm(total=total, unit="photo", disable=None if total > 1 else True)
    try:
        for found in find_photos(args.photos, leave_out):
            try:
                look_at(found, network, args, rows, counts)
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


def look_at(
    found: Found, network: tinycnn.Network, args: argparse.Namespace, rows: Any, counts: Counts
) -> None:
    """One photo, from file to row."""
    if found.problem:
        raise ferdata.DataError(f"{found.path}: {found.problem}")
    faces = find_faces(found.path, network.input_spec.framing)
    answers = network.classify(faces, unsure_below=args.unsure_below)
    if args.annotate:
        photo = read_photo(found.path)
        write_marked(args.annotate, found.name, marked(photo, faces, answers))
    rows.photo(found.path, faces, answers)
    counts.photos += 1
    counts.faces += len(answers)
    counts.without += not answers


def main(argv: list[str] | None = None) -> int:
    if hasattr(sys.stdout, "reconfigure"):  # a file name may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our rows has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
