"""How `tinycnn predict` prints what it found: JSON, CSV, or a table to read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ferdata.photos.faces import Faces

from ..classify import UNSURE, Classification
from ..ground.messages import plain
from .film_prediction import Moment

PrintLine = Callable[[str], None]


def _scores(faces: Faces) -> list[float | None]:
    """The score of each face, rounded; None where it is not known."""
    if faces.scores is None:
        return [None] * len(faces.boxes)
    return [round(score, 3) for score in faces.scores.tolist()]


class Rows(Protocol):
    """One of the formats below."""

    def write(
        self,
        path: Path,
        faces: Faces,
        answers: Sequence[Classification],
        moment: Moment | None = None,
    ) -> None:
        """Print the answers for the faces of one photo, or of the frame `moment` of a film."""


class JsonRows:
    """One JSON object per line and photo or frame."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...], films: bool) -> None:
        self.print_line = print_line

    def write(
        self,
        path: Path,
        faces: Faces,
        answers: Sequence[Classification],
        moment: Moment | None = None,
    ) -> None:
        shown: list[dict[str, object]] = [
            {
                "box": box.tolist(),
                "expression": answer.label,
                "probabilities": {name: round(p, 6) for name, p in answer.probs.items()},
                "score": score,
            }
            for box, answer, score in zip(faces.boxes, answers, _scores(faces))
        ]
        row: dict[str, object] = {"file": str(path)}
        if moment is not None:
            row |= {"frame": moment.number, "time_s": round(moment.time_s, 6)}
            shown = [{"face": track, **face} for track, face in zip(moment.tracks, shown)]
        self.print_line(json.dumps({**row, "faces": shown}))


class CsvRows:
    """One CSV row per face; a photo or frame without faces has no row.  With films, there are
    columns for frame, time and the number of the face, which are empty for photos."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...], films: bool) -> None:
        self.print_line, self.films = print_line, films
        when = ("frame", "time_s", "face") if films else ()
        box = ("x", "y", "width", "height")
        self._write_row("file", *when, *box, "expression", *classes, "score")

    def write(
        self,
        path: Path,
        faces: Faces,
        answers: Sequence[Classification],
        moment: Moment | None = None,
    ) -> None:
        tracks = moment.tracks if moment else [None] * len(answers)
        for box, answer, score, track in zip(faces.boxes, answers, _scores(faces), tracks):
            when = (moment.number, f"{moment.time_s:.6f}", track) if moment else ("", "", "")
            probs = [f"{p:.6f}" for p in answer.probs.values()]
            place = (*when, *box.tolist()) if self.films else box.tolist()
            self._write_row(path, *place, answer.label, *probs, "" if score is None else score)

    def _write_row(self, *fields: object) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields)
        self.print_line(line.getvalue())


class TableRows:
    """A table to read: one line per face, with probabilities in percent and the file at the end.
    With films, there are columns for the time and the number of the face."""

    NO_FACE = "(no face)"

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...], films: bool) -> None:
        self.print_line, self.films = print_line, films
        self.first_width = max(len(name) for name in (*classes, UNSURE, self.NO_FACE, "expression"))
        self.widths = [max(len(name), 3) for name in classes]
        columns = ["x", "y", "width", "height", *(["time", "face"] if films else [])]
        self._write_line("expression", map(plain, classes), columns, "file")

    def write(
        self,
        path: Path,
        faces: Faces,
        answers: Sequence[Classification],
        moment: Moment | None = None,
    ) -> None:
        when = f"{moment.time_s:.2f}" if moment else ""
        tracks = moment.tracks if moment else [""] * len(answers)
        for box, answer, track in zip(faces.boxes, answers, tracks):
            percents = [f"{100 * p:.0f}" for p in answer.probs.values()]
            place = [*map(str, box.tolist()), *([when, str(track)] if self.films else [])]
            self._write_line(plain(answer.label), percents, place, plain(path))
        if not answers:
            place = [""] * 4 + ([when, ""] if self.films else [])
            self._write_line(self.NO_FACE, [""] * len(self.widths), place, plain(path))

    def _write_line(
        self, expression: str, probs: Iterable[str], box: Iterable[str], file: str
    ) -> None:
        columns = [f"{text:>{width}}" for text, width in zip(probs, self.widths)]
        columns += [f"{text:>6}" for text in box]
        self.print_line(f"{expression:<{self.first_width}}  {' '.join(columns)}  {file}")
