"""Train MicroExpNet from a teacher's soft labels, on a CPU.

    python examples/train_student.py
        built-in faces and their shipped teacher: about a minute, nothing to download
    python examples/train_student.py --data fer2013.csv.gz --votes fer2013new.csv --teacher t.npz
        real faces; --data takes CK+, Oulu-CASIA, RAF-DB, a folder per class, ... as well

Everything about the run lands in one folder; open its report.html.
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import ferdata
import tinycnn
from tinycnn import checkpoint, models, parallel, report
from tinycnn.backend_choice import BACKENDS
from tinycnn.calibration import fit_temperature
from tinycnn.cli.console import not_negative, positive
from tinycnn.cli.training_options import add_distillation_options, add_training_options
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.losses import softmax
from tinycnn.metrics import expected_calibration_error
from tinycnn.optim import optimizer_from_name
from tinycnn.recipes import NO_TEACHER, RECIPES, make_loss, make_schedule
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


class UsageError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


# ---- options ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Wrong options are told like everything else that is wrong: in one line."""

    def error(self, message: str) -> None:
        raise UsageError(f"{message} (--help explains the options)")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="train_student.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="PATH",
        help="whatever ferdata.open recognises: FER2013 (fer2013.csv, .csv.gz, .zip, "
        "icml_face_data.csv), folders of CK+, Oulu-CASIA, RAF-DB, JAFFE, a folder per class, a csv "
        "manifest, ...; without a validation part a tenth is kept for it, other people where "
        "subjects are known (default: built-in faces)",
    )
    data.add_argument("--votes", metavar="FILE", help="FER+ votes for FER2013: fer2013new.csv")
    data.add_argument(
        "--no-face",
        choices=("error", "whole"),
        default="error",
        help="photos in which no face is found: stop, or take the whole photo " + DEFAULT,
    )
    data.add_argument(
        "--teacher",
        metavar="FILE",
        nargs="+",
        help="soft labels, .npz or .csv; see the README for the format; of several the mean of "
        "their probabilities (default: the shipped teacher for the built-in faces, none for "
        "--data)",
    )
    data.add_argument(
        "--targets",
        choices=("votes", "plurality", "majority", "labels"),
        help="what the hard part of the loss is measured against, and which rows are used: the "
        "distribution of the votes, their plurality or majority label, or the file's own label "
        "(default: votes with --votes, else labels)",
    )
    data.add_argument(
        "--rows",
        metavar="N",
        type=positive,
        help="use only the first N training images, for a quick trial (default: all)",
    )

    network = parser.add_argument_group("network")
    network.add_argument("--variant", choices=tuple(models.VARIANTS), default="p12", help=VARIANT)
    network.add_argument("--size", choices=models.SIZES, default="XXS", help=SIZE)

    add_training_options(parser)
    soft = add_distillation_options(parser)
    soft.add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train a second time without the teacher and report both (default: for the built-in "
        "faces only)",
    )

    run = parser.add_argument_group("run")
    run.add_argument("--out", metavar="FOLDER", help="run folder (default: runs/<date and time>)")
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run in --out, with its own options; only --threads, paths "
        "of moved files and, with a constant schedule, --epochs may be given anew",
    )
    run.add_argument("--threads", type=positive, metavar="N", help=THREADS)
    run.add_argument(
        "--seed",
        type=not_negative,
        default=0,
        metavar="N",
        help=SEED,
    )
    run.add_argument("--backend", choices=BACKENDS, default="auto", help=BACKEND)
    return parser


DEFAULT = "(default: %(default)s)"
VARIANT = "which convolutions are pooled: none, the first, the second, both " + DEFAULT
SIZE = "of the dense layer; p12 XXS is MicroExpNet " + DEFAULT
THREADS = "results do not depend on it (default: all usable cores)"
SEED = "of weights, order and augmentation; the same seed gives the same bits " + DEFAULT
BACKEND = "compiled kernels (numba), the slow reference, or whichever works " + DEFAULT
MAX_CONFIG_BYTES = 1 << 20
FREE_ON_RESUME = ("data", "votes", "teacher", "threads", "epochs")
"""Options that may differ when a run goes on: files are known by their hashes, results do not
depend on threads, and fit refuses other epochs where the schedule depends on them."""


