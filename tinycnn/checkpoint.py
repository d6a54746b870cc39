"""Everything needed to resume training, in one safetensors file that is written atomically.

The file is a model file (`tinycnn.load` reads it) with additional tensors: "optimizer/..." and, if
weights are averaged, "learning/parameters": then the model's own parameters are the average, and
these are the ones that training continues with.  The metadata has the records of all epochs so far,
the state of the dropout generator, and the configuration of the run: a run can only be resumed with
the same configuration.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .averaging import WeightAverage
from .formats import safetensors
from .ground.atomic_file import write_atomically
from .ground.folder_lock import FolderLock, is_locked_here
from .network import Network
from .optim import Optimizer

ARITHMETIC_VERSION = 4
"""Raised, on purpose, by whoever changes what the same options and the same batches compute.  The
trials of a sweep are named by it: results of another version are not found, and trained again.  A
run is only resumed with the version that it began with."""

FIRST_VERSION = 1
"""Of the arithmetic and of the batches, in checkpoints that do not say it."""

METADATA_KEY = "tinycnn.checkpoint"
BEST = "model.safetensors"
LEARNING = "learning/parameters"


class CheckpointError(ValueError):
    """A checkpoint that training cannot resume from; the message names the file and says why."""


def path_in(folder: str | Path) -> Path:
    """The path of the last checkpoint in the folder of a run."""
    return Path(folder) / "last" / "checkpoint.safetensors"


def claim(folder: str | Path, configuration: dict[str, Any], resume: bool) -> FolderLock | None:
    """Lock the folder of a run, for as long as it trains; a new one is made.  None if there is
    nothing to lock yet: then `load` says that there is no checkpoint.

    Raises CheckpointError if a new run would overwrite the files of another one, or if another
    process trains into the folder; OSError if the folder cannot be made; TypeError if a
    checkpoint cannot hold the configuration.
    """
    json.dumps(configuration, default=_python_value)  # raises TypeError before the first step
    folder, last = Path(folder), path_in(folder).parent
    if not resume:
        if path_in(folder).exists():
            raise CheckpointError(
                f"{folder}: holds another run: continue it with resume=True, or choose another "
                "folder"
            )
        if (folder / BEST).exists() and not last.exists():
            raise CheckpointError(
                f"{folder / BEST}: would be overwritten, and is not of a run that was interrupted; "
                "choose another folder"
            )
        if os.path.exists(folder) and not os.path.isdir(folder):
            what = "not a folder: expected the name of a folder, which is made if it is missing"
            raise NotADirectoryError(errno.ENOTDIR, what, str(folder))
        last.mkdir(parents=True, exist_ok=True)
    elif not last.is_dir():
        return None
    try:
        return FolderLock(last)
    except BlockingIOError:
        if resume and is_locked_here(last):  # by an iterator of an interrupted run
            return None
        raise CheckpointError(
            f"{folder}: another run writes its results there at this moment; choose another folder"
        ) from None


def save_epoch(
    folder: str | Path,
    network: Network,
    optimizer: Optimizer,
    configuration: dict[str, Any],
    records: list[dict[str, Any]],
    is_best: bool,
    average: WeightAverage | None = None,
) -> None:
    """Write the best model, if this epoch is the best, and then the last checkpoint.  After a crash
    between the two, resuming repeats the epoch and writes the same best model again.

    Raises OSError if the folder cannot be written; the files in it do not change then.
    """
    path = path_in(folder)
    path.parent.mkdir(exist_ok=True)
    if is_best:
        safetensors.save(network, Path(folder) / BEST)
    state = {
        "configuration": configuration,
        "records": records,
        "dropout_generator": network.dropout_generator.bit_generator.state,
    }
    tensors = {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    if average is not None:
        tensors[LEARNING] = average.values
    metadata = {METADATA_KEY: json.dumps(state, default=_python_value)}
    write_atomically(path, safetensors.to_bytes(network, tensors, metadata))


def _python_value(value: object) -> object:
    """What JSON can hold of a scalar of NumPy.  Raises TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.80} cannot be kept in a checkpoint; expected numbers and texts")


def records_in(folder: str | Path) -> list[dict[str, Any]]:
    """The epoch records of the run's last checkpoint.  Errors as `load`."""
    path = path_in(folder)
    return _state(path, _read(path)[1])["records"]


