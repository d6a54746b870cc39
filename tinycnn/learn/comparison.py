"""Compares a learner's arrays with the right ones, and finds out why they are wrong.

The reason is looked for by comparing the wrong array with variations of the right one: with arrays
that the typical mistakes of the exercise give, with multiples of the right array, its transpose,
and so on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..testing import GradientError, check_gradients
from .learner import WrongAnswer

TOLERANCE = 1e-6
"""Largest difference that counts as rounding, as a part of the largest value."""


class Mistake(NamedTuple):
    """An array that a typical mistake gives, and what to say about it."""

    value: Any
    hint: str


class Factor(NamedTuple):
    """A number by which results are wrong after a typical mistake, and what to say about it."""

    value: float
    hint: str


Mistakes = Sequence[Mistake]


def require_equal(
    name: str,
    found: Any,
    expected: Any,
    mistakes: Mistakes = (),
    factors: Sequence[Factor] = (),
) -> None:
    """Raise WrongAnswer if `found`, the learner's result called `name`, is not `expected`."""
    problem = difference(name, found, np.asarray(expected, np.float64), mistakes, factors)
    if problem:
        raise WrongAnswer(problem)


class Gradients(NamedTuple):
    """A loss, the tensors that it reads, and the right gradients by the names of the tensors.

    names: what the learner calls the gradients, such as {"x": "dx"}
    """

    loss: Callable[[], float]
    tensors: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]


def require_gradients(
    found: Mapping[str, Any],
    gradients: Gradients,
    mistakes: Mapping[str, Mistakes] | None = None,
    factors: Sequence[Factor] = (),
) -> None:
    """Raise WrongAnswer if a gradient of the learner's disagrees with central differences of the
    loss.  found, mistakes: by the names of the tensors, with a d before them."""
    problems = []
    for name, tensor in gradients.tensors.items():
        mine, right = found[f"d{name}"], gradients.expected[name]
        some = (mistakes or {}).get(f"d{name}", ())
        problem = _wrong_kind(f"d{name}", mine)
        if not problem and np.shape(mine) != right.shape:
            problem = difference(f"d{name}", mine, right, some)
            other = _whose_shape(mine, right, gradients.expected)
            if other and "\nHint: " not in str(problem):
                problem = (
                    f"{problem}\nHint: it has the shape of d{other}: see the order of the results."
                )
        if not problem:
            try:
                check_gradients(gradients.loss, {name: tensor}, {name: np.asarray(mine)})
            except GradientError as error:
                problem = difference(f"d{name}", mine, right, some, factors) or str(error)
        if problem:
            problems.append(problem)
    if problems:
        raise WrongAnswer("\n".join(problems))


def _whose_shape(found: Any, right: np.ndarray, expected: Mapping[str, np.ndarray]) -> str | None:
    shape = np.shape(found)
    fits = [name for name, other in expected.items() if other.shape == shape != right.shape]
    return fits[0] if fits else None


def difference(
    name: str,
    found: Any,
    expected: np.ndarray,
    mistakes: Mistakes = (),
    factors: Sequence[Factor] = (),
) -> str | None:
    """What is wrong with an array, with a hint if there is one; None if it is right."""
    problem = _wrong_kind(name, found)
    if problem:
        return problem
    dtype = np.asarray(found).dtype
    found = np.asarray(found, np.float64)
    if found.shape == expected.shape and _is_close(found, expected):
        return None
    known = _known_mistake(found, expected, mistakes) or _wrong_dtype(found, expected, dtype)
    problem = _wrong_shape(name, found, expected)
    if problem:
        return f"{problem.partition(chr(10))[0]}\nHint: {known}" if known else problem
    hint = known or _hint(found, expected, factors)
    return _wrong_entries(name, found, expected) + (f"\nHint: {hint}" if hint else "")


def _is_close(found: np.ndarray, expected: np.ndarray) -> bool:
    if not (np.isfinite(found) == np.isfinite(expected)).all():
        return False
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return np.allclose(found, expected, rtol=0, atol=TOLERANCE * (scale or 1.0), equal_nan=True)


def _wrong_kind(name: str, found: Any) -> str | None:
    """What is wrong if `found` is no array of numbers."""
    if found is None:
        return f"{name} is None.\nHint: the function returns nothing; it must end with `return`."
    if found is Ellipsis:
        return f"{name} is ...: it is not written yet"
    try:
        dtype = np.asarray(found).dtype
    except ValueError:  # rows of different lengths
        dtype = np.dtype(object)
    if dtype.kind in "fiub":
        return None
    what = f"an array of {dtype}" if isinstance(found, np.ndarray) else _a(type(found).__name__)
    return f"{name} is {what}; expected an array of numbers"


def _wrong_dtype(found: np.ndarray, expected: np.ndarray, dtype: np.dtype) -> str | None:
    """A hint if the values are right but for the precision of the array that holds them."""
    if found.shape != expected.shape or not np.isfinite(expected).all():
        return None
    if dtype.kind in "iu" and _is_close(found, np.trunc(expected)):
        return (
            f"the array has the dtype {dtype}, which holds whole numbers only: use a float array."
        )
    if dtype in (np.float16, np.float32) and np.allclose(found, expected, rtol=0.01, atol=1e-3):
        return (
            f"the array has the dtype {dtype}, which rounds more. Keep the dtype of the arguments."
        )
    return None


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