def parse(argv: list[str]) -> argparse.Namespace:
    """Options, with the recipe's values filled in; with --resume, those of the run's config."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.resume:
        if not args.out:
            raise UsageError("--resume needs --out FOLDER, the run to go on with")
        options = read_config(Path(args.out))["options"]
        check_options(parser, options, Path(args.out) / "config.json")
        parser.set_defaults(**{**options, "resume": True, "out": args.out})
        args = parser.parse_args(argv)
        for name, value in options.items():
            if name not in FREE_ON_RESUME and getattr(args, name) != value:
                raise UsageError(
                    f"--resume goes on with the run's own options: --{name.replace('_', '-')} is "
                    f"{value} in {args.out}, not {getattr(args, name)}"
                )
    elif args.data and not args.teacher:
        for name in ("loss", "temperature", "soft_weight", "loss_scale", "compare"):
            if getattr(args, name) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} needs --teacher")
    if isinstance(args.teacher, str):  # of a run begun by an older release
        args.teacher = [args.teacher]
    if args.flipped_teacher and not args.teacher:
        raise UsageError("--flipped-teacher needs --teacher, with answers for mirror images")
    for name, value in asdict(RECIPES[args.recipe]).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    if args.data is None and (args.votes or args.targets not in (None, "labels")):
        raise UsageError("--votes and --targets go with --data: the built-in faces have labels")
    if args.data and args.targets is None:
        args.targets = "votes" if args.votes else "labels"
    if args.data and (args.targets == "labels") == bool(args.votes):
        raise UsageError(
            f"--targets {args.targets} needs --votes fer2013new.csv"
            if args.targets != "labels"
            else "--targets labels does not use --votes: leave one of them out"
        )
    try:
        make_loss(args.loss, args.temperature, args.soft_weight, args.loss_scale)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.compare is None:
        args.compare = args.data is None
    if args.out and not args.resume:
        refuse_used_folder(Path(args.out))
    return args


# ---- data ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Training faces with soft labels where there is a teacher, validation faces at SIZE_PX."""

    train: ferdata.FaceDataset
    validation: ferdata.FaceDataset
    targets: str
    hashes: dict[str, str]
    notes: list[str]
    framing: str | None


def load_data(args: argparse.Namespace) -> Data:
    if args.data is None:
        with bar("drawing the built-in faces", "people") as progress:
            dataset = ferdata.default_faces(progress=progress)
        targets, framing = "labels", None
    else:
        with bar(f"reading {Path(args.data).name}", "") as progress:
            faces = ferdata.open_training_faces(
                args.data,
                votes=args.votes,
                target=args.targets,
                on_missing=args.no_face,
                progress=progress,
            )
        dataset, targets, framing = faces.dataset, faces.targets, faces.framing
    dataset, told = ferdata.with_validation(dataset)
    ferdata.refuse_shared_subjects(dataset)
    train = dataset.in_split("train")
    validation = dataset.in_split("validation").labelled()
    hashes = {}
    for name, part in (("training", train), ("validation", validation)):
        hashes[f"{name} images"] = part.content_hash()
        truth = part.labels if targets == "labels" else part.targets
        hashes[f"{name} {targets}"] = hash_of(truth)
    notes = [told] if told else []
    if args.teacher:
        values, flipped, aligned = ferdata.load_teachers(args.teacher, train)
        if args.flipped_teacher and flipped is None:
            raise UsageError(
                f"--flipped-teacher: {' '.join(args.teacher)}: no answers for mirror images"
            )
        train = train.with_soft_labels(values, flipped if args.flipped_teacher else None)
        if aligned.n_floored:
            notes.append(
                f"{aligned.n_floored:,} of the teacher's probabilities were below 1e-7 and raised "
                "to it"
            )
    elif args.data is None:
        train = train.with_soft_labels(ferdata.load_rendered_teacher(train))
    if args.rows:
        train = train.select(np.arange(min(args.rows, len(train))))
    if train.soft_labels is not None:
        hashes["soft labels"] = hash_of(train.soft_labels)
    if train.flipped_soft_labels is not None:
        hashes["soft labels of mirror images"] = hash_of(train.flipped_soft_labels)
    if validation.images.shape[1:] != (SIZE_PX, SIZE_PX):
        images = ferdata.resize_images(validation.images, SIZE_PX)
        validation = replace(validation, images=images)
    return Data(train, validation, targets, hashes, notes, framing)


