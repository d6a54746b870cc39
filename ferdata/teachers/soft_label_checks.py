"""Check the contents of a file of soft labels; soft_labels.py describes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ferdata.errors import DataError
from ferdata.labels import LabelSpace
from ferdata.teachers.soft_label_files import Parts, singular
from tinycnn.ground.distributions import ROW_SUM_TOLERANCE, is_distribution, log_sum_exp
from tinycnn.ground.masked_arrays import unmasked

PROBABILITY_FLOOR = 1e-7

# How far two answers for the same picture may be apart: in float16 they depend on the batch.
_SAME_ANSWER = 2e-2


def checked_parts(path: Path, parts: Parts) -> tuple[Parts, np.ndarray]:
    """(parts, floored_per_row), checked and converted to what `SoftLabels` holds: one entry per
    image, values in float32, and the logarithms of probabilities. Percentages are divided by 100.
    Raises DataError."""
    try:
        LabelSpace("teacher", parts.classes)  # raises if a class is named twice or has no name
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    key, keys = parts.key, parts.keys
    if keys.ndim != 1 or (keys.dtype.kind not in ("iu" if key == "rows" else "U") and keys.size):
        expected = "whole numbers" if key == "rows" else "strings"
        raise DataError(f"{path}: {key}: expected {expected} (N,), found {keys.dtype} {keys.shape}")
    outputs = [parts.values] if parts.flipped is None else [parts.values, parts.flipped]
    for values, suffix in zip(outputs, ("", "_flipped")):
        _check_table(path, parts, values, suffix)
    kind = parts.kind or _guessed_kind(path, parts)
    percentages = all(_are_percentages(values) for values in outputs)
    if percentages and kind == "logits":
        raise DataError(
            f"{path}: logits are percentages: no value is below 0, and each row sums to 100; give "
            "them as probabilities"
        )
    if percentages:
        outputs = [values / 100 for values in outputs]
    for values, suffix in zip(outputs, ("", " (flipped)")):
        _check_values(path, parts, values, kind, suffix)
    if outputs[-1].shape != parts.values.shape:
        raise DataError(
            f"{path}: {kind}_flipped: expected the shape of {kind} {parts.values.shape}, found "
            f"{outputs[-1].shape}"
        )
    _check_keys(path, parts)
    if parts.key == "hashes":
        parts = replace(parts, keys=np.char.lower(parts.keys))
    keys = parts.keys
    if parts.crop is not None:
        keys, order = _crops_together(path, parts, parts.crop)
        outputs = [values[order] for values in outputs]
    floored = np.zeros(len(keys), dtype=np.int64)
    if kind == "probabilities":
        floored = (outputs[0] < PROBABILITY_FLOOR).reshape(len(keys), -1).sum(axis=1)
        outputs = [np.log(np.maximum(v.astype(np.float64), PROBABILITY_FLOOR)) for v in outputs]
    outputs = [values.astype(np.float32) for values in outputs]
    if parts.key == "hashes":
        once = _each_hash_once(path, parts, keys, outputs)
        keys, floored = keys[once], floored[once]
        outputs = [values[once] for values in outputs]
    flipped = outputs[1] if len(outputs) > 1 else None
    parts = replace(parts, kind=kind, values=outputs[0], flipped=flipped, keys=keys, crop=None)
    return replace(parts, percentages=percentages), floored


def _check_table(path: Path, parts: Parts, values: np.ndarray, suffix: str) -> None:
    """Raise DataError unless the values are numbers of the right shape, and there are some."""
    n, k = len(parts.keys), len(parts.classes)
    with_crops = parts.crop is None and values.ndim == 3 and values.shape[1] > 0
    expected = (n, values.shape[1], k) if with_crops else (n, k)
    if values.dtype.kind not in "fiu" or values.shape != expected:
        raise DataError(
            f"{path}: {parts.kind}{suffix}: expected numbers of shape {expected}, one "
            f"row for each of {parts.key} and one column for each of classes; found {values.dtype} "
            f"{values.shape}"
        )
    if not n:
        raise DataError(f"{path}: no entries")


def _check_values(path: Path, parts: Parts, values: np.ndarray, kind: str, suffix: str) -> None:
    def first(bad: ArrayLike) -> str:
        """Where the first bad row is in the file, with its crop."""
        at = np.argwhere(bad)[0].tolist()
        return parts.place(at[0]) + (f" crop {at[1]}" if len(at) > 1 else "") + suffix

    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(np.float32)).all(axis=-1)
    if bad.any():
        raise DataError(f"{path} {first(bad)}: {kind} are not finite")
    if kind == "probabilities":
        off = ~is_distribution(values)
        if off.any():
            in_percent = is_distribution(values / 100)
            off = ~in_percent if in_percent.any() else off  # all others are percentages
            row = values[tuple(np.argwhere(off)[0])]
            raise DataError(f"{path} {first(off)}: {_why_no_distribution(row)}")


def _are_percentages(values: np.ndarray) -> bool:
    """Whether each row is a distribution in percent: its sum differs from 100 by at most 0.1."""
    first, rest = values[:1], values[1:]  # the first row of logits is none: the rest is not copied
    return all(bool(is_distribution(part / 100).all()) for part in (first, rest))


def _why_no_distribution(row: np.ndarray) -> str:
    """What is wrong with one row (K,), and what to do."""
    expected = f"expected values of 0 or more that sum to 1 within {ROW_SUM_TOLERANCE}"
    with np.errstate(invalid="ignore", over="ignore"):
        lowest, total = float(row.min()), float(row.sum(dtype=np.float64))
    if not np.isfinite(total):
        return "no distribution: not all values are finite"
    if lowest < 0:
        advice = "give outputs from before the softmax as logits"
        return f"no distribution: {lowest:.6g} is below 0 ({expected}; {advice})"
    advice = "divide each row by its sum" if total else "a row needs a value above 0"
    also = ", or percentages that sum to 100 within 0.1 in all rows" if total > 2 else ""
    return f"no distribution: the values sum to {total:.6g} ({expected}{also}; {advice})"


def _guessed_kind(path: Path, parts: Parts) -> str:
    """The kind of a csv that does not say it, by the rule in soft_labels.py. A row with NaN is not
    a distribution."""
    distribution = is_distribution(parts.values)
    if distribution.all() or _are_percentages(parts.values):
        return "probabilities"
    if not distribution.any() and ((parts.values < 0) | (parts.values > 1)).any():
        return "logits"
    first = int(np.flatnonzero(~distribution)[0])
    raise DataError(
        f"{path} {parts.place(first)}: {_why_no_distribution(parts.values[first])}, though the "
        "file looks like probabilities; begin it with a line '# logits' or '# probabilities'"
    )


def _check_keys(path: Path, parts: Parts) -> None:
    key, keys, place = parts.key, parts.keys, parts.place
    if key == "rows" and keys.min() < 0:
        raise DataError(f"{path} {place(int(np.argmax(keys < 0)))}: row numbers begin at 0")
    if key != "rows" and (keys == "").any():
        raise DataError(f"{path} {place(int(np.argmax(keys == '')))}: no {singular(key)}")
    if key == "hashes":
        for i, k in enumerate(keys.tolist()):
            if len(k) != 64 or not set(k.lower()) <= set("0123456789abcdef"):
                raise DataError(
                    f"{path} {place(i)}: expected a sha256 of 64 hex digits, see content_ids"
                )
    else:
        with_crop = keys.tolist() if parts.crop is None else zip(keys.tolist(), parts.crop.tolist())
        first_seen: dict[object, int] = {}
        for i, k in enumerate(with_crop):
            if first_seen.setdefault(k, i) != i:
                name = repr(k) if parts.crop is None else f"{k[0]!r} crop {k[1]}"
                raise DataError(
                    f"{path} {place(i)}: {singular(key)} {name} was already given in "
                    f"{place(first_seen[k])}"
                )


def _crops_together(path: Path, parts: Parts, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(keys (N,), each once, in the order of their first entries; entry numbers (N, n_crops))."""
    number: dict[object, int] = {}
    image_of = np.array([number.setdefault(key, len(number)) for key in parts.keys.tolist()])
    _, firsts = np.unique(image_of, return_index=True)
    crop = crops.astype(np.int64)
    n, n_crops = len(firsts), int(crop.max()) + 1
    counts = np.bincount(image_of)
    wrong = (counts != n_crops) | (crop.min() < 0)
    if wrong.any():
        i = int(firsts[np.argmax(wrong)])
        raise DataError(
            f"{path} {parts.place(i)}: {int(counts[np.argmax(wrong)])} crops; expected each of the "
            f"crops 0 to {n_crops - 1} for every image"
        )
    order = np.full((n, n_crops), -1)
    order[image_of, crop] = np.arange(len(crop))
    if (order < 0).any():  # right counts, but a crop twice in place of another
        i = int(firsts[np.argwhere(order < 0)[0, 0]])
        raise DataError(
            f"{path} {parts.place(i)}: a crop twice; expected each of the crops 0 to "
            f"{n_crops - 1} for every image"
        )
    return parts.keys[firsts], order


def _each_hash_once(
    path: Path, parts: Parts, hashes: np.ndarray, outputs: list[np.ndarray]
) -> np.ndarray:
    """The numbers of the first entries of each hash, ascending. Raises DataError if a later entry
    of the same hash has another answer."""
    _, firsts, which = np.unique(hashes, return_index=True, return_inverse=True)
    same_as = firsts[which]
    for answers in outputs:
        probs = np.exp(answers - log_sum_exp(answers)).reshape(len(answers), -1)
        differ = np.abs(probs - probs[same_as]).max(axis=1) > _SAME_ANSWER
        if differ.any():
            i = int(np.argmax(differ))
            raise DataError(
                f"{path} {parts.place(i)}: another answer than in {parts.place(int(same_as[i]))} "
                "for the same picture"
            )
    return np.sort(firsts)


def as_float32(values: ArrayLike) -> np.ndarray:
    """Numbers as float32; too large ones become infinite. Raises DataError for others."""
    values = unmasked("values", values)
    if values.dtype.kind not in "fiu":
        raise DataError(f"values: expected numbers, found {values.dtype}")
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
