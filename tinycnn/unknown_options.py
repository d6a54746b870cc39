"""Answers to options that a class or function does not have, such as their names in Keras, PyTorch
and scikit-learn."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

OUR_NAMES = {
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "eps": "epsilon",
    "n_epochs": "epochs",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "validation": "validation_data",
    "validation_split": "validation_fraction",
    "validation_fraction": "validation_split",
    "y": "labels",
    "hidden_layer_sizes": "layers",
    "seed": "random_state",
    "strides": "stride",
    "pool_size": "size",
    "kernel_size": "size",
    "out_channels": "filters",
    "out_features": "units",
    "p": "rate",
    "height": "height_px",
    "width": "width_px",
}
"""Names in other libraries, and our names for the same option."""

ADVICE = {
    "activation": "ReLU() is a layer of its own, and the last layer has none: losses take logits",
    "input_shape": "the shape of the images is in InputSpec(height_px, width_px, channels)",
    "in_channels": "a layer takes what the layer before it gives",
    "in_features": "a layer takes what the layer before it gives",
    "from_logits": "losses always take logits",
    "metrics": "loss and accuracy are always measured",
    "schedule": "learning_rate takes a number or a schedule",
    "class_weight": "a loss has class_weights: CrossEntropy(class_weights=[1, 2])",
    "sample_weight": "images are weighted by how often the batches have them",
}
"""For options of other libraries that have no counterpart: what takes their place."""

INSTEAD_OF = {
    "fit": "tinycnn.fit(network, images, labels)",
    "compile": "optimizer= and loss= of tinycnn.fit",
    "predict": "network.predict_proba(images), or network.classify(images)",
    "evaluate": "tinycnn.evaluate(network, images, labels)",
    "score": "tinycnn.evaluate(network, images, labels)",
    "save": "tinycnn.save(network, path)",
    "save_weights": "tinycnn.save(network, path)",
    "load_weights": "tinycnn.load(path), which makes the network",
    "state_dict": "network.parameters, or tinycnn.save(network, path)",
    "weights": "network.parameters, arrays by name",
    "get_weights": "network.parameters, arrays by name",
    "set_weights": "network.set_parameters, with arrays by name",
    "load_state_dict": "network.set_parameters, with arrays by name",
    "add": "Network(layers, input_spec), with all layers in a list",
    "count_params": "network.n_parameters",
}
"""Methods of networks in Keras and PyTorch, and what takes their place."""


def refuse_unknown(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for the first name in `given` that is not in `known`, and say what was meant.

    owner: name of the class or function
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise TypeError(f"{owner} has no option {name}{_instead(name, known)}")


def _instead(name: str, known: list[str]) -> str:
    if OUR_NAMES.get(name) in known:
        return f": it is called {OUR_NAMES[name]}"
    if name in ADVICE:
        return f": {ADVICE[name]}"
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f": did you mean {near[0]}?"
    return f"; its options are {', '.join(known)}" if known else "; it has none"


class NamesItsOptions:
    """A class that answers an unknown option by naming the one that was meant, or all."""

    if not TYPE_CHECKING:  # type checkers read __init__

        def __new__(cls, *args: Any, **options: Any) -> Any:
            if options:
                parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
                if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                    refuse_unknown(cls.__name__, options, [p.name for p in parameters])
            return super().__new__(cls)
