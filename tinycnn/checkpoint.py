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
    try:
        kinds = [type(layer) for layer in network.layers]
        saved = safetensors.network_from(
            path, tensors, metadata, backend="numpy", custom_layers=kinds
        )
    except safetensors.ModelFileError as error:
        raise CheckpointError(str(error)) from None
    state = _state(path, metadata)
    for name in configuration:
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
