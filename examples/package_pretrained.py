"""Turn a finished run into the weights that come with the package.

    python examples/package_pretrained.py runs/mine --data fer2013.csv.gz --votes fer2013new.csv

Takes the run's best model, fits its calibration temperature to the PublicTest rows of FER2013,
measures its accuracy and calibration there, writes NAME.safetensors, NAME being that of the run's
network, and updates the measured part of MODEL_CARD.md that is about it.
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
from tinycnn.formats.pretrained import PRETRAINED
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import CannotError, above_zero, positive
from tinycnn.ground.exit_status import exit_status
from tinycnn.ground.printing import print_text
from tinycnn.logit_adjustment import logit_offsets
from tinycnn.losses import softmax
from tinycnn.metrics import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    per_class_recall,
)

FRAMING = "fer2013"
WEIGHTS = Path(__file__).resolve().parent.parent / "tinycnn" / "models" / "weights"
BEGIN, END = "<!-- measured, {}: begin -->", "<!-- measured, {}: end -->"
PHOTO_PX = 120
"""The side of a face in the photos that are made to try the face search."""

RARE = ("disgust", "fear", "contempt")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the logit adjustment, for the table that shows what it gives and costs."""

THRESHOLDS = (0.5, 0.7, 0.9)
"""Values of `unsure_below` for the table that shows how many answers are left and how many of them
are right."""


class LabelledImages(NamedTuple):
    """PublicTest images with one kind of label.

    title    of the kind of label, for the tables
    images   uint8 (N, H, H), of the size that the network takes;  labels  int (N,)
    is_new   bool (N,): False where the same picture is among the Training images
    classes  the network's classes that this kind of label can name, as positions in the logits
    """

    title: str
    images: np.ndarray
    labels: np.ndarray
    is_new: np.ndarray
    classes: list[int]


# ---- data ------------------------------------------------------------------------------------


def load_labelled_images(data: str, votes: str, size_px: int) -> dict[str, LabelledImages]:
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
        images = part.images
        if images.shape[1] != size_px:
            images = ferdata.resize_images(images, size_px)
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


