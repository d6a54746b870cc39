"""Checks exercise 10: the learner's layers in a network, a step of training, the training."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...input_spec import InputSpec
from ...layers import Flatten
from ...network import Network
from ..catalogue import EXERCISES
from ..comparison import Gradients, Mistake, require_equal, require_gradients
from ..learner import Learner, WrongAnswer, in_words, solution
from ..steps import Step, all_right, results_of
from . import adam, convolution, cross_entropy, dense

EARLIER = {
    "cross_entropy": cross_entropy.STEPS,
    "dense": dense.STEPS,
    "convolution": convolution.STEPS,
    "adam": adam.STEPS,
}
RATE = 0.01
N_STEPS, LEAST_ACCURACY = 60, 0.45
"""Of the training: by chance, a third of the answers are right; the solution reaches 0.6."""


def _earlier(own: Learner, right: Learner) -> None:
    """Their errors would look like errors of this exercise."""
    for exercise in EXERCISES:
        if exercise.name in EARLIER:
            functions = own.names.get(exercise.name)
            if not isinstance(functions, SimpleNamespace):
                raise WrongAnswer(f'{exercise.name} = load_exercise("{exercise.name}") is missing')
            learner = Learner(vars(functions))
            if not all_right(results_of(EARLIER[exercise.name], learner, solution(exercise))):
                raise WrongAnswer(
                    f"exercise {exercise.number}, {exercise.name}, is not right yet, and this one "
                    "uses it: check that one first"
                )


# ---- the layers ------------------------------------------------------------------------------


def _convolution(own: Learner, right: Learner) -> None:
    rng = np.random.default_rng(13)
    x, w, b = rng.normal(0, 1, (2, 6, 7, 2)), rng.normal(0, 1, (3, 3, 2, 4)), rng.normal(0, 1, 4)
    without_stride = _layer(right, "OwnConvolution", 4, 3, 1)
    parameters = {"w": w, "b": b}
    mistakes = [
        Mistake(
            without_stride.forward(x, parameters),
            "the stride of the layer is not used: give conv_forward self.stride.",
        ),
        Mistake(
            _layer(right, "OwnConvolution", 4, 3, 2).forward(x, {"w": w, "b": 0 * b}),
            'the bias is missing: parameters["b"].',
        ),
    ]
    _check_layer(own, right, ("OwnConvolution", 4, 3, 2), x, parameters, mistakes)


def _dense(own: Learner, right: Learner) -> None:
    rng = np.random.default_rng(14)
    x, w, b = rng.normal(0, 1, (3, 5)), rng.normal(0, 1, (5, 4)), rng.normal(0, 1, 4)
    mistakes = [Mistake(x @ w, 'the bias is missing: parameters["b"].')]
    _check_layer(own, right, ("OwnDense", 4), x, {"w": w, "b": b}, mistakes)


def _layer(functions: Learner, name: str, *options: int) -> Any:
    with in_words(f"{name}{options} stopped with"):
        return functions.get(name)(*options)


def _check_layer(
    own: Learner,
    right: Learner,
    made: tuple[Any, ...],
    x: np.ndarray,
    parameters: dict[str, np.ndarray],
    mistakes: list[Mistake],
) -> None:
    """Compare the outputs and the gradients of a layer.  made: its class and its options."""
    layer, solved = _layer(own, *made), _layer(right, *made)
    y = solved.forward(x, parameters)
    with in_words(f"{made[0]}.forward stopped with"), np.errstate(all="ignore"):
        mine = layer.forward(x.copy(), dict(parameters))
    require_equal("y", mine, y, mistakes)
    dy = np.random.default_rng(15).normal(0, 1, y.shape)
    dx, of_parameters = solved.backward(x, y, dy, parameters)
    with in_words(f"{made[0]}.backward stopped with"), np.errstate(all="ignore"):
        returned = layer.backward(x.copy(), y.copy(), dy.copy(), dict(parameters))
    found = _by_name(f"{made[0]}.backward", returned)
    gradients = Gradients(
        lambda: float((solved.forward(x, parameters) * dy).sum()),
        {"x": x, **parameters},
        {"x": dx, **of_parameters},
    )
    require_gradients(found, gradients)


def _by_name(function: str, returned: Any) -> dict[str, Any]:
    """dx, dw, db of what a layer's `backward` returned."""
    expected = 'expected a pair: dx, {"w": dw, "b": db}'
    if not isinstance(returned, tuple) or len(returned) != 2:
        what = f"{len(returned)} values" if isinstance(returned, tuple) else _kind(returned)
        raise WrongAnswer(f"{function} returns {what}; {expected}")
    dx, of_parameters = returned
    if not isinstance(of_parameters, Mapping):
        raise WrongAnswer(f"{function} returns {_kind(of_parameters)} as second; {expected}")
    if set(of_parameters) != {"w", "b"}:
        raise WrongAnswer(
            f"{function} returns gradients called {', '.join(map(str, of_parameters))}; {expected}."
            "\nHint: the names are those of the parameters."
        )
    return {"dx": dx, "dw": of_parameters["w"], "db": of_parameters["b"]}


