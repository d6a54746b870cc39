"""Train MicroExpNet with a teacher's soft labels, on a CPU.

    python examples/train_student.py
        on built-in faces with the teacher that comes with them: about a minute, no download
    python examples/train_student.py --data fer2013.csv.gz --votes fer2013new.csv --teacher t.npz
        on real faces; --data also reads CK+, Oulu-CASIA, RAF-DB, a folder per class and more

All results of the run are written to one folder; open its report.html.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import logging
import os
import shlex
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

import ferdata
import tinycnn
from tinycnn import checkpoint, models, parallel, report
from tinycnn.backend_choice import BACKENDS
from tinycnn.calibration import fit_temperature
from tinycnn.cli.training_options import add_distillation_options, add_training_options
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import not_negative, positive
from tinycnn.losses import Loss, softmax
from tinycnn.metrics import expected_calibration_error
from tinycnn.optim import optimizer_from_name
from tinycnn.recipes import (
    NO_TEACHER,
    RECIPES,
    make_class_weights,
    make_loss,
    make_schedule,
    read_class_weights,
)
from tinycnn.train import (
    Callback,
    DivergedError,
    EpochRecord,
    StepRecord,
    Validation,
    evaluate,
    fit,
)

SIZE_PX = 84
MAX_CONFIG_BYTES = 1 << 20
FREE_ON_RESUME = ("data", "votes", "teacher", "threads", "epochs")
"""Options that may change when a run is resumed: files are compared by their hashes, results do not
depend on threads, and `fit` refuses other epochs if the schedule depends on their number."""

Records = list[dict[str, Any]]
"""One dictionary per epoch: the rows of history.jsonl."""


class UsageError(Exception):
    """A mistake that the user can correct; the message says how."""


# ---- options ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line, as all other errors are reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help explains the options)")


@dataclass
class DataOptions(argparse.Namespace):
    """The options about the faces, which sweep.py and reproduce_paper.py have as well."""

    data: str | None = None
    votes: str | None = None
    no_face: str = "error"
    teacher: list[str] | None = None
    targets: str | None = None
    rows: int | None = None


class Options(DataOptions):
    """The command line, and at the end what only a recipe sets; `parse` fills in what is not given
    and has a default."""

    variant: str
    size: str
    recipe: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    schedule: str
    augment: bool
    augment_strength: float
    mixup: float
    cutmix: float
    label_smoothing: float
    dropout: float
    ema_decay: float
    clip_norm: float
    class_weights: str
    patience: int | None
    loss: str
    temperature: float | list[float]
    soft_weight: float
    loss_scale: str
    flipped_teacher: bool
    compare: bool
    out: str | None
    resume: bool
    threads: int | None
    seed: int
    backend: str
    scaling: str
    bias_std: float


def add_data_options(
    parser: argparse.ArgumentParser, description: str | None = None
) -> argparse._ArgumentGroup:
    """Add a group with the options of DataOptions."""
    data = parser.add_argument_group("data", description)
    data.add_argument(
        "--data",
        metavar="PATH",
        help="a data set that ferdata.open can read: FER2013 (fer2013.csv, .csv.gz, .zip or "
        "icml_face_data.csv), a folder of CK+, Oulu-CASIA, RAF-DB or JAFFE, a folder with one "
        "subfolder per class, a CSV list of images, ... (default: built-in faces)",
    )
    data.add_argument(
        "--votes",
        metavar="FILE",
        help="with FER2013, the FER+ votes: fer2013new.csv (default: no votes)",
    )
    data.add_argument(
        "--no-face",
        choices=("error", "whole"),
        help="if no face is found in a photo: stop with an error, or use the whole photo (default: "
        "error)",
    )
    data.add_argument(
        "--teacher",
        metavar="FILE",
        nargs="+",
        help="the teacher's soft labels, .npz or .csv (docs/teacher.md describes the format); the "
        "probabilities of several files are averaged (default: with the built-in faces their own "
        "teacher, with --data none)",
    )
    data.add_argument(
        "--targets",
        choices=("votes", "plurality", "majority", "labels"),
        help="targets of the hard part of the loss: the distribution of the FER+ votes, the class "
        "with most votes (plurality), the class with more than half of the votes (majority), or "
        "the labels in the data set; images without such a target are left out (default: votes "
        "with --votes, else labels)",
    )
    data.add_argument(
        "--rows",
        metavar="N",
        type=positive,
        help="use only the first N training images, for a quick trial (default: all)",
    )
    return data


def check_targets(args: DataOptions) -> None:
    """Fill in --targets.  Raise UsageError for --votes and --targets that do not fit."""
    if args.data is None and (args.votes or args.targets not in (None, "labels")):
        raise UsageError(
            "--votes and --targets need --data: the built-in faces have labels, not votes"
        )
    if args.data and args.targets is None:
        args.targets = "votes" if args.votes else "labels"
    if args.data and (args.targets == "labels") == bool(args.votes):
        raise UsageError(
            f"--targets {args.targets} needs --votes fer2013new.csv"
            if args.targets != "labels"
            else "--targets labels does not use --votes: give only one of the two options"
        )


def build_parser() -> argparse.ArgumentParser:
    default = "(default: %(default)s)"
    parser = Parser(
        prog="train_student.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_options(
        parser,
        "Data without a validation part: a tenth becomes the validation part, of the people if\n"
        "the data say who is shown, else of the images.",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--variant",
        choices=tuple(models.VARIANTS),
        default="p12",
        help="which convolutions are followed by a pooling: v neither, p1 the first, p2 the "
        "second, p12 both " + default,
    )
    network.add_argument(
        "--size",
        choices=models.SIZES,
        default="XXS",
        help="size of the first dense layer; variant p12 with size XXS is MicroExpNet " + default,
    )

    add_training_options(parser)
    soft = add_distillation_options(parser)
    soft.add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train a second network without the teacher and report both (default: only with the "
        "built-in faces)",
    )

    run = parser.add_argument_group("run")
    run.add_argument(
        "--out",
        metavar="FOLDER",
        help="new folder for the results of the run (default: runs/<date and time>)",
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="continue the interrupted run in --out with its own options; only --threads, the "
        "paths of files that were moved and, with a schedule that does not depend on their number "
        "(constant, reduce-on-plateau), --epochs may be changed",
    )
    run.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads; their number does not change the results (default: one per usable core)",
    )
    run.add_argument(
        "--seed",
        type=not_negative,
        default=0,
        metavar="N",
        help="seed of the weights, the order of the images and the augmentation; the same seed "
        "gives the same results, bit for bit " + default,
    )
    run.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="numba: compiled kernels; numpy: plain NumPy, slow; auto: numba if it works here, "
        "else numpy " + default,
    )
    return parser


def parse(argv: list[str]) -> Options:
    """The options, with the recipe's value for each that is not given; with --resume the options
    of the interrupted run."""
    parser = build_parser()
    args = parser.parse_args(argv, Options())
    if args.resume:
        if not args.out:
            raise UsageError("--resume needs --out FOLDER, the folder of the run to continue")
        options = read_config(Path(args.out))["options"]
        check_options(parser, options, Path(args.out) / "config.json")
        args = Options()
        vars(args).update(options)
        parser.parse_args(argv, args)  # sets only what is on the command line
        for name, value in options.items():
            if name not in FREE_ON_RESUME and getattr(args, name) != value:
                raise UsageError(
                    f"--resume continues a run with its own options: --{name.replace('_', '-')} is "
                    f"{value} in {args.out}, not {getattr(args, name)}"
                )
    elif args.data and not args.teacher:
        for name in ("loss", "temperature", "soft_weight", "loss_scale", "compare"):
            if getattr(args, name) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} needs --teacher")
    if isinstance(args.teacher, str):  # from the config.json of an older release
        args.teacher = [args.teacher]
    if args.flipped_teacher and not args.teacher:
        raise UsageError("--flipped-teacher needs --teacher, with soft labels for mirror images")
    for name, value in asdict(RECIPES[args.recipe]).items():
        if vars(args).get(name) is None:
            setattr(args, name, value)
    check_targets(args)
    try:
        loss_of(args, with_teacher=True)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.compare is None:
        args.compare = args.data is None
    if args.out and not args.resume:
        refuse_used_folder(Path(args.out))
    return args


def loss_of(args: Options, with_teacher: bool, class_weights: tuple[float, ...] = ()) -> Loss:
    return make_loss(
        args.loss if with_teacher else NO_TEACHER,
        tuple(args.temperature) if isinstance(args.temperature, list) else args.temperature,
        args.soft_weight,
        args.loss_scale,
        args.label_smoothing,
        class_weights,
    )


# ---- data ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """The faces of a run.

    train       with soft labels if there is a teacher
    validation  with labels, resized to SIZE_PX
    targets     of the hard part of the loss: "labels" or "distribution"
    hashes      name -> sha256 of each array that the results depend on
    notes       sentences for the user and the report
    framing     how the faces were cut out of their photos, None if that is not known
    """

    train: ferdata.FaceDataset
    validation: ferdata.FaceDataset
    targets: str
    hashes: dict[str, str]
    notes: list[str]
    framing: str | None


def open_faces(args: DataOptions) -> ferdata.TrainingFaces:
    """The whole data set, and what is to be trained on."""
    if args.data is None:
        with ProgressBar("drawing the built-in faces", "people") as progress:
            return ferdata.TrainingFaces(ferdata.default_faces(progress=progress), "labels", None)
    with ProgressBar(f"reading {Path(args.data).name}", "") as progress:
        return ferdata.open_training_faces(
            args.data,
            votes=args.votes,
            target=args.targets or "labels",
            on_missing=args.no_face,
            progress=progress,
        )


def load_data(args: Options) -> Data:
    faces = open_faces(args)
    targets = faces.targets
    dataset, note = ferdata.with_validation(faces.dataset)
    ferdata.refuse_shared_subjects(dataset)
    train = dataset.in_split("train")
    validation = dataset.in_split("validation").labelled()
    try:
        read_class_weights(args.class_weights, train.classes)
    except ValueError as error:
        raise UsageError(f"--class-weights {error}") from None
    hashes = {}
    for name, part in (("training", train), ("validation", validation)):
        hashes[f"{name} images"] = part.content_hash()
        truth = part.labels if targets == "labels" else part.targets
        assert truth is not None
        hashes[f"{name} {targets}"] = sha256(truth)
    notes = [note] if note else []
    if args.teacher:
        values, flipped, aligned = ferdata.load_teachers(args.teacher, train)
        if args.flipped_teacher and flipped is None:
            raise UsageError(
                f"--flipped-teacher: {' '.join(args.teacher)}: no soft labels for mirror images"
            )
        train = train.with_soft_labels(values, flipped if args.flipped_teacher else None)
        if aligned.n_floored:
            notes.append(
                f"{aligned.n_floored:,} of the teacher's probabilities were below 1e-7 and were "
                "raised to 1e-7"
            )
    elif args.data is None:
        train = train.with_soft_labels(ferdata.load_rendered_teacher(train))
    if args.rows:
        train = train.select(np.arange(min(args.rows, len(train))))
    if train.soft_labels is not None:
        hashes["soft labels"] = sha256(train.soft_labels)
    if train.flipped_soft_labels is not None:
        hashes["soft labels of mirror images"] = sha256(train.flipped_soft_labels)
    if validation.images.shape[1:] != (SIZE_PX, SIZE_PX):
        images = ferdata.resize_images(validation.images, SIZE_PX)
        validation = replace(validation, images=images)
    return Data(train, validation, targets, hashes, notes, faces.framing)


def labels_of(faces: ferdata.FaceDataset) -> np.ndarray:
    assert faces.labels is not None, "load_data returns labelled faces"
    return faces.labels


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


class ProgressBar:
    """A tqdm bar to be called with `(done, total)`. It appears at the first call, and only on a
    terminal: in a log file it would hide the error message."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, desc=self.title, unit=self.unit, unit_scale=True, disable=None
            )
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