def check_best(folder: str | Path, network: Network, records: list[dict[str, Any]]) -> bool:
    """Check that the best model in the folder is the one that the run with these records wrote.

    network: of the run.  True: it is of the epoch after them, if that one is a new best one.  A
    process that ended between the two files of an epoch leaves this.
    Raises CheckpointError if the file is missing, damaged, or of another run.
    """
    best = next((record for record in reversed(records) if record.get("is_best")), None)
    if best is None:
        return False
    path = Path(folder) / BEST
    if not path.is_file():
        raise CheckpointError(
            f"{path}: is missing: it had the best network of this run, of epoch {best['epoch']}; "
            "put the file back, or start a new folder"
        )
    found = _network_in(path, *_read(path), like=network).training_summary
    if found.get("epoch") == len(records):
        return True
    names = ("epoch", "train_loss", "val_loss", "val_accuracy")
    if any(found.get(name) != best.get(name) for name in names):
        raise other_best(folder)
    return False


def other_best(folder: str | Path) -> CheckpointError:
    """The error for a best model that another run wrote."""
    return CheckpointError(
        f"{Path(folder) / BEST}: was written by another run than {path_in(folder)}: put the file "
        "of this run back, or start a new folder"
    )


def _network_in(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], like: Network
) -> Network:
    """The network of a model file, with the classes of layers that `like` has."""
    try:
        kinds = [type(layer) for layer in like.layers]
        return safetensors.network_from(
            path, tensors, metadata, backend="numpy", custom_layers=kinds
        )
    except safetensors.ModelFileError as error:
        raise CheckpointError(str(error)) from None


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a checkpoint."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint to resume from")
    try:
        return safetensors.read(path)
    except safetensors.ModelFileError as error:
        raise CheckpointError(str(error)) from None


def load(
    path: Path,
    network: Network,
    optimizer: Optimizer,
    configuration: dict[str, Any],
    average: WeightAverage | None = None,
) -> list[dict[str, Any]]:
    """Restore network, optimizer and average from a checkpoint; returns the epoch records.

    configuration: of the run that is resumed.  Raises CheckpointError if there is no checkpoint, if
    it is damaged, or if it was written with another configuration or network.
    """
    tensors, metadata = _read(path)
    saved = _network_in(path, tensors, metadata, like=network)
    state = _state(path, metadata)
    for part in ("arithmetic", "batches"):
        name = f"{part}_version"
        before = state["configuration"].get(name, FIRST_VERSION)
        now = configuration.get(name, FIRST_VERSION)
        if before != now:
            raise CheckpointError(
                f"{path}: was written by a release that computes other {part} (version {before}; "
                f"this one has {now}): finish the run with that release, or start a new folder"
            )
    for name in configuration:
        if name.endswith("_version"):
            continue
        before, now = state["configuration"].get(name), configuration[name]
        if before != now:
            raise CheckpointError(
                f"{path}: was written with {name} {before}; this run has {now}: resume with the "
                "same options, or start a new folder"
            )
    same = (saved.layers, saved.input_spec, saved.dtype)
    if same != (network.layers, network.input_spec, network.dtype):
        raise CheckpointError(f"{path}: holds {saved!r}; this run trains {network!r}")
    optimizer_state = {
        name.removeprefix("optimizer/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("optimizer/")
    }
    vectors = {
        f"optimizer/{name}": (slot, network.trained_vector)
        for name, slot in optimizer_state.items()
        if name != "n_steps"
    }
    if average is not None:
        if LEARNING not in tensors:
            raise CheckpointError(f"{path}: {LEARNING} is missing: only averaged weights are there")
        vectors[LEARNING] = tensors[LEARNING], network.parameter_vector
    for name, vector_and_like in vectors.items():
        found, expected = (f"{a.dtype} {a.shape}" for a in vector_and_like)
        if found != expected:
            raise CheckpointError(
                f"{path}: {name} is {found}; expected {expected} like the parameters"
            )
    try:
        optimizer.load_state(optimizer_state)
        generator = state["dropout_generator"]
        if min(generator["state"].values()) < 0:  # NumPy 1.24 reads -1 as 2^128 - 1
            raise ValueError("the state of the random number generator is below 0")
        network.dropout_generator.bit_generator.state = generator
    except (AttributeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    network.parameter_vector[:] = saved.parameter_vector
    if average is not None:
        average.values[:] = tensors[LEARNING]
    network.training_summary = saved.training_summary
    network.calibration_temperature = saved.calibration_temperature
    return state["records"]


def _state(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        state = json.loads(metadata[METADATA_KEY])
        complete = _are_records(state["records"]) and isinstance(state["configuration"], dict)
        if not complete or "dropout_generator" not in state:
            raise ValueError("the training state is incomplete")
        return state
    except KeyError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error} is missing") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from None


def _are_records(records: Any) -> bool:
    """Whether these are records of the epochs 0, 1, ..., with only numbers, booleans and None."""
    return isinstance(records, list) and all(
        isinstance(record, dict)
        and record.get("epoch") == k
        and all(value is None or isinstance(value, (int, float)) for value in record.values())
        for k, record in enumerate(records)
    )
