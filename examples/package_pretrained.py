"""Turn a finished run into the weights that the package ships, measured and calibrated.

    python examples/package_pretrained.py runs/mine --data fer2013.csv.gz --votes fer2013new.csv

Takes the run's best model, fits its confidence on the PublicTest rows, measures it there, writes
ferplus.safetensors and puts what was measured into the numbers of MODEL_CARD.md.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ferdata
import tinycnn
from tinycnn import checkpoint
from tinycnn.calibration import fit_temperature
from tinycnn.formats import safetensors
from tinycnn.ground.atomic_file import write_atomically
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
"""Of `unsure_below`, to show what it costs and what it brings."""


class PackagingError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


class Truth(NamedTuple):
    """PublicTest images with one kind of label; is_new: not among the Training images as well."""

    title: str
    images: np.ndarray
    labels: np.ndarray
    is_new: np.ndarray
    classes: list[int]


# ---- data ------------------------------------------------------------------------------------


def load_truths(data: str, votes: str) -> dict[str, Truth]:
    """The three kinds of label: FER+'s two, and FER2013's own, which knows no contempt."""
    own = ferdata.load_fer2013(data)
    trained_on = {image.tobytes() for image in own.in_split("train").images}
    truths = {}
    for name, title in (
        ("plurality", "FER+, the class with most votes"),
        ("majority", "FER+, more than half of the votes"),
        ("labels", "FER2013's own label, 7 classes"),
    ):
        whole = own
        if name != "labels":
            whole = ferdata.load_fer2013(data, votes=votes, target=name)
        known = ferdata.label_map(whole.label_space, ferdata.MICROEXPNET8).indices
        part = whole.to_label_space(ferdata.MICROEXPNET8).in_split("validation")
        is_new = np.array([image.tobytes() not in trained_on for image in part.images])
        images = ferdata.resize_images(part.images, SIZE_PX)
        truths[name] = Truth(title, images, part.labels, is_new, list(known))
    return truths


# ---- measuring -------------------------------------------------------------------------------


def measured_text(network: tinycnn.Network, truths: dict[str, Truth], logits: dict) -> str:
    """Tables of accuracy, recall and confidence."""
    lines = ["| PublicTest, labels | images | right | not in Training | right |"]
    lines += ["|---|---|---|---|---|"]
    for name, truth in truths.items():
        whole = share_right(logits[name], truth, np.ones(len(truth.labels), bool))
        new = share_right(logits[name], truth, truth.is_new)
        lines.append(f"| {truth.title} | {whole} | {new} |")
    lines += ["", "| recall | images (most votes) | found | images (over half) | found |"]
    lines += ["|---|---|---|---|---|"]
    columns = [recalls(network, logits[name], truths[name]) for name in ("plurality", "majority")]
    for name, (n_most, most), (n_half, half) in zip(network.classes, *columns):
        lines.append(f"| {name} | {n_most:,} | {most} | {n_half:,} | {half} |")
    return "\n".join(lines)


def share_right(logits: np.ndarray, truth: Truth, which: np.ndarray) -> str:
    """`images | share right`, of the classes that the labels know; standard error of the share."""
    known = np.full(logits.shape[1], -np.inf, logits.dtype)
    known[truth.classes] = 0
    p, n = accuracy(logits[which] + known, truth.labels[which]), int(which.sum())
    return f"{n:,} | {p:.1%} ± {(p * (1 - p) / n) ** 0.5:.1%}"


def recalls(network: tinycnn.Network, logits: np.ndarray, truth: Truth) -> list[tuple[int, str]]:
    """For each class: its images, and the share of them that was found."""
    confusion = confusion_matrix(truth.labels, logits.argmax(axis=1), len(network.classes))
    found = per_class_recall(confusion)
    return [
        (int(n), "-" if np.isnan(share) else f"{share:.0%}")
        for n, share in zip(confusion.sum(axis=1), found)
    ]


def calibration_text(network: tinycnn.Network, logits: np.ndarray, labels: np.ndarray) -> str:
    """The error before and after; after it by halves, so that no image is scored with a
    temperature that it helped to fit."""
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
    alone_us = microseconds(lambda: network.predict_proba(images[:1]), 300)
    batch_us = microseconds(lambda: network.predict_proba(images[:64]), 50) / 64
    return (
        f"{alone_us:.0f} us an image alone, {batch_us:.0f} us in batches of 64, on "
        f"{network.n_threads} cores ({processor()})"
    )


def microseconds(work: Callable[[], Any], n_times: int) -> float:
    """Median time of work(), after one call that is not counted."""
    work()
    times_s = []
    for _ in range(n_times):
        started = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - started)
    return statistics.median(times_s) * 1e6


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
    """What was trained, without the folders of the machine it was trained on."""
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
        "sha256 of what it learned from, as the program saw it:",
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
        raise PackagingError(f"{path}: not a run's configuration: {error}") from None


def with_measured(card: str, text: str, path: Path) -> str:
    """The card with `text` between its two marks."""
    if card.count(BEGIN) != 1 or card.count(END) != 1 or card.index(END) < card.index(BEGIN):
        raise PackagingError(f"{path}: expected one line {BEGIN} and after it one {END}")
    head, _, rest = card.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def run(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of train_student.py")
    parser.add_argument("--data", metavar="FILE", required=True, help="FER2013, as for training")
    parser.add_argument("--votes", metavar="FILE", required=True, help="fer2013new.csv")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=WEIGHTS, help="%(default)s")
    parser.add_argument("--threads", metavar="N", type=int, help="(default: all usable cores)")
    args = parser.parse_args(argv)
    card_path = args.out / "MODEL_CARD.md"
    config = read_config(args.run / "config.json")
    network = tinycnn.load(args.run / checkpoint.BEST, n_threads=args.threads)
    if network.classes != ferdata.MICROEXPNET8.classes or network.input_spec.shape[0] != SIZE_PX:
        raise PackagingError(f"{args.run}: {network!r} with classes {network.classes} is another")
    network.input_spec = tinycnn.InputSpec(
        **{**network.input_spec.config(), "framing": network.input_spec.framing or FRAMING}
    )
    card = card_path.read_text(encoding="utf-8")
    with_measured(card, "", card_path)  # a card without the marks fails before the work
    truths = load_truths(args.data, args.votes)
    logits = {name: network.predict_logits(truth.images) for name, truth in truths.items()}
    most = truths["plurality"]
    network.calibration_temperature = fit_temperature(logits["plurality"], most.labels)
    content = safetensors.to_bytes(network)
    text = "\n\n".join(
        [
            f"`ferplus.safetensors`: {network.n_parameters:,} parameters, {len(content):,} bytes, "
            f"sha256 `{hashlib.sha256(content).hexdigest()}`. {speed_text(network, most.images)}.",
            "### Training",
            training_text(config, network.training_summary),
            "### Accuracy",
            measured_text(network, truths, logits),
            "### Confidence",
            calibration_text(network, logits["plurality"], most.labels),
        ]
    )
    write_atomically(args.out / "ferplus.safetensors", content)
    write_atomically(card_path, with_measured(card, text, card_path))
    print(text)
    print(f"\n-> {args.out / 'ferplus.safetensors'}, {card_path}")


def main(argv: list[str] | None = None) -> int:
    try:
        run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except (PackagingError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
