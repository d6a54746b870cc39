"""Soft labels: what a teacher network, run elsewhere, says about each image.

A file is one of

    .npz  `logits` or `probabilities` (N, K) floats; `ids` (N,) str or `rows` (N,) int; `classes`
          (K,) str. No pickled objects.
    .csv  a header `id` or `row`, then a column per class; one line per image. A first line
          `# logits` or `# probabilities` says which they are. Without that line they are
          probabilities if every line is a distribution, logits if there is a value below 0 or
          above 1 and no line is a distribution, and an error otherwise.

`ids` are the ids of a FaceDataset; `rows` its source file's 0-based row numbers (for FER2013 the
rows of the csv). Entries may come in any order and may be more than the data set needs.
"""

from __future__ import annotations

import csv
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import LabelSpace, label_map

PROBABILITY_FLOOR = 1e-7

# A teacher's float16 probabilities still add up to one within this.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """A teacher's checked outputs, not yet aligned to any data set. Made by `load_soft_labels`.

    values            float32 (N, K): logits, or log-probabilities with probabilities below 1e-7
                      raised to 1e-7
    classes           K names, in the file's order
    ids / rows        (N,) str / int64: one of them, the other is None; unique
    kind              "logits" or "probabilities": what the file held
    floored_per_row   int64 (N,): how many probabilities of the row were raised
    source            the file, for messages
    """

    values: np.ndarray
    classes: tuple[str, ...]
    ids: np.ndarray | None
    rows: np.ndarray | None
    kind: str
    floored_per_row: np.ndarray
    source: str


@dataclass(frozen=True)
class AlignReport:
    """What aligning did: entries used and not used, probabilities raised among those used."""

    n_used: int
    n_unused: int
    n_floored: int
    kind: str


def load_soft_labels(path: str | os.PathLike[str]) -> SoftLabels:
    """Read and check a teacher's file (.npz or .csv; see the module's docstring).

    Raises DataError: no such file, damaged, missing parts, lengths that differ, a class named
    twice, NaN or infinity, a row that is no distribution, an id or row given twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".csv":
        return _from_csv(path)
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    raise DataError(f"{path}: expected soft labels as .npz or .csv")


def align_soft_labels(soft: SoftLabels, dataset: FaceDataset) -> tuple[np.ndarray, AlignReport]:
    """(values, report): float32 (N, K) in the row and class order of `dataset`.

    Rows are found by id or row number, classes by name (known synonyms included); then
    `dataset.with_soft_labels(values)`. Raises DataError for a class too many or missing, or an
    image without an entry.
    """
    values = _in_class_order(soft, dataset)
    if soft.ids is not None:
        name, wanted, given = "id", dataset.ids, soft.ids
    elif dataset.rows is not None:
        name, wanted, given = "row", dataset.rows, soft.rows
    else:
        raise DataError(f"{soft.source}: has row numbers, but this data set's rows have none")
    position = {key: i for i, key in enumerate(given.tolist())}
    found = np.array([position.get(key, -1) for key in wanted.tolist()], dtype=np.int64)
    absent = np.flatnonzero(found < 0)
    if absent.size:
        raise DataError(
            f"{soft.source}: no entry for {absent.size} of {len(dataset)} images; "
            f"the first is {name} {wanted[absent[0]].item()!r}"
        )
    n_floored = int(soft.floored_per_row[found].sum())
    n_used = len(set(found.tolist()))
    return values[found], AlignReport(n_used, len(given) - n_used, n_floored, soft.kind)


def _in_class_order(soft: SoftLabels, dataset: FaceDataset) -> np.ndarray:
    if dataset.label_space is None:
        raise DataError(f"{soft.source}: this data set has no label space to align classes to")
    mapped = label_map(LabelSpace("teacher", soft.classes), dataset.label_space, allow_lossy=True)
    for problem, names in (("extra", mapped.dropped), ("missing", mapped.unfilled)):
        if names:
            raise DataError(
                f"{soft.source}: {problem} class {', '.join(names)}; expected "
                f"{', '.join(dataset.classes)} in any order"
            )
    return mapped.apply_columns(soft.values)


def _from_npz(path: Path) -> SoftLabels:
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            parts = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no readable .npz file ({error})") from error
    kind = _one_of(path, parts, "logits", "probabilities")
    key = _one_of(path, parts, "ids", "rows")
    if "classes" not in parts:
        raise DataError(f"{path}: has no `classes`, expected the class names in column order")
    classes = parts["classes"]
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise DataError(
            f"{path}: classes: expected a list of names, found {classes.dtype} {classes.shape}"
        )
    keys = parts[key]
    if keys.ndim != 1 or keys.dtype.kind not in ("U" if key == "ids" else "iu"):
        expected = "strings" if key == "ids" else "whole numbers"
        raise DataError(f"{path}: {key}: expected {expected}, found {keys.dtype} {keys.shape}")
    places = [f"entry {i} ({key[:-1]} {k!r})" for i, k in enumerate(keys.tolist())]
    return _checked(path, parts[kind], tuple(classes.tolist()), key, keys, kind, places)


def _one_of(path: Path, parts: dict[str, np.ndarray], first: str, second: str) -> str:
    present = [name for name in (first, second) if name in parts]
    if len(present) != 1:
        raise DataError(
            f"{path}: expected either `{first}` or `{second}`, found {', '.join(sorted(parts))}"
        )
    return present[0]