# ---- wrong shapes ----------------------------------------------------------------------------


def _wrong_shape(name: str, found: Any, expected: np.ndarray) -> str | None:
    found = np.asarray(found, np.float64)
    if found.shape == expected.shape:
        return None
    problem = f"{name} has shape {found.shape}; expected {expected.shape}."
    hint = _hint_for_shape(found, expected)
    return f"{problem}\nHint: {hint}" if hint else problem


def _hint_for_shape(found: np.ndarray, expected: np.ndarray) -> str | None:
    if found.ndim == 0:
        return "a sum (or mean) goes over all axes here; say which: a.sum(axis=...)."
    if found.size == expected.size:
        if found.shape == expected.shape[::-1] and _is_close(found.T, expected):
            return "it is the transpose of the right array."
        if _is_close(found.reshape(expected.shape), expected):
            return (
                "the values are right, only the shape is not: an axis of length 1 is too many "
                "or missing (keepdims=True keeps one; a.reshape(...) changes it)."
            )
        if found.shape == expected.shape[::-1]:
            return "the axes are those of the transpose. Write down the shape of each factor."
    for n_axes in range(1, found.ndim):
        for axes in itertools.combinations(range(found.ndim), n_axes):
            if found.sum(axis=axes).shape == expected.shape:
                if _is_close(found.sum(axis=axes), expected):
                    where = "the batch (axis 0)" if axes == (0,) else _listed(axes)
                    return (
                        f"the sum over {where} is missing: every term is right, but the "
                        "loss depends on this value through all of them."
                    )
    return None


def _listed(axes: Sequence[int]) -> str:
    return f"{'axis' if len(axes) == 1 else 'axes'} {' and '.join(map(str, axes))}"


# ---- wrong values ----------------------------------------------------------------------------


def _wrong_entries(name: str, found: np.ndarray, expected: np.ndarray) -> str:
    """The entry with the largest difference, and how many are wrong."""
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0) or 1.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected)
    apart = np.where(np.isfinite(found) | ~np.isfinite(expected), apart, np.inf)
    wrong = ~(apart <= TOLERANCE * scale)
    index = np.unravel_index(int(np.argmax(np.where(wrong, apart, -1.0))), found.shape)
    entry = ", ".join(str(int(i)) for i in index)
    array, _, more = name.partition(" ")  # such as "y (with stride 1)"
    place = f"{array}[{entry}] {more}".rstrip() if entry else name
    text = f"{place} is {found[index]:.6g}; expected {expected[index]:.6g}"
    if not entry:
        return f"{text}."
    return f"{text} ({int(wrong.sum())} of {wrong.size} entries of {name} are wrong)."


def _known_mistake(found: np.ndarray, expected: np.ndarray, mistakes: Mistakes) -> str | None:
    for mistake in mistakes:
        wrong = np.asarray(mistake.value, np.float64)
        differs = wrong.shape != expected.shape or not _is_close(wrong, expected)
        if wrong.shape == found.shape and differs and _is_close(found, wrong):
            return mistake.hint
    return None


def _hint(found: np.ndarray, expected: np.ndarray, factors: Sequence[Factor]) -> str | None:
    if not np.isfinite(found).all():
        return (
            "a value is not finite. Look for a division by 0, a log of 0, or exp of a large number."
        )
    if not found.any():
        return (
            f"{'all entries are' if found.ndim else 'it is'} 0: nothing is written into the array."
        )
    hint = _hint_for_multiple(found, expected, factors)
    if hint or not found.ndim:
        return hint
    if found.ndim == 2 and found.shape[0] == found.shape[1] and _is_close(found.T, expected):
        return "it is the transpose of the right array."
    for axis in range(found.ndim):
        if _is_close(np.flip(found, axis), expected):
            return f"axis {axis} is reversed."
    for axis in range(found.ndim):
        for by in (1, -1):
            if _is_close(np.roll(found, by, axis), expected):
                return f"the values are shifted by one place along axis {axis}."
    offset = (found - expected).mean()
    if _is_close(found - offset, expected):
        return f"every entry is wrong by the same amount, {offset:.6g}."
    return None


def _hint_for_multiple(
    found: np.ndarray, expected: np.ndarray, factors: Sequence[Factor]
) -> str | None:
    """A hint if `found` is a multiple of `expected`."""
    square = float(np.vdot(expected, expected))
    ratio = float(np.vdot(expected, found)) / square if square else 0.0
    if not ratio or not _is_close(found / ratio, expected):
        return None
    for factor in factors:
        if np.isclose(ratio, factor.value, rtol=1e-6):
            return factor.hint
        if np.isclose(ratio, -factor.value, rtol=1e-6):
            return f"the sign is wrong; and {factor.hint}"
    if np.isclose(ratio, -1):
        return "the sign is wrong: it is -1 times the right value."
    whole = max(abs(ratio), 1 / abs(ratio))
    if not found.ndim and not np.isclose(whole, round(whole), rtol=1e-6):
        return None  # every wrong number is a multiple of the right one
    return f"it is {ratio:.6g} times the right {'array' if found.ndim else 'value'}."


def batch_factors(n: int, divided: str, multiplied: str) -> list[Factor]:
    """What to say if a result is n times too small or too large, for a batch of n."""
    return [
        Factor(1 / n, f"it is divided by N = {n} once too often. {divided}"),
        Factor(n, f"it is N = {n} times too large. {multiplied}"),
    ]
