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

PrintLine = Callable[[str], None]


class Rows(Protocol):
    """One of the formats below."""

    def write(self, path: Path, faces: Faces, answers: Sequence[Classification]) -> None:
        """Print the answers for the faces of one photo."""


class JsonRows:
    """One JSON object per line and photo."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line

    def write(self, path: Path, faces: Faces, answers: Sequence[Classification]) -> None:
        shown = [
            {
                "box": box.tolist(),
                "expression": answer.label,
                "probabilities": {name: round(p, 6) for name, p in answer.probs.items()},
            }
            for box, answer in zip(faces.boxes, answers)
        ]
        self.print_line(json.dumps({"file": str(path), "faces": shown}))


class CsvRows:
    """One CSV row per face; a photo without faces has no row."""

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line
        self._write_row("file", "x", "y", "width", "height", "expression", *classes)

    def write(self, path: Path, faces: Faces, answers: Sequence[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            probs = [f"{p:.6f}" for p in answer.probs.values()]
            self._write_row(path, *box.tolist(), answer.label, *probs)

    def _write_row(self, *fields: object) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields)
        self.print_line(line.getvalue())


class TableRows:
    """A table to read: one line per face, with probabilities in percent and the file at the end."""

    NO_FACE = "(no face)"

    def __init__(self, print_line: PrintLine, classes: tuple[str, ...]) -> None:
        self.print_line = print_line
        self.first_width = max(len(name) for name in (*classes, UNSURE, self.NO_FACE, "expression"))
        self.widths = [max(len(name), 3) for name in classes]
        self._write_line("expression", classes, ("x", "y", "width", "height"), "file")

    def write(self, path: Path, faces: Faces, answers: Sequence[Classification]) -> None:
        for box, answer in zip(faces.boxes, answers):
            percents = [f"{100 * p:.0f}" for p in answer.probs.values()]
            self._write_line(answer.label, percents, [str(v) for v in box.tolist()], str(path))
        if not answers:
            self._write_line(self.NO_FACE, [""] * len(self.widths), [""] * 4, str(path))

    def _write_line(
        self, expression: str, probs: Iterable[str], box: Iterable[str], file: str
    ) -> None:
        columns = [f"{text:>{width}}" for text, width in zip(probs, self.widths)]
        columns += [f"{text:>6}" for text in box]
        self.print_line(f"{expression:<{self.first_width}}  {' '.join(columns)}  {file}")