def _from_csv(path: Path) -> SoftLabels:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [(n, row) for n, row in enumerate(csv.reader(file), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no readable csv file ({error})") from error
    kind = None
    if lines and lines[0][1][0].startswith("#"):
        kind = lines[0][1][0].lstrip("# ").strip().lower()
        if kind not in ("logits", "probabilities"):
            raise DataError(
                f"{path} line 1: expected '# logits' or '# probabilities', found {kind[:40]!r}"
            )
        lines = lines[1:]
    header = [name.strip() for name in lines[0][1]] if lines else []
    if len(header) < 2 or header[0].lower() not in ("id", "row"):
        raise DataError(
            f"{path}: expected a header with 'id' or 'row', then the class names; "
            f"found {','.join(header)[:60]!r}"
        )
    key = header[0].lower() + "s"
    values, keys = _csv_body(path, lines[1:], header)
    places = [f"line {n}" for n, _ in lines[1:]]
    kind = kind or _guessed_kind(path, values, places)
    return _checked(path, values, tuple(header[1:]), key, keys, kind, places)


def _csv_body(
    path: Path, lines: list[tuple[int, list[str]]], header: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    keys: list[str | int] = []
    values = np.empty((len(lines), len(header) - 1))
    for i, (line, fields) in enumerate(lines):
        if len(fields) != len(header):
            raise DataError(
                f"{path} line {line}: {len(fields)} fields, expected {len(header)} as in the header"
            )
        key = fields[0].strip()
        if header[0].lower() == "row" and not (key.isascii() and key.isdigit() and len(key) < 19):
            raise DataError(f"{path} line {line}: row {key!r}, expected a whole number 0 or more")
        keys.append(key if header[0].lower() == "id" else int(key))
        for j, field in enumerate(fields[1:]):
            try:
                values[i, j] = float(field)
            except ValueError:
                raise DataError(
                    f"{path} line {line}: {header[j + 1]} is {field[:20]!r}, expected a number"
                ) from None
    dtype = np.str_ if header[0].lower() == "id" else np.int64
    return values, np.array(keys, dtype=dtype)


def _guessed_kind(path: Path, values: np.ndarray, places: list[str]) -> str:
    """The module's rule for a csv that does not say; NaN rows count as no distribution."""
    distribution = _is_distribution(values)
    if distribution.all():
        return "probabilities"
    if not distribution.any() and ((values < 0) | (values > 1)).any():
        return "logits"
    raise DataError(
        f"{path} {places[int(np.flatnonzero(~distribution)[0])]}: no distribution, though the file "
        f"looks like probabilities; begin the file with a line '# logits' or '# probabilities'"
    )


def _is_distribution(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        total = values.sum(axis=1, dtype=np.float64)
        return (values >= 0).all(axis=1) & (np.abs(total - 1) <= _SUM_TOLERANCE)


def _checked(
    path: Path,
    values: np.ndarray,
    classes: tuple[str, ...],
    key: str,
    keys: np.ndarray,
    kind: str,
    places: list[str],
) -> SoftLabels:
    try:
        LabelSpace("teacher", classes)  # no class twice, none without a name
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    expected = (len(keys), len(classes))
    if values.dtype.kind not in "fiu" or values.shape != expected:
        raise DataError(
            f"{path}: {kind}: expected numbers of shape {expected}, one row for each of {key} and "
            f"one column for each of classes; found {values.dtype} {values.shape}"
        )
    if not len(keys):
        raise DataError(f"{path}: no entries")
    _check_keys(path, key, keys, places)
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(np.float32)).all(axis=1)
    if not finite.all():
        raise DataError(f"{path} {_first(places, ~finite)}: {kind} are not finite")
    floored = np.zeros(values.shape, dtype=bool)
    if kind == "probabilities":
        off = ~_is_distribution(values)
        if off.any():
            raise DataError(
                f"{path} {_first(places, off)}: no distribution "
                f"(expected values of 0 or more that sum to 1)"
            )
        floored = values < PROBABILITY_FLOOR
        values = np.log(np.maximum(values.astype(np.float64), PROBABILITY_FLOOR))
    return SoftLabels(
        values=values.astype(np.float32),
        classes=classes,
        ids=keys if key == "ids" else None,
        rows=keys.astype(np.int64) if key == "rows" else None,
        kind=kind,
        floored_per_row=floored.sum(axis=1),
        source=str(path),
    )


def _check_keys(path: Path, key: str, keys: np.ndarray, places: list[str]) -> None:
    if key == "rows" and keys.min() < 0:
        raise DataError(f"{path} {_first(places, keys < 0)}: row numbers begin at 0")
    if key == "ids" and (keys == "").any():
        raise DataError(f"{path} {_first(places, keys == '')}: no id")
    first_seen: dict[object, int] = {}
    for i, k in enumerate(keys.tolist()):
        if first_seen.setdefault(k, i) != i:
            raise DataError(
                f"{path} {places[i]}: {key[:-1]} {k!r} was already given in "
                f"{places[first_seen[k]]}"
            )


def _first(places: list[str], mask: np.ndarray) -> str:
    return places[int(np.flatnonzero(mask)[0])]