def hash_of(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


class bar:
    """A tqdm bar as a `progress(done, total)` callable; it appears with the first call, on a
    terminal only: in a log it would drown the one line that says what was wrong."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit, self.bar = title, unit, None

    def __enter__(self) -> bar:
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


def open_run_folder(args: argparse.Namespace, data: Data) -> Path:
    """The run folder, made or checked, with config.json in it."""
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
                "with the same files, or start a new folder"
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
    """Before any work is done: raises UsageError where no run can go."""
    parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise UsageError(f"{folder}: cannot be a run folder: {parent} is a file")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{folder}: cannot be written: no permission in {parent}")
    if any((folder / name).exists() for name in ("config.json", "last", checkpoint.BEST)):
        raise UsageError(
            f"{folder}: holds another run; choose another --out, or go on with it by --resume"
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
    """Raise UsageError unless every option could have been given on the command line, or is one
    that only a recipe sets."""
    actions = {action.dest: action for action in parser._actions}
    of_recipes = asdict(RECIPES["fer"])
    for name, value in options.items():
        if name in actions:
            fits = could_be_given(actions[name], value)
        else:
            fits = name in of_recipes and isinstance(value, (str, int, float, type(None)))
        if not fits:
            raise UsageError(f"{path}: not a run's configuration: {name[:40]!r} is {value!r:.40}")


def could_be_given(action: argparse.Action, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return action.default is None and value is None or action.nargs == 0
    if action.nargs == 0 or not isinstance(value, (str, int, float, list)):
        return False
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        read = (action.type or str)(text)
    except (ValueError, argparse.ArgumentTypeError, UsageError):
        return False
    return action.choices is None or read in action.choices


class History(Callback):
    """Shows a progress bar and writes history.jsonl, a line an epoch."""

    def __init__(self, path: Path, title: str, n_images: int, n_epochs: int, done: list) -> None:
        self.path, self.rows = path, list(done)
        self.n_images = n_images
        self.write()  # after a crash between two writes the checkpoint knows better than the file
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


def train(args: argparse.Namespace, data: Data, folder: Path, with_teacher: bool) -> list[dict]:
    """One training run into `folder`, or what is left of it; returns the epoch records."""
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
    loss = make_loss(
        *(args.loss if with_teacher else NO_TEACHER, args.temperature, args.soft_weight),
        *(args.loss_scale, args.label_smoothing),
    )
    began = checkpoint.path_in(folder).exists() or has_content(folder / "history.jsonl")
    resume = args.resume and began  # a run that ended within its first epoch starts anew
    done = checkpoint.records_in(folder) if resume else []
    title = "with teacher" if with_teacher else "without teacher"
    history = History(
        folder / "history.jsonl", title, batches.n_images, args.epochs, [dict(r) for r in done]
    )
    try:
        records = fit(
            network,
            batches,
            loss=loss,
            optimizer=optimizer_from_name(
                args.optimizer, learning_rate=args.learning_rate, backend=args.backend
            ),
            n_epochs=args.epochs,
            schedule=make_schedule(
                args.schedule, args.learning_rate, args.epochs * batches.n_batches
            ),
            validation=Validation(
                data.validation.images,
                data.validation.labels,
                data.validation.targets if data.targets == "distribution" else None,
            ),
            callbacks=[history],
            patience=args.patience,
            folder=folder,
            resume=resume,
            ema_decay=args.ema_decay,
            clip_norm=args.clip_norm,
        )
        rows = done + [record.to_dict() for record in records]
    finally:
        history.bar.close()
    calibrate(args, data.validation, folder)
    return rows


def calibrate(args: argparse.Namespace, validation: ferdata.FaceDataset, folder: Path) -> None:
    """Fit the confidence of the run's best model to the validation labels."""
    path = folder / checkpoint.BEST
    network = tinycnn.load(path, backend=args.backend, n_threads=args.threads)
    network.calibration_temperature = fit_temperature(
        network.predict_logits(validation.images), validation.labels
    )
    tinycnn.save(network, path)


def has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def finish(
    args: argparse.Namespace, data: Data, folder: Path, histories: dict[str, list[dict]]
) -> None:
    """Score the best model, write predictions.csv and report.html, print the summary."""
    network = tinycnn.load(folder / checkpoint.BEST, backend=args.backend, n_threads=args.threads)
    images = data.validation.images
    scored = evaluate(network, images, data.validation.labels)
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
            labels=np.asarray(data.validation.labels),
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
    print(f"{'confidence':>16}: {confidence(network, data.validation)}")
    print(f"{'speed':>16}: {speed['training']} in training; {speed['prediction']}")
    print(f"{'cost':>16}: {cost(args, histories)}")
    print(f"{'report':>16}: {folder / 'report.html'}")


def cost(args: argparse.Namespace, histories: dict[str, list[dict]]) -> str:
    """What all training took, interruptions aside."""
    rows = [row for history in histories.values() for row in history]
    seconds = sum(row["seconds"] for row in rows)
    shown = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    n_threads = parallel.check_n_threads(args.threads)
    return f"{len(rows)} epochs in {shown} on {n_threads} thread{'s'[: n_threads > 1]}"


def confidence(network: tinycnn.Network, validation: ferdata.FaceDataset) -> str:
    """What the temperature changed, in words."""
    logits, t = network.predict_logits(validation.images), network.calibration_temperature
    before, after = (
        expected_calibration_error(
            softmax(logits, each, backend=network.backend), validation.labels
        )
        for each in (1.0, t)
    )
    return f"temperature {t:.3f}: expected calibration error {before:.1%} -> {after:.1%}"


def microseconds(work: Any, n_times: int = 3) -> float:
    """Median time of work(), after one call that is not counted."""
    work()
    times_s = []
    for _ in range(n_times):
        started = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - started)
    return float(np.median(times_s)) * 1e6


