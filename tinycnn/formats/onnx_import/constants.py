"""Computes the nodes of an ONNX graph whose inputs are all constants.

Exporters write weights and shapes as small computations: a weight stored in 8 bits and its scale, a
shape put together from numbers.  The definitions are ONNX's:
https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .errors import Budget, NotUsable
from .model_file import DTYPES, MAX_AXES
from .nodes import OnnxNode

Arrays = Sequence[np.ndarray | None]
"""The inputs of a node; None for one that is left out."""

Operator = Callable[[OnnxNode, Arrays, Budget], list[np.ndarray]]


def evaluate(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    """The outputs of a node whose inputs are constants.

    Raises NotUsable for an operator that CONSTANT_OPERATORS does not have, or inputs that do not
    fit.
    """
    operator = CONSTANT_OPERATORS.get(node.operator)
    if operator is None:
        raise node.error(
            "its inputs are constants, and tinycnn does not compute this operator: onnxsim or "
            "onnxruntime's offline optimisation can fold it"
        )
    try:
        with np.errstate(all="ignore"):
            results = operator(node, inputs, budget)
    except NotUsable:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise node.error(f"its inputs do not fit: {' '.join(str(error).split())[:200]}") from None
    node.check_all_read()
    return results


def given(node: OnnxNode, inputs: Sequence[np.ndarray | None], k: int) -> np.ndarray:
    """Input number k.  NotUsable if it is left out."""
    array = inputs[k] if k < len(inputs) else None
    if array is None:
        raise node.error(f"input {k + 1} is missing")
    return array


def optional(inputs: Sequence[np.ndarray | None], k: int) -> np.ndarray | None:
    return inputs[k] if k < len(inputs) else None


def whole_numbers(node: OnnxNode, array: np.ndarray, what: str) -> list[int]:
    """A one-dimensional array of whole numbers, such as axes or a shape, as a list."""
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 4 * MAX_AXES:
        raise node.error(f"{what} is {array.dtype} {array.shape}; expected a few whole numbers")
    return [int(value) for value in np.atleast_1d(array)]


def axes_of(
    node: OnnxNode, inputs: Sequence[np.ndarray | None], k: int, rank: int
) -> list[int] | None:
    """The axes that a node names, from 0 on: in input k, in older operator sets in its attribute
    axes.  None if it names none."""
    array = optional(inputs, k)
    if array is not None:
        axes = whole_numbers(node, array, "the list of axes")
    elif node.has("axes"):
        axes = node.integers("axes", ())
    else:
        return None
    return [axis_of(node, axis, rank) for axis in axes]


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """An axis that may be counted from the end, counted from the beginning."""
    if not -rank <= axis < rank:
        raise node.error(f"axis {axis} of a tensor with {rank} axes")
    return axis % rank


def reshaped(node: OnnxNode, shape: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """The shape that a Reshape gives to a tensor of `shape`."""
    keep_zeros = node.integer("allowzero", 0)
    sizes = [
        shape[k] if size == 0 and not keep_zeros and k < len(shape) else size
        for k, size in enumerate(target)
    ]
    if sizes.count(-1) == 1:
        others = -math.prod(sizes)
        if others and math.prod(shape) % others == 0:
            sizes[sizes.index(-1)] = math.prod(shape) // others
    if any(size < 0 for size in sizes) or math.prod(sizes) != math.prod(shape):
        raise node.error(f"a tensor of shape {tuple(shape)} cannot be given {tuple(target)}")
    if len(sizes) > MAX_AXES:
        raise node.error(f"{len(sizes)} axes; at most {MAX_AXES} are read")
    return tuple(sizes)


def unsqueezed(node: OnnxNode, inputs: Sequence[np.ndarray | None], shape: Sequence[int]) -> tuple:
    """The shape that an Unsqueeze gives to a tensor of `shape`."""
    n_new = axes_of(node, inputs, 1, 2 * MAX_AXES)
    rank = len(shape) + len(n_new or ())
    axes = axes_of(node, inputs, 1, rank)
    if axes is None or len(set(axes)) != len(axes) or rank > MAX_AXES:
        raise node.error(f"axes {axes} for a tensor of shape {tuple(shape)}")
    rest = iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(rank))


def pads_of(node: OnnxNode, inputs: Sequence[np.ndarray | None], rank: int) -> list[tuple]:
    """What a Pad adds before and after each axis."""
    if node.has("pads"):
        pads = node.integers("pads", ())
    else:
        pads = whole_numbers(node, given(node, inputs, 1), "the list of pads")
    axes = axes_of(node, inputs, 3, rank)
    axes = list(range(rank)) if axes is None else axes
    if len(pads) != 2 * len(axes):
        raise node.error(f"{len(pads)} pads for {len(axes)} axes")
    sides = [(0, 0)] * rank
    for k, axis in enumerate(axes):
        sides[axis] = (pads[k], pads[k + len(axes)])
    return sides


# ---- the operators ---------------------------------------------------------------------------


def _constant(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    tensor = node.tensor("value") if node.has("value") else None
    if tensor is not None:
        return [tensor]
    if node.has("value_float"):
        return [np.array(node.number_of("value_float", 0), np.float32)]
    if node.has("value_floats"):
        return [np.array(node.numbers("value_floats", ()), np.float32)]
    if node.has("value_int"):
        return [np.array(node.integer("value_int", 0), np.int64)]
    if node.has("value_ints"):
        return [np.array(node.integers("value_ints", ()), np.int64)]
    raise node.error("a constant of a kind that is not read; expected numbers")


def _constant_of_shape(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    shape = whole_numbers(node, given(node, inputs, 0), "the shape")
    value = node.tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    budget.spend_on_constant(math.prod(shape))
    return [np.full(shape, value.reshape(()), value.dtype)]


def _cast(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    dtype = DTYPES.get(node.integer("to", 0))
    if dtype is None:
        raise node.attribute_error("to", f"expected one of {', '.join(DTYPES.values())}")
    node.integer("saturate", 1)
    return [given(node, inputs, 0).astype(dtype)]


def _reshape(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    target = whole_numbers(node, given(node, inputs, 1), "the shape")
    return [x.reshape(reshaped(node, x.shape, target))]


def _transpose(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    return [x.transpose(node.integers("perm", range(x.ndim)[::-1]))]


def _squeeze(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    axes = axes_of(node, inputs, 1, x.ndim)
    return [np.squeeze(x, None if axes is None else tuple(axes))]


def _unsqueeze(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    return [x.reshape(unsqueezed(node, inputs, x.shape))]


def _flatten(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    return [x.reshape(flattened(node, x.shape))]


def flattened(node: OnnxNode, shape: Sequence[int]) -> tuple[int, int]:
    """The shape that a Flatten gives to a tensor of `shape`."""
    axis = flatten_axis(node, len(shape))
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def flatten_axis(node: OnnxNode, rank: int) -> int:
    """The first axis that a Flatten puts into the second one of its output."""
    axis = node.integer("axis", 1)
    return axis if axis == rank else axis_of(node, axis, rank)


def _concat(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    parts = [given(node, inputs, k) for k in range(len(inputs))]
    budget.spend_on_constant(sum(part.size for part in parts))
    return [np.concatenate(parts, axis_of(node, node.integer("axis", 0), parts[0].ndim))]


def shape_part(node: OnnxNode, shape: Sequence[int]) -> np.ndarray:
    """The output of a Shape: opset 15 can cut a part out."""
    end = node.integer("end", len(shape)) if node.has("end") else len(shape)
    return np.array(shape[node.integer("start", 0) : end], np.int64)


def _gather(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x, indices = given(node, inputs, 0), given(node, inputs, 1)
    axis = axis_of(node, node.integer("axis", 0), x.ndim)
    if indices.dtype.kind not in "iu":
        raise node.error(f"indices of dtype {indices.dtype}")
    budget.spend_on_constant(indices.size * x.size // max(x.shape[axis], 1))
    return [np.take(x, indices, axis)]


def _slice(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    return [x[slices_of(node, inputs, x.ndim)]]


def slices_of(node: OnnxNode, inputs: Sequence[np.ndarray | None], rank: int) -> tuple[slice, ...]:
    """What a Slice takes of each axis.  Before opset 10 its numbers are attributes."""
    if node.opset < 10:
        starts, ends = node.integers("starts", ()), node.integers("ends", ())
        axes = axes_of(node, (), 3, rank)
        steps = [1] * len(starts)
    else:
        starts, ends = (whole_numbers(node, given(node, inputs, k), "a range") for k in (1, 2))
        axes = axes_of(node, inputs, 3, rank)
        by = optional(inputs, 4)
        steps = [1] * len(starts) if by is None else whole_numbers(node, by, "the steps")
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error("starts, ends, axes and steps do not fit together")
    chosen = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps):
        # going down, an end before the first value means all values down to the first
        chosen[axis] = slice(start, None if step < 0 and end < -(1 << 30) else end, step)
    return tuple(chosen)


def _expand(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    shape = whole_numbers(node, given(node, inputs, 1), "the shape")
    shape = list(np.broadcast_shapes(x.shape, tuple(shape)))
    budget.spend_on_constant(math.prod(shape))
    return [np.broadcast_to(x, shape)]


def _dequantize(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    """(x - zero_point) * scale, with one scale for all values or one for each index of an axis."""
    x, scale = given(node, inputs, 0), given(node, inputs, 1)
    zero_point = optional(inputs, 2)
    axis = node.integer("axis", 1)
    if node.integer("block_size", 0):
        raise node.attribute_error("block_size", "scales of blocks are not read")
    dtype = DTYPES.get(node.integer("output_dtype", 0), scale.dtype.name)
    along = [1] * x.ndim
    if scale.size > 1:
        along[axis_of(node, axis, x.ndim)] = scale.size
    centred = x.astype(np.float64)
    if zero_point is not None:
        centred = centred - zero_point.astype(np.float64).reshape(along)
    return [(centred * scale.reshape(along)).astype(dtype)]


def _elementwise(function: Callable[..., np.ndarray]) -> Operator:
    """An operator of one or two inputs of the same dtype, which are broadcast."""

    def operator(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
        arrays = [given(node, inputs, k) for k in range(len(inputs))]
        budget.spend_on_constant(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        return [np.asarray(function(*arrays)).astype(arrays[0].dtype)]

    return operator


def _folded(function: Callable[..., np.ndarray]) -> Operator:
    """An operator of any number of inputs, which are taken in one after the other."""
    of_two = _elementwise(function)

    def operator(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
        result = given(node, inputs, 0)
        for k in range(1, len(inputs)):
            result = of_two(node, [result, given(node, inputs, k)], budget)[0]
        return [result]

    return operator


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; whole numbers are rounded towards 0."""
    return np.divide(a, b) if a.dtype.kind == "f" else (a - np.fmod(a, b)) // b


