"""Readers of what runs and sweeps keep in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.readers.arrays import PACKED
from fuzz.readers.registry import Reader, reader, written


@reader(share=0.2)
def sweep_result(folder: Path) -> Reader:
    """The result of a trial, and the tables made from it."""
    from dataclasses import asdict

    from tinycnn import sweep
    from tinycnn.sweep import Trial

    kept, trial = sweep.SweepFolder(folder), Trial()
    scores = {"accuracy": 0.5, "loss": 1.25, "predicted": [0, 1]}
    name = trial.name("data")
    good: dict[str, Any] = {"name": name, "trial": asdict(trial), "validation": scores}
    good |= {"data": "data"}
    good |= {"test": None, "best_epoch": 1, "n_parameters": 65000, "seconds": 2.5}

    def read(data: bytes) -> None:
        kept.result_path(name).write_bytes(data)
        result = kept.result(name)
        sweep.score_tables([result, good])
        sweep.choice_table([result, good], "validation")
        sweep.summary_csv({name: trial}, sweep.Outcome({name: result}))

    errors = (sweep.SweepFolderError,)
    return Reader(read, errors, lambda: {"good": json.dumps(good).encode()})


@reader(share=0.2)
def sweep_failure(folder: Path) -> Reader:
    """The error of a trial that failed."""
    from dataclasses import asdict

    from tinycnn import sweep
    from tinycnn.sweep import Trial

    kept, trial = sweep.SweepFolder(folder), Trial()
    good = {"name": "one", "trial": asdict(trial), "error": "no memory", "traceback": ""}

    def read(data: bytes) -> None:
        kept.failure_path("one").write_bytes(data)
        assert isinstance(kept.outcome({"one": trial}).failures["one"], str)

    seeds = {"good": json.dumps(good).encode()}
    return Reader(read, (sweep.SweepFolderError,), lambda: seeds)


@reader(share=0.2)
def reproduce_plan(folder: Path) -> Reader:
    """The plan.json in the folder of `tinycnn reproduce`: no content may raise an error."""
    from tinycnn.cli.plan_file import NAME, read_plan

    def read(path: Path) -> None:
        plan = read_plan(str(path.parent))
        assert plan is None or {"asked", "plan"} <= plan.keys()

    good = {"asked": {"budget": 600}, "plan": {"folds": 2}}
    return Reader(written(folder, NAME, read), (), lambda: {"good": json.dumps(good).encode()})


@reader(share=0.1)
def sweep_soft_labels(folder: Path) -> Reader:
    """The soft labels of a teacher that was trained in a fold."""
    from tinycnn.sweep import soft_labels

    good = soft_labels.to_bytes(np.zeros((5, 8), np.float32))
    return Reader(soft_labels.from_bytes, (ValueError,), lambda: {"good": good})


@reader(share=0.05)
def run_config(folder: Path) -> Reader:
    """The config.json of a run that is resumed."""
    from tinycnn.cli import build_parser, train
    from tinycnn.run import RunFolderError

    words = ["train", "--resume", "--out", str(folder)]
    given = build_parser().parse_args(words)
    read = written(folder, "config.json", lambda path: train.read_arguments(given))
    options = {"epochs": 3, "recipe": "fer", "seed": 0, "temperature": None, "augment": None}
    options |= {"learning_rate": 0.003, "compare": True, "bias_std": 0.0}
    good = {"command": "python x.py", "options": options, "data": {"images": "ab"}}
    return Reader(read, (RunFolderError,), lambda: {"good": json.dumps(good).encode()})


@reader(share=0.05)
def sweep_toml(folder: Path) -> Reader:
    """The --config of a sweep, and the trials made from it."""
    import ferdata
    from tinycnn.cli import build_parser, sweep
    from tinycnn.ground.command_line import CannotError

    dataset = ferdata.FaceDataset(
        images=PACKED["images"],
        ids=PACKED["ids"],
        label_space=ferdata.LabelSpace("mine", ("anger", "happy")),
        labels=PACKED["labels"],
        soft_labels=PACKED["targets"],
        split=np.array(["train", "validation"]),
    )
    faces = ferdata.TrialFaces(dataset)

    parser = build_parser()

    def read(path: Path) -> None:
        given = parser.parse_args(["sweep", "--config", str(path)])
        sweep.make_trials(sweep.read_arguments(given), faces)

    good = b'out = "mine"\nsize = ["XS", 20]\nepochs = 3\n[[trial]]\nloss = "none"\n'
    read_written = written(folder, "sweep.toml", read)
    return Reader(read_written, (CannotError,), lambda: {"good": good})