def predictions_csv(validation: ferdata.FaceDataset, probs: np.ndarray) -> str:
    """id, label, predicted class, and the probability of every class: with eight decimals, which
    keep the order of any two float32 that may be the largest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = validation.classes
    writer.writerow(["id", "label", "predicted", *classes])
    for name, label, row in zip(validation.ids, validation.labels, probs):
        said = classes[int(row.argmax())]
        writer.writerow([name, classes[label], said, *(f"{p:.8f}" for p in row)])
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
        histories = {}
        if has_teacher:
            histories["with teacher"] = train(args, data, folder, with_teacher=True)
        if not has_teacher:
            histories["without teacher"] = train(args, data, folder, with_teacher=False)
        elif args.compare:
            plain = folder / "without-teacher"
            histories["without teacher"] = train(args, data, plain, with_teacher=False)
        finish(args, data, folder, histories)
    except KeyboardInterrupt:
        print(f"\nstopped; go on with: {resuming(folder)}", file=sys.stderr)
        raise
    except DivergedError as error:
        raise UsageError(
            f"{error}: begin another run with --learning-rate below {args.learning_rate:g}; "
            f"{folder} keeps what was good before"
        ) from None
    except OSError as error:
        if not (folder / "config.json").is_file():
            raise UsageError(f"{error}; {folder} is gone: begin another run") from None
        raise UsageError(
            f"{error}; what is there is whole: go on with {resuming(folder)}"
        ) from None


def resuming(folder: Path) -> str:
    return f"--out {shlex.quote(str(folder))} --resume"


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except (UsageError, ferdata.DataError, checkpoint.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, ArithmeticError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