# ---- run folder ------------------------------------------------------------------------------


def open_run_folder(args: Options, data: Data) -> Path:
    """Create the run folder with its config.json, or with --resume check that the data are those
    of config.json."""
    folder = Path(args.out or time.strftime("runs/%Y%m%d-%H%M%S"))
    options = {name: value for name, value in vars(args).items() if name not in ("resume", "out")}
    config = {
        "command": shlex.join(["python", *sys.argv]),
        "tinycnn": tinycnn.__version__,
        "options": options,
        "data": data.hashes,
        "n_training_images": len(data.train),
        "n_validation_images": len(data.validation),
    }
    if args.resume:
        before = read_config(folder)
        if before["data"] != data.hashes:
            names = sorted({*before["data"], *data.hashes})
            changed = [k for k in names if before["data"].get(k) != data.hashes.get(k)]
            raise UsageError(
                f"{folder}: the data changed since the run began: {', '.join(changed)}; resume "
                "with the same files, or start a new run in another folder"
            )
        return folder
    refuse_used_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return folder


def refuse_used_folder(folder: Path) -> None:
    """Raise UsageError if a new run cannot be written to `folder`."""
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise UsageError(f"{folder}: cannot be a run folder: {parent} is a file")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{folder}: cannot be written: no permission in {parent}")
    if any((folder / name).exists() for name in ("config.json", "last", checkpoint.BEST)):
        raise UsageError(
            f"{folder}: holds another run; choose another --out, or continue that run with --resume"
        )


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"more than {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in {"command": str, "options": dict, "data": dict}.items():
            if not isinstance(config[name], kind):
                raise ValueError(f"{name} is missing")
        return config
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; there is no run to resume") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a run's configuration: {error}") from None


