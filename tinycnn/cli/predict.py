"""find the faces in photos and say which expression each of them shows

A folder is searched with all its subfolders, in alphabetical order.  A file that cannot be read is
reported on stderr and skipped.  Exit status: 0 if every file was read, 1 if some were not, 2 if
none was or an option is wrong.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ferdata.errors import DataError
from ferdata.photos.faces import FRAMINGS, SIZE_PX, Faces, find_faces
from ferdata.photos.photo import read_photo

from ..classify import Classification
from ..ground.command_line import CannotError, Parser, number, positive
from ..ground.messages import one_line
from ..network import Network
from ..quantized.network import QuantizedNetwork
from .annotated_photo import annotated, write_annotated
from .model_argument import HELP, OpenedModel, add_variant_argument, open_to_predict
from .photo_files import Found, find_photos
from .prediction_rows import CsvRows, JsonRows, Rows, TableRows

SHIPPED = "pretrained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    if isinstance(parser, Parser):
        parser.intermixed = True  # photos may stand before, between and after the options
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
        metavar="MODEL",
        default=SHIPPED,
        help=f"{HELP} (default: %(default)s)",
    )
    add_variant_argument(parser)
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how faces were cut out of the photos that the network was trained on; needed only "
        "for a model file that does not record it",
    )
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=_probability,
        default=0.0,
        help="answer 'unsure' for a face if no expression reaches the probability P, from 0 to 1 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="CPU threads (default: one per usable core)"
    )


def _probability(text: str) -> float:
    return number(float, text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def run(args: argparse.Namespace) -> int:
    network = load_network(args)
    with Printer(args, network.classes) as printer:
        for prediction in predictions(args, network):
            printer.write(prediction)
    return printer.exit_status


def load_network(args: argparse.Namespace) -> Network | QuantizedNetwork:
    """The network of --model; its input spec has the framing, which --framing may add.

    Raises CannotError if its faces cannot be cut out of photos, or if it was never trained.
    """
    model = open_to_predict(args.model, args.variant, args.threads)
    network = model.network
    name, spec = "the shipped model" if args.model == SHIPPED else args.model, network.input_spec
    if isinstance(model, OpenedModel) and model.kind == "new weights":
        raise CannotError(f"{name}: has random weights; expected a network that was trained")
    if spec.shape != (SIZE_PX, SIZE_PX, 1):
        H, W, C = spec.shape
        raise CannotError(f"{name}: takes {H}x{W}x{C} images; faces come as {SIZE_PX}x{SIZE_PX}x1")
    framing = spec.framing or args.framing
    if framing is None:
        raise CannotError(
            f"{name}: does not say how its faces were cut; give --framing, one of "
            f"{', '.join(FRAMINGS)}"
        )
    if args.framing and args.framing != framing:
        raise CannotError(f"{name}: learned from framing {framing}, not {args.framing}")
    if framing not in FRAMINGS:
        raise CannotError(f"{name}: its framing is {framing}; known are {', '.join(FRAMINGS)}")
    network.input_spec = replace(spec, framing=framing)
    return network


# ---- what is found ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prediction:
    """The faces of a photo, and the network's answer for each; or why it could not be read."""

    photo: Found
    faces: Faces | None
    answers: tuple[Classification, ...] = ()
    problem: str = ""


def predictions(
    args: argparse.Namespace, network: Network | QuantizedNetwork
) -> Iterator[Prediction]:
    """The faces of each photo in turn, with their expressions."""
    for photo in find_photos(args.photos, _not_searched(args)):
        if photo.problem:
            yield Prediction(photo, None, problem=f"{photo.path}: {photo.problem}")
            continue
        try:
            faces = find_faces(photo.path, network.input_spec.framing or "")
        except (DataError, OSError) as error:
            yield Prediction(photo, None, problem=one_line(error))
            continue
        answers = network.classify(faces, unsure_below=args.unsure_below)
        yield Prediction(photo, faces, tuple(answers))


def _not_searched(args: argparse.Namespace) -> Path | None:
    """The folder of annotated copies: they are no photos."""
    return args.annotate.resolve() if args.annotate else None


# ---- what is printed -------------------------------------------------------------------------


class Printer:
    """Prints predictions, writes annotated photos and shows progress; at the end, on stderr, how
    many photos and faces there were."""

    def __init__(self, args: argparse.Namespace, classes: tuple[str, ...]) -> None:
        if args.annotate:
            _refuse_to_overwrite(args.photos, args.annotate)
            args.annotate.mkdir(parents=True, exist_ok=True)
        self.annotate: Path | None = args.annotate
        self.n_files = sum(1 for _ in find_photos(args.photos, _not_searched(args)))
        self.n_photos = self.n_faces = self.n_without_faces = self.n_failed = 0
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold characters that the
            sys.stdout.reconfigure(errors="backslashreplace")  # terminal cannot show
        kind = JsonRows if args.json else CsvRows if args.csv else TableRows
        self.rows: Rows = kind(lambda line: tqdm.write(line, file=sys.stdout), classes)
        disable = None if self.n_files > 1 else True
        self.bar = tqdm(total=self.n_files, unit="photo", disable=disable)

    def write(self, found: Prediction) -> None:
        """Print the answers for one photo, or on stderr why there are none."""
        problem = found.problem
        if found.faces is not None and self.annotate:
            try:
                picture = annotated(read_photo(found.photo.path), found.faces, found.answers)
                write_annotated(self.annotate, found.photo.name, picture)
            except (DataError, OSError) as error:
                problem = one_line(error)
        if problem or found.faces is None:
            self.n_failed += 1
            tqdm.write(f"error: {problem}", file=sys.stderr)
        else:
            self.rows.write(found.photo.path, found.faces, found.answers)
            self.n_photos += 1
            self.n_faces += len(found.answers)
            self.n_without_faces += not found.answers
        self.bar.update()

    @property
    def exit_status(self) -> int:
        return 0 if not self.n_failed else 1 if self.n_photos else 2

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *others: object) -> None:
        self.bar.close()
        if kind is KeyboardInterrupt:
            print(f"stopped: {self.summary()}", file=sys.stderr)
        elif kind is None and self.n_files > 1:
            print(self.summary(), file=sys.stderr)

    def summary(self) -> str:
        text = f"{_counted(self.n_photos, 'photo')}, {_counted(self.n_faces, 'face')}"
        if self.n_without_faces:
            text += f", {_counted(self.n_without_faces, 'photo')} without a face"
        return text + (f", {_counted(self.n_failed, 'file')} not read" if self.n_failed else "")


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _refuse_to_overwrite(photos: Sequence[Path], annotate: Path) -> None:
    """Raise CannotError if an annotated picture would overwrite a photo or another annotated
    picture."""
    if annotate.exists() and not annotate.is_dir():
        raise CannotError(f"--annotate {annotate}: a file; expected a folder")
    seen = set()
    for path in photos:
        place = (path if path.is_dir() else path.parent).resolve()
        if place == annotate.resolve():
            raise CannotError(
                f"--annotate {annotate}: holds {path}, which would be overwritten; choose another "
                "folder"
            )
        name = path.resolve().name
        if name in seen:
            raise CannotError(
                f"--annotate {annotate}: two of the given photos are called {name}; annotate "
                "them in separate runs"
            )
        seen.add(name)
