"""The folder of a training run, and its config.json: all options, and hashes of the data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import checkpoint
from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.regular_file import read_text_file

NAME = "config.json"
MAX_BYTES = 1 << 20

RESULTS = ("history.jsonl", "predictions.csv", "report.html", "without-teacher")
"""What else a run writes into its folder, but for checkpoints."""


class RunFolderError(ValueError):
    """A run folder that cannot be used.  The message names it and says why."""


@dataclass(frozen=True)
class RunConfig:
    """What config.json says about a run.

    command  the command that began it
    options  by name, as values that JSON can hold
    data     name -> sha256 of each array that the results depend on
    tinycnn  the version
    working_folder  in which the command was given: paths among the options are relative to it.
                    "": not known, for runs of earlier releases
    """

    command: str
    options: Mapping[str, object]
    data: Mapping[str, str]
    n_training_images: int
    n_validation_images: int
    tinycnn: str = __version__
    working_folder: str = ""

    def begin(self, folder: Path) -> Path:
        """Begin a run in `folder`, which is made if it does not exist; returns it.  Of several runs
        that begin in one folder at the same time, one succeeds.  Raises RunFolderError."""
        check_unused(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / NAME, json.dumps(asdict(self), indent=2) + "\n", new=True)
        except FileExistsError:
            raise _holds(folder, NAME) from None
        except OSError as error:
            reason = error.strerror or error
            raise RunFolderError(f"{folder}: cannot be written: {reason}") from None
        return folder

    def begin_in_new(self, folder: Path) -> Path:
        """As `begin`, in a folder that does not exist: `folder`, or with a number behind its name,
        from 2 on, if another run has it."""
        number, name = 1, folder.name
        while True:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
                folder = folder.with_name(f"{name}-{number}")
            except OSError as error:
                reason = error.strerror or error
                raise RunFolderError(f"{folder}: cannot be made: {reason}") from None
            else:
                return self.begin(folder)

    def path(self, name: str) -> str:
        """Where a path among the options leads from the present folder: to the file that the run
        began with, or if that is gone, to one of the same name here."""
        recorded = os.path.join(self.working_folder, name)
        return next((path for path in (recorded, name) if os.path.exists(path)), recorded)

    def check_data(self, data: Mapping[str, str], folder: Path) -> None:
        """Raise RunFolderError if the data are not those that the run in `folder` began with."""
        names = sorted({*self.data, *data})
        changed = [name for name in names if self.data.get(name) != data.get(name)]
        if changed:
            raise RunFolderError(
                f"{folder}: the data changed since the run began: {', '.join(changed)}; resume "
                "with the same files, or start a new run in another folder"
            )


def read_config(folder: Path) -> RunConfig:
    """The configuration of the run in `folder`.  Raises RunFolderError if there is none, or if it
    is damaged.  Entries that other releases write are passed over."""
    path = folder / NAME
    try:
        content = json.loads(read_text_file(path, MAX_BYTES))
        for name, kind in {"command": str, "options": dict, "data": dict}.items():
            if not isinstance(content[name], kind):
                raise ValueError(f"{name} is missing")
    except FileNotFoundError:
        raise RunFolderError(f"{path}: no such file; there is no run to resume") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_a_configuration(folder, error) from None
    return RunConfig(
        command=content["command"],
        options=content["options"],
        data=content["data"],
        n_training_images=content.get("n_training_images", 0),
        n_validation_images=content.get("n_validation_images", 0),
        tinycnn=content.get("tinycnn", ""),
        working_folder=str(content.get("working_folder", "")),
    )


def not_a_configuration(folder: Path, reason: object) -> RunFolderError:
    return RunFolderError(f"{folder / NAME}: not a run's configuration: {reason}")


def check_unused(folder: Path) -> None:
    """Raise RunFolderError if a new run cannot be written to `folder`."""
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise RunFolderError(f"{folder}: cannot be a run folder: {parent} is a file")
    if not os.access(parent, os.W_OK):
        raise RunFolderError(f"{folder}: cannot be written: no permission in {parent}")
    for name in (NAME, "last", checkpoint.BEST, *RESULTS):
        if os.path.lexists(folder / name):
            raise _holds(folder, name)


def _holds(folder: Path, name: str) -> RunFolderError:
    if name == NAME:
        return RunFolderError(
            f"{folder}: holds another run; choose another folder, or resume that run"
        )
    return RunFolderError(
        f"{folder}: holds {name}, which the run would overwrite; choose another folder"
    )