def _kind(value: Any) -> str:
    return "nothing (None)" if value is None else f"one {type(value).__name__}"


# ---- a step of training ----------------------------------------------------------------------


def _small_network(right: Learner) -> Network:
    layers = [_layer(right, "OwnConvolution", 2, 3, 2), Flatten(), _layer(right, "OwnDense", 3)]
    return Network(layers, InputSpec(7, 7), backend="numpy", dtype=np.float64, seed=4)


def _training_step(own: Learner, right: Learner) -> None:
    x, labels = np.random.default_rng(16).normal(0, 1, (5, 7, 7, 1)), np.array([0, 2, 1, 1, 0])
    mine, solved = _small_network(right), _small_network(right)
    my_state, state = (_new_state(own, mine), _new_state(right, solved))
    for step, ordinal in ((1, "first"), (2, "second")):
        before = solved.trained_vector.copy()
        loss = right.call("training_step", solved, state, x, labels, RATE)
        loss_afterwards = _loss_now(right, solved, x, labels)
        found = own.call("training_step", mine, my_state, x, labels, RATE)
        if getattr(my_state, "step", None) == step - 1:
            raise WrongAnswer(
                f"state.step is still {step - 1} after the {ordinal} step.\nHint: state.step += 1 "
                "before adam_step, which needs 1 in the first step."
            )
        when = f"after step {step}"
        _check_weights(mine.trained_vector, solved, before, when)
        late = [Mistake(loss_afterwards, "this is the loss after the step; return the one before.")]
        require_equal("the loss", found, loss, late)
        for name in ("m", "v"):
            wanted = getattr(state, name)
            kept = Mistake(0 * wanted, f"put the new {name} of adam_step into state.{name}.")
            require_equal(f"state.{name} {when}", getattr(my_state, name), wanted, [kept])
        require_equal(f"state.step {when}", my_state.step, state.step)


def _check_weights(found: np.ndarray, solved: Network, before: np.ndarray, when: str) -> None:
    wanted, gradients = solved.trained_vector, solved.trained_gradients
    mistakes = [
        Mistake(
            before,
            "the weights have not changed. Call network.backward(dz), then adam_step, and write "
            "its result into the array: network.trained_vector[:] = ... (with [:]).",
        ),
        Mistake(2 * before - wanted, "the step goes the wrong way: against the gradient."),
        Mistake(before - RATE * gradients, "this is gradient descent; use adam.adam_step."),
        Mistake(
            before + (wanted - before) * 1e-3 / RATE,
            "the learning rate is 0.001 here: give adam_step learning_rate.",
        ),
        Mistake(gradients, "the gradients are in the place of the weights."),
        Mistake(np.zeros_like(wanted), "the weights have become 0."),
    ]
    if not np.isfinite(found).all():
        raise WrongAnswer(
            f"the weights are not finite {when}.\nHint: adam_step divides by 0 if step is 0. Add 1 "
            "to state.step before it is used."
        )
    require_equal(f"network.trained_vector {when}", found, wanted, mistakes)


def _loss_now(right: Learner, network: Network, x: np.ndarray, labels: np.ndarray) -> float:
    logits = network.forward(x, training=True)
    return float(right.names["cross_entropy"].cross_entropy(logits, labels))


def _new_state(functions: Learner, network: Network) -> Any:
    zeros = np.zeros_like(network.trained_vector)
    return functions.call("AdamState", zeros, zeros)


# ---- the training ----------------------------------------------------------------------------


def _training(own: Learner, right: Learner) -> None:
    try:
        for run in (_convolution, _dense, _training_step):
            run(own, right)
    except WrongAnswer as problem:
        raise type(problem)("not tried: first correct what is above") from None
    accuracies = own.arrays("train", ("network", "accuracies"), N_STEPS)["accuracies"]
    last = accuracies[-1][1]
    if not last >= LEAST_ACCURACY:
        raise WrongAnswer(
            f"after {N_STEPS} steps, {last:.0%} of the faces are right; expected at least "
            f"{LEAST_ACCURACY:.0%}.\nHint: look at what you changed in make_network or train."
        )


STEPS = (
    Step("exercises 2, 3, 5 and 8", _earlier),
    Step("OwnConvolution", _convolution),
    Step("OwnDense", _dense),
    Step("training_step", _training_step),
    Step("train", _training),
)
