"""find the faces in photos and films and say which expression each of them shows

In a film every frame has its answers: each face is followed, and its probabilities are smoothed
over time.  Films and cameras need the extra `video`.  Ctrl-C stops and keeps what is done.  A
folder is searched with all its subfolders for pictures, in alphabetical order.  Pictures and films
are recognised by their content, whatever their names.  A file that cannot be read is reported on
stderr and skipped; files in folders that are no pictures are counted there by kind.  Exit status: 0
if every file was read (texts and tables beside the photos do not count), 1 if some were not, 2 if
none was or an option is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ferdata.errors import DataError
from ferdata.films.frames import Camera, Film, damage, film_format, open_camera
from ferdata.films.tracking import SMOOTHING_S
from ferdata.photos.detect import LEAST_SCORE, SMALLEST_PX
from ferdata.photos.faces import Faces, find_faces
from ferdata.photos.photo import read_photo

from ..classify import Classification
from ..ground.command_line import CannotError, Parser, above_zero, number, positive
from ..ground.messages import one_line, plain
from ..ground.output_files import reads, refuse_files_of_others
from ..ground.printing import print_data, print_message, print_text
from ..network import Network
from ..quantized.network import QuantizedNetwork
from .face_network import add_framing_argument, framed_spec, probability
from .film_prediction import (
    AnnotatedFilm,
    Moment,
    camera_recording,
    ctrl_c_afterwards,
    film_copy_path,
    frame_predictions,
)
from .memory_need import say_memory
from .model_argument import HELP, add_variant_argument, open_to_predict
from .photo_files import Found, PassedOver, find_photos
from .prediction_rows import CsvRows, JsonRows, Rows, TableRows

SHIPPED = "pretrained-residual48"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    if isinstance(parser, Parser):
        parser.intermixed = True  # photos may stand before, between and after the options
    reads(
        parser.add_argument(
            "photos",
            metavar="PHOTO_OR_FOLDER",
            nargs="*",
            type=Path,
            help="picture files, films, and folders to search for pictures",
        )
    )
    parser.add_argument(
        "--camera",
        metavar="NAME",
        help="the pictures of a camera: its number, such as 0, or the name that the system gives "
        "it; ends with Ctrl-C.  Frames that cannot be processed in time are dropped and counted",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per line and photo: {file, faces: [{box, expression, "
        "probabilities, score}]}; a box is x, y, width, height in pixels of the upright photo.  "
        "For a film a line per frame, with frame and time_s, and the number of each face",
    )
    rows.add_argument(
        "--csv", action="store_true", help="print CSV: a header, then one row per face"
    )
    parser.add_argument(
        "--annotate",
        metavar="FOLDER",
        type=Path,
        help="also write a copy of each photo and film to FOLDER, with a frame and a label on each "
        "face",
    )
    reads(
        parser.add_argument(
            "--model",
            metavar="MODEL",
            default=SHIPPED,
            help=f"{HELP} (default: %(default)s)",
        )
    )
    add_variant_argument(parser)
    add_framing_argument(parser)
    parser.add_argument(
        "--unsure-below",
        metavar="P",
        type=probability,
        default=0.0,
        help="answer 'unsure' for a face if no expression reaches the probability P, from 0 to 1 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--smallest-px",
        metavar="PX",
        type=_side,
        help=f"the side of the smallest face that is searched for, {SMALLEST_PX} or more (default: "
        f"{SMALLEST_PX}, or a twentieth of the photo's short side if that is more)",
    )
    parser.add_argument(
        "--least-score",
        metavar="S",
        type=above_zero,
        default=LEAST_SCORE,
        help="leave out faces of which the search is less sure: with 0.5 there are more faces and "
        "more false ones, with 2 fewer of both (default: %(default)s)",
    )
    parser.add_argument(
        "--smoothing",
        metavar="SECONDS",
        type=_seconds,
        default=SMOOTHING_S,
        help="in films, smooth the probabilities of each face over about so many seconds, so that "
        "its expression does not flicker; 0 switches it off (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="CPU threads (default: one per usable core)"
    )


def _side(text: str) -> float:
    least = SMALLEST_PX
    fits = f"a number of {least} or more"
    return number(float, text, lambda value: least <= value < float("inf"), fits)


def _seconds(text: str) -> float:
    fits = "a number of 0 or more"
    return number(float, text, lambda value: 0 <= value < float("inf"), fits)


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
    say_memory(args.model, network)
    name = "the shipped model" if args.model == SHIPPED else args.model
    network.input_spec = framed_spec(model, name, args.framing)
    return network


# ---- what is found ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prediction:
    """The faces of a photo, and the network's answer for each; or why it could not be read.

    moment  for a frame of a film
    """

    photo: Found
    faces: Faces | None
    answers: tuple[Classification, ...] = ()
    problem: str = ""
    moment: Moment | None = None


def predictions(
    args: argparse.Namespace, network: Network | QuantizedNetwork
) -> Iterator[Prediction]:
    """The faces of each photo and of each frame in turn, with their expressions."""
    for photo in find_photos(args.photos, _not_searched(args)):
        if not photo.is_picture:  # the Printer has counted it
            continue
        if photo.path in args.photos and film_format(photo.path):
            yield from _film_predictions(photo, lambda: Film(photo.path), args, network)
            continue
        if photo.problem:
            yield Prediction(photo, None, problem=f"{photo.path}: {photo.problem}")
            continue
        try:
            faces = find_faces(
                photo.path,
                network.input_spec.framing or "",
                smallest_px=args.smallest_px,
                least_score=args.least_score,
                size_px=network.input_spec.height_px,
            )
        except (DataError, OSError) as error:
            yield Prediction(photo, None, problem=one_line(error))
            continue
        answers = network.classify(faces, unsure_below=args.unsure_below)
        yield Prediction(photo, faces, tuple(answers))
    if args.camera is not None:
        photo = Found(Path(f"camera {args.camera}"), camera_recording(args.camera, args.annotate))
        yield from _film_predictions(photo, lambda: open_camera(args.camera), args, network)


def _film_predictions(
    photo: Found,
    open_film: Callable[[], Film | Camera],
    args: argparse.Namespace,
    network: Network | QuantizedNetwork,
) -> Iterator[Prediction]:
    """Those of each frame of a film or camera.  Raises ImportError without the extra `video`."""
    try:
        with open_film() as film:
            for faces, answers, moment in frame_predictions(film, network, args):
                yield Prediction(photo, faces, answers, moment=moment)
            if isinstance(film, Film) and film.n_damaged:
                yield Prediction(photo, None, problem=damage(film))
    except (DataError, OSError) as error:
        yield Prediction(photo, None, problem=one_line(error))


def _not_searched(args: argparse.Namespace) -> Path | None:
    """The folder of annotated copies: they are no photos."""
    return args.annotate.resolve() if args.annotate else None


# ---- what is printed -------------------------------------------------------------------------


class Printer:
    """Prints predictions, writes annotated photos and films and shows progress; at the end, on
    stderr, how many photos, frames and faces there were."""

    def __init__(self, args: argparse.Namespace, classes: tuple[str, ...]) -> None:
        if not args.photos and args.camera is None:
            raise CannotError(
                "the following arguments are required: PHOTO_OR_FOLDER, or --camera (tinycnn "
                "predict --help explains the options)"
            )
        if args.annotate:
            _refuse_to_overwrite(args.photos, args.annotate)
        self.annotate: Path | None = args.annotate
        self.n_files, self.passed_over = 0, PassedOver()
        for found in find_photos(args.photos, _not_searched(args)):
            if found.is_picture:
                self.n_files += 1
                if args.annotate:
                    refuse_files_of_others(copies_of(args.annotate, found))
            else:
                self.passed_over.add(found)
        if args.annotate:
            args.annotate.mkdir(parents=True, exist_ok=True)
        films = args.camera is not None or any(map(film_format, args.photos))
        self.films = FilmCounts() if films else None
        self.film_copy: AnnotatedFilm | None = None
        self.n_photos = self.n_faces = self.n_without_faces = self.n_failed = 0
        kind = JsonRows if args.json else CsvRows if args.csv else TableRows
        self.rows: Rows = kind(print_text if kind is TableRows else print_data, classes, films)
        disable = None if self.n_files > 1 else True
        self.bar = tqdm(total=self.n_files, unit="photo", disable=disable)

    def write(self, found: Prediction) -> None:
        """Print the answers for one photo or frame, or on stderr why there are none."""
        if found.faces is not None and found.moment is not None:
            self._write_frame(found, found.faces, found.moment)
            return
        problem = found.problem
        if found.faces is not None and self.annotate:
            from .annotated_photo import annotated, write_annotated

            try:
                picture = annotated(read_photo(found.photo.path), found.faces, found.answers)
                write_annotated(self.annotate, found.photo.name, picture)
            except (DataError, OSError) as error:
                problem = one_line(error)
        if problem or found.faces is None:
            self.n_failed += 1
            print_message(plain(f"error: {problem}"))
        else:
            self.rows.write(found.photo.path, found.faces, found.answers)
            self.n_photos += 1
            self.n_faces += len(found.answers)
            self.n_without_faces += not found.answers
        self.bar.update()

    def _write_frame(self, found: Prediction, faces: Faces, moment: Moment) -> None:
        if self.annotate:
            if self.film_copy is None or self.film_copy.film != found.photo.name:
                self._close_film_copy()
                self.film_copy = AnnotatedFilm(self.annotate, found.photo.name, moment.rate)
            self.film_copy.write(faces, found.answers, moment)
        with ctrl_c_afterwards():
            self.rows.write(found.photo.path, faces, found.answers, moment)
            if self.films is not None:
                self.films.add(moment)
        self.n_faces += len(found.answers)

    def _close_film_copy(self) -> None:
        if self.film_copy is not None:
            copy, self.film_copy = self.film_copy, None
            copy.close()

    @property
    def exit_status(self) -> int:
        if self.n_failed and not self.n_photos and not (self.films and self.films.n_frames):
            return 2
        return 1 if self.n_failed or self.passed_over.look_wrong else 0

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *others: object) -> None:
        self.bar.close()
        self._close_film_copy()
        if kind is KeyboardInterrupt:
            print_message(f"stopped: {self.summary()}")
        elif kind is None and (self.n_files > 1 or self.films or self.passed_over.names):
            print_message(self.summary())

    def summary(self) -> str:
        things = [_counted(self.n_photos, "photo")] if self.n_photos or not self.films else []
        if self.films is not None:
            things.append(_counted(self.films.n_frames, "frame"))
        text = f"{', '.join(things)}, {_counted(self.n_faces, 'face')}"
        if self.films is not None:
            text += f", {_counted(self.films.n_without_faces, 'frame')} without a face"
            if self.films.n_dropped:
                text += f", {_counted(self.films.n_dropped, 'frame')} of the camera dropped"
        if self.n_without_faces:
            text += f", {_counted(self.n_without_faces, 'photo')} without a face"
        if self.n_failed:
            text += f", {_counted(self.n_failed, 'file')} not read"
        return plain(text + (f"; {self.passed_over.summary()}" if self.passed_over.names else ""))


class FilmCounts:
    """How many frames there were, how many of them without a face, and how many were dropped."""

    n_frames = n_without_faces = n_dropped = 0

    def add(self, moment: Moment) -> None:
        self.n_frames += 1
        self.n_without_faces += not moment.tracks
        self.n_dropped += moment.n_dropped


def copies_of(folder: Path, found: Found) -> list[Path]:
    """Where the annotated copy of a photo or film is written."""
    if film_format(found.path):
        return [film_copy_path(folder, found.name)]
    from .annotated_photo import annotated_path

    return [annotated_path(folder, found.name)]


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
        if annotate.is_dir() and any(map(annotate.samefile, (place, *place.parents))):
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