def operating_points_text(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> str:
    """A table of accuracy and recall for some strengths of the logit adjustment.

    logits  without adjustment;  counts  float (K,), the training images of each class
    """
    names = ferdata.MICROEXPNET8.classes
    rare = [names.index(name) for name in RARE]
    lines = [f"| adjustment | right | mean recall of 7 | {' | '.join(RARE)} |"]
    lines += ["|---" * (3 + len(RARE)) + "|"]
    for strength in STRENGTHS:
        adjusted = logits + logit_offsets(counts, strength)
        confusion = confusion_matrix(labels, adjusted.argmax(axis=1), len(names))
        found = per_class_recall(confusion)
        mean = np.delete(found, names.index("contempt")).mean()
        cells = [f"{strength:g}", f"{accuracy(adjusted, labels):.1%}", f"{mean:.1%}"]
        lines.append(f"| {' | '.join(cells + [f'{found[k]:.0%}' for k in rare])} |")
    return "\n".join(lines)


def class_counts(data: str, votes: str) -> np.ndarray:
    """The sum of the votes' shares for each class over the Training images: float (K,)."""
    faces = ferdata.load_fer2013(data, votes=votes, target="votes")
    targets = faces.to_label_space(ferdata.MICROEXPNET8).in_split("train").targets
    assert targets is not None
    return targets.sum(axis=0, dtype=np.float64)


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


def corruption_text(network: tinycnn.Network, images: np.ndarray, labels: np.ndarray) -> str:
    """A table of accuracy on damaged copies of the images."""
    lines = ["| damage | right |", "|---|---|"]
    lines += [f"| none | {accuracy(network.predict_logits(images), labels):.1%} |"]
    for kind in ferdata.CORRUPTIONS:
        damaged = ferdata.corrupted_faces(images, kind)
        lines.append(f"| {kind} | {accuracy(network.predict_logits(damaged), labels):.1%} |")
    found, right = on_crops_of_the_search(network, images, labels)
    lines += [
        "",
        f"Each image enlarged to {PHOTO_PX} px, padded to twice that size by repeating its edges, "
        f"and searched for a face: one is found in {found:.1%}; of these {right:.1%} are right.",
    ]
    return "\n".join(lines)


def on_crops_of_the_search(
    network: tinycnn.Network, images: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    """(share of the images in which the search finds a face, share of the crops of these that the
    network names rightly)."""
    pad = PHOTO_PX // 2
    crops, kept = [], []
    for k, photo in enumerate(ferdata.resize_images(images, PHOTO_PX)):
        faces = ferdata.find_faces(
            np.pad(photo, pad, mode="edge"), FRAMING, size_px=network.input_spec.height_px
        )
        if len(faces):
            crops.append(np.asarray(faces.images[0]))
            kept.append(k)
    right = accuracy(network.predict_logits(np.stack(crops)), labels[kept])
    return len(kept) / len(images), right


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
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
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
        config = json.loads(path.read_text(encoding="utf-8"))
        needed = ("command", "options", "data", "tinycnn", "n_training_images")
        missing = [name for name in needed if name not in config]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        return config
    except (OSError, ValueError) as error:
        raise CannotError(f"{path}: not a run's configuration: {error}") from None


def with_measured(card: str, text: str, name: str, path: Path) -> str:
    """The card with `text` between the lines BEGIN and END of a network."""
    begin, end = BEGIN.format(name), END.format(name)
    if card.count(begin) != 1 or card.count(end) != 1 or card.index(end) < card.index(begin):
        raise CannotError(f"{path}: expected one line {begin} and, after it, one line {end}")
    head, _, rest = card.partition(begin)
    return f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


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
        "--logit-adjustment",
        metavar="X",
        type=above_zero,
        default=0.0,
        help="above 0: the network names rare classes more often (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive, help="CPU threads (default: one per usable core)"
    )
    options = parser.parse_args(argv)
    card_path = options.out / "MODEL_CARD.md"
    config = read_config(options.run / "config.json")
    network = tinycnn.load(options.run / checkpoint.BEST, n_threads=options.threads)
    spec = network.input_spec
    if network.classes != ferdata.MICROEXPNET8.classes:
        raise CannotError(
            f"{options.run}: its network has the classes {', '.join(network.classes)}; expected "
            f"{', '.join(ferdata.MICROEXPNET8.classes)}"
        )
    name = config["options"].get("network")
    if name not in PRETRAINED:
        raise CannotError(
            f"{options.run}: trained the network {name}; expected one of {', '.join(PRETRAINED)}"
        )
    network.input_spec = replace(spec, framing=spec.framing or FRAMING)
    card = card_path.read_text(encoding="utf-8")
    with_measured(card, "", name, card_path)  # raises for an unusable card before the long work
    labelled = load_labelled_images(options.data, options.votes, spec.height_px)
    most, counts = labelled["plurality"], class_counts(options.data, options.votes)
    points = operating_points_text(network.predict_logits(most.images), most.labels, counts)
    tinycnn.adjust_logits(network, counts, options.logit_adjustment)
    logits = {name: network.predict_logits(part.images) for name, part in labelled.items()}
    network.calibration_temperature = calibrate(logits["plurality"], most.labels).temperature
    content = safetensors.to_bytes(network)
    text = "\n\n".join(
        [
            f"`{name}.safetensors`: {network.n_parameters:,} parameters, {len(content):,} bytes, "
            f"sha256 `{hashlib.sha256(content).hexdigest()}`. {speed_text(network, most.images)}.",
            "### Training",
            training_text(config, network.training_summary),
            "### Accuracy",
            accuracy_text(network, labelled, logits),
            "### Rare classes",
            f"Shipped with the adjustment {options.logit_adjustment:g} (`tinycnn.adjust_logits`), "
            "which the other tables have as well. By most votes:",
            points,
            "### Confidence",
            calibration_text(network, logits["plurality"], most.labels),
            "### Damaged images",
            corruption_text(network, most.images, most.labels),
        ]
    )
    path = options.out / f"{name}.safetensors"
    write_atomically(path, content)
    write_atomically(card_path, with_measured(card, text, name, card_path))
    print_text(text)
    print_text(f"\n-> {path}, {card_path}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