def check_options(parser: argparse.ArgumentParser, options: dict[str, Any], path: Path) -> None:
    """Raise UsageError for an option that neither the command line nor a recipe could have set."""
    actions = {action.dest: action for action in parser._actions}
    of_recipes = asdict(RECIPES["fer"])
    for name, value in options.items():
        if name in actions:
            fits = is_possible(actions[name], value)
        else:
            fits = name in of_recipes and isinstance(value, (str, int, float, type(None)))
        if not fits:
            raise UsageError(f"{path}: not a run's configuration: {name[:40]!r} is {value!r:.40}")


def is_possible(action: argparse.Action, value: Any) -> bool:
    """Whether the value in config.json is one that the command line can give the option."""
    if value is None or isinstance(value, bool):
        return action.default is None and value is None or action.nargs == 0
    if action.nargs == 0:
        return False
    if isinstance(value, list) and action.nargs == "+":
        return bool(value) and all(isinstance(each, str) for each in value)
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        read = action.type(text) if callable(action.type) else text
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return read == value and (action.choices is None or read in action.choices)


class History(Callback):
    """Shows a progress bar and writes history.jsonl, one line per epoch."""

    def __init__(self, path: Path, title: str, n_images: int, n_epochs: int, done: Records) -> None:
        self.path, self.rows = path, list(done)
        self.n_images = n_images
        self.write()  # a crash may have left the file an epoch behind the checkpoint
        self.bar = tqdm(
            desc=title,
            total=n_images * n_epochs,
            initial=n_images * len(done),
            unit="img",
            unit_scale=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        self.val_accuracy = done[-1]["val_accuracy"] if done else None

    def on_step(self, record: StepRecord) -> None:
        self.bar.update(record.epoch * self.n_images + record.n_images - self.bar.n)
        shown = {"loss": f"{record.mean_loss:.3f}", "acc": f"{record.mean_accuracy:.1%}"}
        if self.val_accuracy is not None:
            shown["val"] = f"{self.val_accuracy:.1%}"
        self.bar.set_postfix(shown, refresh=False)

    def on_epoch(self, record: EpochRecord) -> None:
        self.val_accuracy = record.val_accuracy
        self.rows.append(record.to_dict())
        self.write()

    def write(self) -> None:
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


# ---- training --------------------------------------------------------------------------------


def train(args: Options, data: Data, folder: Path, with_teacher: bool) -> Records:
    """Train a network with results in `folder`, or finish a training that was interrupted there."""
    folder.mkdir(exist_ok=True)
    network = models.microexpnet(
        args.variant,
        args.size,
        len(data.train.classes),
        classes=data.train.classes,
        scaling=args.scaling,
        bias_std=args.bias_std,
        dropout=args.dropout,
        framing=data.framing,
        backend=args.backend,
        n_threads=args.threads,
        seed=args.seed,
    )
    dataset = data.train if with_teacher else data.train.with_soft_labels(None)
    batches = ferdata.Batches(
        dataset,
        batch_size=args.batch_size,
        size_px=SIZE_PX,
        augment=ferdata.Augmentation.of_strength(args.augment_strength) if args.augment else None,
        mix=ferdata.Mixing(args.mixup, args.cutmix),
        seed=args.seed,
        targets=data.targets,
        n_threads=network.n_threads,
    )
    class_weights = make_class_weights(args.class_weights, batches.classes, batches)
    began = checkpoint.path_in(folder).exists() or has_content(folder / "history.jsonl")
    resume = args.resume and began  # else it was interrupted in its first epoch: start again
    done = checkpoint.records_in(folder) if resume else []
    title = "with teacher" if with_teacher else "without teacher"
    history = History(
        folder / "history.jsonl", title, batches.n_images, args.epochs, [dict(r) for r in done]
    )
    try:
        records = fit(
            network,
            batches,
            loss=loss_of(args, with_teacher, class_weights),
            optimizer=optimizer_from_name(
                args.optimizer,
                learning_rate=args.learning_rate,
                clip_norm=args.clip_norm,
                backend=args.backend,
            ),
            n_epochs=args.epochs,
            schedule=make_schedule(
                args.schedule, args.learning_rate, args.epochs * batches.n_batches
            ),
            validation=Validation(
                data.validation.images,
                labels_of(data.validation),
                data.validation.targets if data.targets == "distribution" else None,
            ),
            callbacks=[history],
            patience=args.patience,
            folder=folder,
            resume=resume,
            ema_decay=args.ema_decay,
        )
        rows = done + [record.to_dict() for record in records]
    finally:
        history.bar.close()
    calibrate(args, data.validation, folder)
    return rows


def calibrate(args: Options, validation: ferdata.FaceDataset, folder: Path) -> None:
    """Fit the calibration temperature of the run's best model to the validation faces."""
    path = folder / checkpoint.BEST
    network = tinycnn.load(path, backend=args.backend, n_threads=args.threads)
    network.calibration_temperature = fit_temperature(
        network.predict_logits(validation.images), labels_of(validation)
    )
    tinycnn.save(network, path)


def has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def finish(args: Options, data: Data, folder: Path, histories: dict[str, Records]) -> None:
    """Evaluate the best model, write predictions.csv and report.html, print the summary."""
    network = tinycnn.load(folder / checkpoint.BEST, backend=args.backend, n_threads=args.threads)
    images, labels = data.validation.images, labels_of(data.validation)
    scored = evaluate(network, images, labels)
    write_atomically(folder / "predictions.csv", predictions_csv(data.validation, scored.probs))
    config, records = read_config(folder), next(iter(histories.values()))
    batched_us = microseconds(lambda: network.predict_proba(images)) / len(images)
    single_us = microseconds(lambda: network.predict_proba(images[:1]), 50)
    speed = {
        "training": f"{np.median([r['images_per_s'] for r in records]):,.0f} images/s",
        "prediction": f"{batched_us:,.0f} us an image in batches, {single_us:,.0f} us alone",
    }
    report.write_report(
        folder / "report.html",
        report.RunReport(
            title=f"MicroExpNet {args.variant}-{args.size}",
            command=config["command"],
            config=config["options"],
            n_parameters=network.n_parameters,
            classes=network.classes,
            histories=histories,
            labels=labels,
            probs=scored.probs,
            images=images,
            ids=data.validation.ids.tolist(),
            filters=network.parameters["conv1.w"],
            data_hashes=data.hashes,
            speed=speed,
            notes=data.notes,
        ),
    )
    print()
    for name, rows in histories.items():
        best = max(rows, key=lambda row: row["val_accuracy"])
        print(f"{name:>16}: {best['val_accuracy']:.1%} of {len(images):,} validation images right")
    print(f"{'calibration':>16}: {calibration_text(network, data.validation)}")
    print(f"{'speed':>16}: {speed['training']} in training; {speed['prediction']}")
    print(f"{'cost':>16}: {cost_text(args, histories)}")
    print(f"{'report':>16}: {folder / 'report.html'}")


def cost_text(args: Options, histories: dict[str, Records]) -> str:
    """Epochs, time and threads of all training together, without interruptions."""
    rows = [row for history in histories.values() for row in history]
    seconds = sum(row["seconds"] for row in rows)
    shown = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    n_threads = parallel.check_n_threads(args.threads)
    return f"{len(rows)} epochs in {shown} on {n_threads} thread{'s'[: n_threads > 1]}"


def calibration_text(network: tinycnn.Network, validation: ferdata.FaceDataset) -> str:
    """The calibration temperature, and the calibration error without and with it."""
    logits, t = network.predict_logits(validation.images), network.calibration_temperature
    before, after = (
        expected_calibration_error(
            softmax(logits, each, backend=network.backend), labels_of(validation)
        )
        for each in (1.0, t)
    )
    return f"temperature {t:.3f}: expected calibration error {before:.1%} -> {after:.1%}"


def microseconds(work: Callable[[], object], n_times: int = 3) -> float:
    """Median time of a call of `work`; the first call is not timed."""
    work()
    return float(np.median(timeit.repeat(work, number=1, repeat=n_times))) * 1e6


def predictions_csv(validation: ferdata.FaceDataset, probs: np.ndarray) -> str:
    """One row per image: id, label, predicted class and the probability of every class. Eight
    decimals are enough to see which of the float32 probabilities is the largest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = validation.classes
    writer.writerow(["id", "label", "predicted", *classes])
    for name, label, row in zip(validation.ids, labels_of(validation), probs):
        predicted = classes[int(row.argmax())]
        writer.writerow([name, classes[label], predicted, *(f"{p:.8f}" for p in row)])
    return text.getvalue()


def run(argv: list[str]) -> None:
    args = parse(argv)
    data = load_data(args)
    has_teacher = data.train.soft_labels is not None
    folder = open_run_folder(args, data)
    for note in data.notes:
        print(f"note: {note}")
    print(
        f"{len(data.train):,} training and {len(data.validation):,} validation images -> {folder}"
    )
    try:
        histories: dict[str, Records] = {}
        if has_teacher:
            histories["with teacher"] = train(args, data, folder, with_teacher=True)
        if not has_teacher:
            histories["without teacher"] = train(args, data, folder, with_teacher=False)
        elif args.compare:
            plain = folder / "without-teacher"
            histories["without teacher"] = train(args, data, plain, with_teacher=False)
        finish(args, data, folder, histories)
    except KeyboardInterrupt:
        print(f"\nstopped; continue with: {resume_options(folder)}", file=sys.stderr)
        raise
    except DivergedError as error:
        raise UsageError(
            f"{error}; start another run with --learning-rate below {args.learning_rate:g}; "
            f"{folder} keeps the weights of the last good epoch"
        ) from None
    except OSError as error:
        if not (folder / "config.json").is_file():
            raise UsageError(f"{error}; {folder} is gone: start another run") from None
        raise UsageError(
            f"{error}; the files already written are complete: continue with "
            f"{resume_options(folder)}"
        ) from None


def resume_options(folder: Path) -> str:
    return f"--out {shlex.quote(str(folder))} --resume"


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except (UsageError, OSError, ArithmeticError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
