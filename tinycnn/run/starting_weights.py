"""The option `init` of a training run: a trained network to start from instead of new weights."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..class_head import head_position, kept_classes, with_head
from ..formats.model_file import load
from ..formats.pretrained import SHIPPED, SHIPPED_EVER, load_pretrained
from ..frozen_layers import frozen_part
from ..layers import Dense, Dropout
from ..models import residual48
from ..models.face_networks import FACE_NETWORKS, MICROEXPNET
from ..models.microexpnet import SIZES, VARIANTS, microexpnet
from ..network import Network
from .values import Values

NEW_WEIGHTS = "none"
OF_THE_START = ("network", "variant", "size", "batch_norm", "scaling", "dropout")
"""Options that the starting network decides, if there is one."""


WITHOUT_EFFECT: Mapping[str, object] = {"freeze": 0, "first_layers_rate": 1.0}
"""Options that mean nothing without a starting network, and their values without it."""


class StartingWeights(Values[str]):
    """none, the name of a shipped network, or the path of a model file."""

    metavar: ClassVar[str] = "NAME|FILE"

    @property
    def expected(self) -> str:
        return f"{NEW_WEIGHTS}, {', '.join(SHIPPED)}, or the path of a model file"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return value


class LayerNameOrCount(Values[str | int]):
    """How many of the first layers, or the name of the last of them."""

    metavar: ClassVar[str] = "N|LAYER"
    expected = "a whole number of 0 or more, or the name of a layer, such as conv2"

    def check(self, value: object) -> str | int:
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError
        return int(value)

    def parse(self, text: str) -> str | int:
        return int(text) if text.removeprefix("-").isdecimal() else text


class ContentHash(Values[str]):
    """What `content_hash` returns."""

    metavar: ClassVar[str] = "HASH"
    expected = "64 hexadecimal digits"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError
        return value


def px_of(init: object) -> int | None:
    """The side of the images of the network that `init` stands for; None without a network, and for
    one that cannot be read: making the options raises the error."""
    if not isinstance(init, str) or init == NEW_WEIGHTS:
        return None
    try:
        return _read(init)[1].px
    except ValueError:
        return None


def is_file(init: str) -> bool:
    """Whether this value of the option is a path."""
    return init != NEW_WEIGHTS and init not in SHIPPED_EVER


@dataclass(frozen=True)
class StartOptions:
    """What a starting network says about the options of its run.

    sha256  of its layers, InputSpec, weights and statistics, whatever file they are in
    px      the side of its images
    values  of OF_THE_START; None for network, variant and size if it is none of ours.  batch_norm
            is False: no BatchNorm is added to it, and its own stays when the run is done
    """

    sha256: str
    px: int
    values: Mapping[str, object]


def options_with_start(
    values: Mapping[str, object], given: Mapping[str, object]
) -> dict[str, object]:
    """The options that `init` changes: by name, with their new values.

    values: of all options;  given: those that the user gave, or that a run has stored.  Raises
    ValueError for options without effect, and as `start_options`.
    """
    if values["init"] == NEW_WEIGHTS:
        for name in WITHOUT_EFFECT:
            if given.get(name) not in (None, WITHOUT_EFFECT[name]):
                raise ValueError(
                    f"{name} is {values[name]!r} without a network to start from: give init as "
                    "well, such as init pretrained"
                )
        return {**WITHOUT_EFFECT, "init_sha256": None, "init_px": None}
    if values["init_sha256"] is not None:  # of a run that has begun
        names = ("network", "variant", "size")
        return {name: given.get(name) and values[name] for name in names}
    named = {name: values[name] for name in OF_THE_START if given.get(name) is not None}
    init, freeze = values["init"], values["freeze"]
    assert isinstance(init, str) and isinstance(freeze, (str, int)), "the options are checked"
    start = start_options(init, freeze, named)
    return {**start.values, "init_sha256": start.sha256, "init_px": start.px}


def start_options(init: str, freeze: str | int, given: Mapping[str, object]) -> StartOptions:
    """The `StartOptions` of the network that `init` stands for.

    given: options that the user gave.  Raises ValueError if the network cannot be read or has no
    head, if it has no such layers to freeze, or if it is another one than `given` says.
    """
    network, found = _read(init)
    H, W, C = network.input_spec.shape
    if (H, C) != (W, 1):
        raise ValueError(f"init {init}: takes images of {H}x{W}x{C}; expected square grey ones")
    try:
        head_position(network.layers)
        frozen_part(network.plan, freeze)
    except ValueError as error:
        where = "" if str(error).startswith("freeze") else f"init {init}: "
        raise ValueError(f"{where}{error}") from None
    for name, value in found.values.items():
        if given.get(name) not in (None, value):
            has = "is another network" if value is None else f"has {value!r}"
            raise ValueError(
                f"{name} is {given[name]!r:.80}, and the network of init {init} {has}: its layers "
                f"and its scaling are used, so leave {name} out"
            )
    return found


def _read(init: str) -> tuple[Network, StartOptions]:
    """The network, and what it says; a file is read again only if it has changed."""
    stamp = None
    if is_file(init):
        try:
            status = os.stat(init)
            stamp = (os.path.abspath(init), status.st_mtime_ns, status.st_size)
        except OSError:
            pass  # `load_start` says what is wrong
    return _read_once(init, stamp)


@functools.lru_cache(maxsize=8)
def _read_once(init: str, stamp: object) -> tuple[Network, StartOptions]:
    network = load_start(init, "numpy")
    spec = network.input_spec
    values = {**_own_names(network), "batch_norm": False, "scaling": spec.scaling}
    return network, StartOptions(content_hash(network), spec.height_px, values)


def load_start(init: str, backend: str = "auto", n_threads: int | None = None) -> Network:
    """The network that `init` stands for.  Raises ValueError if it cannot be read."""
    try:
        if init in SHIPPED_EVER:
            return load_pretrained(SHIPPED_EVER[init], backend=backend, n_threads=n_threads)
        return load(init, backend=backend, n_threads=n_threads)
    except FileNotFoundError as error:
        expected = ", ".join((NEW_WEIGHTS, *SHIPPED))
        raise ValueError(f"init {error}; or give {expected}") from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"init {error}") from None


def content_hash(network: Network) -> str:
    """sha256 of layers, InputSpec, weights and statistics."""
    layers = [layer.config() for layer in network.layers]
    digest = hashlib.sha256(json.dumps([layers, network.input_spec.config()]).encode())
    for arrays in (network.parameters, network.statistics):
        for name, array in arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _own_names(network: Network) -> dict[str, object]:
    """The options network, variant, size and dropout with which a run makes these layers, BatchNorm
    not counted; None for a network that is none of ours."""
    layers = network.folded().layers if network.statistics else network.layers
    rates = [layer.rate for layer in layers if isinstance(layer, Dropout)]
    units = [layer.units for layer in layers if isinstance(layer, Dense)]
    found: dict[str, object] = dict(network=None, variant=None, size=None, dropout=0.0)
    dropout = rates[0] if rates else 0.0
    made: list[tuple[dict[str, object], Network]] = []
    if len(units) == 2:
        for variant, described in VARIANTS.items():
            named = described.dense_units
            size = SIZES[named.index(units[0])] if units[0] in named else units[0]
            own = microexpnet(variant, units[0], units[1], dropout=dropout, backend="numpy")
            made.append((dict(network=MICROEXPNET, variant=variant, size=size), own))
    for name, described_network in FACE_NETWORKS.items() if len(units) == 1 else ():
        widths = described_network.widths
        if widths is not None:
            own = residual48(
                units[0],
                filters=widths.filters,
                n_blocks=widths.n_blocks,
                dropout=dropout,
                batch_norm=False,
                backend="numpy",
            )
            made.append((dict(network=name), own))
    for options, own in made:
        if own.layers == layers and own.input_spec.shape == network.input_spec.shape:
            found.update(options, dropout=dropout)
    return found


# ---- the network of a run ----------------------------------------------------------------------


@dataclass(frozen=True)
class ClassNames:
    """The classes of a run.  canonical_name: see `class_head.with_classes`."""

    names: tuple[str, ...]
    canonical_name: Callable[[str], str] = str.lower


def starting_network(
    init: str,
    sha256: str | None,
    classes: ClassNames,
    *,
    framing: str | None = None,
    bias_std: float = 0.0,
    seed: int = 0,
    backend: str = "auto",
    n_threads: int | None = None,
) -> Network:
    """The network that `init` stands for, with a head for these classes; the weights of classes
    that it does not know are drawn.  Raises ValueError if its `content_hash` is not sha256."""
    start = load_start(init, "numpy")
    _check_content(init, content_hash(start), sha256)
    kept = kept_classes(start.classes, classes.names, classes.canonical_name)
    spec = replace(start.input_spec, classes=classes.names, framing=framing)
    return with_head(
        start, spec, kept, bias_std=bias_std, backend=backend, n_threads=n_threads, seed=seed
    )


def _check_content(init: str, found: str, sha256: str | None) -> None:
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"init {init}: holds another network (sha256 {found[:12]}...) than the run began with "
            f"({sha256[:12]}...): give the path of that file, or start a new run"
        )


def notes_on_start(
    init: str, sha256: str | None, freeze: str | int, classes: ClassNames, framing: str | None
) -> list[str]:
    """Sentences about what a run keeps of its starting network, and what is new.  Raises ValueError
    as `starting_network`."""
    network, found = _read(init)
    _check_content(init, found.sha256, sha256)
    kept = kept_classes(network.classes, classes.names, classes.canonical_name)
    new = [name for name in classes.names if name not in kept]
    unused = [name for name in network.classes if name not in kept.values()]
    shown = [name if name == same else f"{name} (its {same})" for name, same in kept.items()]
    known = ", ".join(shown) if kept else "none of these classes"
    told = [f"training starts from {init}, which knows {known}"]
    if new:
        told.append(f"new weights for {', '.join(new)}")
    if unused:
        told.append(f"its {', '.join(unused)} not used")
    notes = ["; ".join(told)]
    frozen = network.plan.steps[: frozen_part(network.plan, freeze).n_steps]
    if frozen:
        names = ", ".join(step.name for step in frozen if step.n_parameters)
        notes.append(f"frozen: {names}; they keep the weights of {init}")
    theirs = network.input_spec.framing
    if framing and theirs and framing != theirs:
        notes.append(
            f"{init} was trained on faces cut as {theirs!r}, and these are cut as {framing!r}: "
            "faces cut alike would suit it better"
        )
    return notes
