"""Turn a finished run into the weights that come with the package.

    python examples/package_pretrained.py runs/mine --data fer2013.csv.gz --votes fer2013new.csv

Takes the run's best model, fits its calibration temperature to the PublicTest rows of FER2013,
measures its accuracy and calibration there, writes ferplus.safetensors and updates the measured
part of MODEL_CARD.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import statistics
import sys
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ferdata
import tinycnn
from tinycnn import checkpoint
from tinycnn.calibration import calibrate, fit_temperature
from tinycnn.formats import safetensors
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import CannotError, positive
from tinycnn.ground.exit_status import exit_status
from tinycnn.ground.printing import print_text
from tinycnn.losses import softmax
from tinycnn.metrics import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    per_class_recall,
)

SIZE_PX = 84
FRAMING = "fer2013"
WEIGHTS = Path(__file__).resolve().parent.parent / "tinycnn" / "models" / "weights"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
THRESHOLDS = (0.5, 0.7, 0.9)
"""Values of `unsure_below` for the table that shows how many answers are left and how many of them
are right."""


class LabelledImages(NamedTuple):
    """PublicTest images with one kind of label.

    title    of the kind of label, for the tables
    images   uint8 (N, 84, 84);  labels  int (N,)
    is_new   bool (N,): False where the same picture is among the Training images
    classes  the network's classes that this kind of label can name, as positions in the logits
    """

    title: str
    images: np.ndarray
    labels: np.ndarray
    is_new: np.ndarray
    classes: list[int]


# ---- data ------------------------------------------------------------------------------------


def load_labelled_images(data: str, votes: str) -> dict[str, LabelledImages]:
    """The images with each of the three kinds of label: two of FER+, and FER2013's own, which has
    no class for contempt."""
    own = ferdata.load_fer2013(data)
    trained_on = {image.tobytes() for image in own.in_split("train").images}
    found = {}
    for name, title in (
        ("plurality", "FER+, the class with most votes"),
        ("majority", "FER+, more than half of the votes"),
        ("labels", "FER2013's own label, 7 classes"),
    ):
        whole = own
        if name != "labels":
            whole = ferdata.load_fer2013(data, votes=votes, target=name)
        assert whole.label_space is not None
        known = ferdata.label_map(whole.label_space, ferdata.MICROEXPNET8).indices
        part = whole.to_label_space(ferdata.MICROEXPNET8).in_split("validation")
        assert part.labels is not None
        is_new = np.array([image.tobytes() not in trained_on for image in part.images])
        images = ferdata.resize_images(part.images, SIZE_PX)
        classes = [index for index in known if index is not None]
        found[name] = LabelledImages(title, images, part.labels, is_new, classes)
    return found


# ---- measuring -------------------------------------------------------------------------------


def accuracy_text(
    network: tinycnn.Network,
    labelled: dict[str, LabelledImages],
    logits: dict[str, np.ndarray],
) -> str:
    """Tables of accuracy for each kind of label, and of recall for each class."""
    lines = ["| PublicTest, labels | images | right | not in Training | right |"]
    lines += ["|---|---|---|---|---|"]
    for name, images in labelled.items():
        whole = share_right(logits[name], images, np.ones(len(images.labels), bool))
        new = share_right(logits[name], images, images.is_new)
        lines.append(f"| {images.title} | {whole} | {new} |")
    lines += ["", "| recall | images (most votes) | found | images (over half) | found |"]
    lines += ["|---|---|---|---|---|"]
    most = recalls(network, logits["plurality"], labelled["plurality"].labels)
    half = recalls(network, logits["majority"], labelled["majority"].labels)
    for name, (n_most, found_most), (n_half, found_half) in zip(network.classes, most, half):
        lines.append(f"| {name} | {n_most:,} | {found_most} | {n_half:,} | {found_half} |")
    return "\n".join(lines)


def share_right(logits: np.ndarray, images: LabelledImages, which: np.ndarray) -> str:
    """`images | share right`, with the standard error of the share.

    which: bool (N,), the images to count. Only classes that the labels can name are answered.
    """
    penalty = np.full(logits.shape[1], -np.inf, logits.dtype)
    penalty[images.classes] = 0
    p, n = accuracy(logits[which] + penalty, images.labels[which]), int(which.sum())
    return f"{n:,} | {p:.1%} ± {(p * (1 - p) / n) ** 0.5:.1%}"


def recalls(
    network: tinycnn.Network, logits: np.ndarray, labels: np.ndarray
) -> list[tuple[int, str]]:
    """For each class: how many images have it as their label, and the share of these that the
    network recognises."""
    confusion = confusion_matrix(labels, logits.argmax(axis=1), len(network.classes))
    found = per_class_recall(confusion)
    return [
        (int(n), "-" if np.isnan(share) else f"{share:.0%}")
        for n, share in zip(confusion.sum(axis=1), found)
    ]


def calibration_text(network: tinycnn.Network, logits: np.ndarray, labels: np.ndarray) -> str:
    """The calibration error without and with the temperature, and a table of `unsure_below`.

    The error with the temperature is measured by cross-validation: each half of the images is
    scored with a temperature fitted to the other half.
    """
    t = network.calibration_temperature
    before = expected_calibration_error(softmax(logits), labels)
    crossed = np.empty_like(logits)
    for half in (0, 1):
        crossed[half::2] = softmax(
            logits[half::2], fit_temperature(logits[1 - half :: 2], labels[1 - half :: 2])
        )
    after = expected_calibration_error(crossed, labels)
    lines = [
        f"Confidence: softmax(logits / {t:.3f}). Expected calibration error (15 bins, most votes) "
        f"{before:.1%} without the temperature, {after:.1%} with it (fitted on one half, measured "
        "on the other).",
        "",
        "| `unsure_below` | answered | of these right |",
        "|---|---|---|",
    ]
    probs = softmax(logits, t)
    for threshold in THRESHOLDS:
        sure = probs.max(axis=1) >= threshold
        lines.append(
            f"| {threshold} | {sure.mean():.1%} | {accuracy(probs[sure], labels[sure]):.1%} |"
        )
    return "\n".join(lines)


def speed_text(network: tinycnn.Network, images: np.ndarray) -> str:
    network.load_kernels()
    alone_us = microseconds(lambda: network.predict_proba(images[:1]), 300)
    batch_us = microseconds(lambda: network.predict_proba(images[:64]), 50) / 64
    return (
        f"{alone_us:.0f} us an image alone, {batch_us:.0f} us in batches of 64, on "
        f"{network.n_threads} cores ({processor()})"
    )


def microseconds(work: Callable[[], object], n_times: int) -> float:
    """Median time of a call of `work`; the first call is not timed."""
    work()
    return statistics.median(timeit.repeat(work, number=1, repeat=n_times)) * 1e6


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# ---- the run ---------------------------------------------------------------------------------


def training_text(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """The command of the run and the hashes of its data; absolute paths are cut to file names."""
    words = [os.path.basename(w) if os.path.isabs(w) else w for w in shlex.split(config["command"])]
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    options = config["options"]
    lines = [
        f"tinycnn {config['tinycnn']}, {config['n_training_images']:,} training images, seed "
        f"{options['seed']}, best epoch {summary['epoch'] + 1} of {options['epochs']}:",
        "",
        "```",
        shlex.join(words),
        "```",
        "",
        "sha256 of the training data, as the program read it:",
        "",
    ]
    lines += [f"- {name}: `{digest}`" for name, digest in config["data"].items()]
    return "\n".join(lines)


def read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
        needed = ("command", "options", "data", "tinycnn", "n_training_images")
        missing = [name for name in needed if name not in config]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        return config
    except (OSError, ValueError) as error:
        raise CannotError(f"{path}: not a run's configuration: {error}") from None


def with_measured(card: str, text: str, path: Path) -> str:
    """The card with `text` between the lines BEGIN and END."""
    if card.count(BEGIN) != 1 or card.count(END) != 1 or card.index(END) < card.index(BEGIN):
        raise CannotError(f"{path}: expected one line {BEGIN} and, after it, one line {END}")
    head, _, rest = card.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def run(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of train_student.py")
    parser.add_argument(
        "--data", metavar="FILE", required=True, help="the FER2013 file of the training"
    )
    parser.add_argument(
        "--votes", metavar="FILE", required=True, help="the FER+ votes: fer2013new.csv"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=WEIGHTS,
        help="folder of MODEL_CARD.md, for the weights (default: tinycnn/models/weights)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="CPU threads (default: one per usable core)"
    )
    options = parser.parse_args(argv)
    card_path = options.out / "MODEL_CARD.md"
    config = read_config(options.run / "config.json")
    network = tinycnn.load(options.run / checkpoint.BEST, n_threads=options.threads)
    spec = network.input_spec
    if network.classes != ferdata.MICROEXPNET8.classes or spec.shape[0] != SIZE_PX:
        raise CannotError(
            f"{options.run}: its network takes {spec.height_px} px images and has the classes "
            f"{', '.join(network.classes)}; expected {SIZE_PX} px and "
            f"{', '.join(ferdata.MICROEXPNET8.classes)}"
        )
    network.input_spec = replace(spec, framing=spec.framing or FRAMING)
    card = card_path.read_text(encoding="utf-8")
    with_measured(card, "", card_path)  # raises for an unusable card before the long work
    labelled = load_labelled_images(options.data, options.votes)
    logits = {name: network.predict_logits(part.images) for name, part in labelled.items()}
    most = labelled["plurality"]
    network.calibration_temperature = calibrate(logits["plurality"], most.labels).temperature
    content = safetensors.to_bytes(network)
    text = "\n\n".join(
        [
            f"`ferplus.safetensors`: {network.n_parameters:,} parameters, {len(content):,} bytes, "
            f"sha256 `{hashlib.sha256(content).hexdigest()}`. {speed_text(network, most.images)}.",
            "### Training",
            training_text(config, network.training_summary),
            "### Accuracy",
            accuracy_text(network, labelled, logits),
            "### Confidence",
            calibration_text(network, logits["plurality"], most.labels),
        ]
    )
    write_atomically(options.out / "ferplus.safetensors", content)
    write_atomically(card_path, with_measured(card, text, card_path))
    print_text(text)
    print_text(f"\n-> {options.out / 'ferplus.safetensors'}, {card_path}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