def _compared(function: Callable[..., np.ndarray]) -> Operator:
    def operator(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
        a, b = given(node, inputs, 0), given(node, inputs, 1)
        budget.spend_on_constant(math.prod(np.broadcast_shapes(a.shape, b.shape)))
        return [function(a, b)]

    return operator


def _reduced(function: Callable[..., np.ndarray]) -> Operator:
    """An operator that reduces over axes: all axes, if none is named."""

    def operator(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
        x = given(node, inputs, 0)
        axes = axes_of(node, inputs, 1, x.ndim)
        keep = bool(node.integer("keepdims", 1))
        if node.integer("noop_with_empty_axes", 0) and not axes:
            return [x]
        along = tuple(axes) if axes else None
        return [np.asarray(function(x, axis=along, keepdims=keep)).astype(x.dtype)]

    return operator


def _tile(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    x = given(node, inputs, 0)
    repeats = whole_numbers(node, given(node, inputs, 1), "the repeats")
    budget.spend_on_constant(x.size * math.prod(max(repeat, 0) for repeat in repeats))
    return [np.tile(x, repeats)]


def _modulo(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    like_c = node.integer("fmod", 0)
    return _elementwise(np.fmod if like_c else np.mod)(node, inputs, budget)


def _where(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    condition, a, b = (given(node, inputs, k) for k in range(3))
    budget.spend_on_constant(math.prod(np.broadcast_shapes(condition.shape, a.shape, b.shape)))
    return [np.where(condition.astype(bool), a, b)]


def _range(node: OnnxNode, inputs: Arrays, budget: Budget) -> list[np.ndarray]:
    start, limit, delta = (given(node, inputs, k).item() for k in range(3))
    n_values = max(math.ceil((limit - start) / delta), 0)
    budget.spend_on_constant(n_values)
    values = start + delta * np.arange(n_values)
    return [values.astype(given(node, inputs, 0).dtype)]


CONSTANT_OPERATORS: dict[str, Operator] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Identity": lambda node, inputs, budget: [given(node, inputs, 0)],
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Concat": _concat,
    "Shape": lambda node, inputs, budget: [shape_part(node, given(node, inputs, 0).shape)],
    "Gather": _gather,
    "Slice": _slice,
    "Expand": _expand,
    "DequantizeLinear": _dequantize,
    "Range": _range,
    "Where": _where,
    "Size": lambda node, inputs, budget: [np.array(given(node, inputs, 0).size, np.int64)],
    "Tile": _tile,
    "Equal": _compared(np.equal),
    "Less": _compared(np.less),
    "LessOrEqual": _compared(np.less_equal),
    "Greater": _compared(np.greater),
    "GreaterOrEqual": _compared(np.greater_equal),
    "And": _compared(np.logical_and),
    "Or": _compared(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "Mod": _modulo,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divided),
    "Pow": _elementwise(np.power),
    "Sum": _folded(np.add),
    "Max": _folded(np.maximum),
    "Min": _folded(np.minimum),
    "Sqrt": _elementwise(np.sqrt),
    "Reciprocal": _elementwise(np.reciprocal),
    "Neg": _elementwise(np.negative),
    "Exp": _elementwise(np.exp),
    "Abs": _elementwise(np.abs),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Round": _elementwise(np.rint),
    "Sign": _elementwise(np.sign),
    "ReduceMean": _reduced(np.mean),
    "ReduceSum": _reduced(np.sum),
    "ReduceProd": _reduced(np.prod),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
}
"""Operator -> the function that computes it from constants."""
