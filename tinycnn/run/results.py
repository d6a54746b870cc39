"""What a run leaves when it is done: predictions.csv, report.html, and a summary for people."""

from __future__ import annotations

import csv
import io
import timeit
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import report
from ..ground.atomic_file import write_atomically
from ..losses import softmax
from ..metrics import expected_calibration_error
from ..train import Evaluation, evaluate
from .folder import RunConfig
from .learning_problems import learning_problems
from .training import TrainingRun


class FinishedRun:
    """Training runs that are done, with and without a teacher.

    runs        by name: "with teacher".  All but the accuracies is about the first one
    validation  the images that its best network was chosen on;  ids: their names
    network     the best one, calibrated if the run is complete
    """

    def __init__(self, runs: Mapping[str, TrainingRun], ids: Sequence[str]) -> None:
        first = next(iter(runs.values()))
        assert first.data.validation is not None
        self.runs, self.ids = runs, ids
        self.validation, self.network = first.data.validation, first.best_network()
        self.calibration = first.calibration

    @cached_property
    def scored(self) -> Evaluation:
        return evaluate(self.network, self.validation.images, self.validation.labels)

    @cached_property
    def best_accuracies(self) -> dict[str, float]:
        """The validation accuracy of the best epoch, by name of the training."""
        return {
            name: [record.val_accuracy or 0.0 for record in run.records if record.is_best][-1]
            for name, run in self.runs.items()
        }

    @cached_property
    def calibration_errors(self) -> tuple[float, float]:
        """The expected calibration error on the validation images, without and with calibration."""
        logits = self.network.predict_logits(self.validation.images)
        without, with_it = (
            expected_calibration_error(
                softmax(logits, t, backend=self.network.backend), self.validation.labels
            )
            for t in (1.0, self.network.calibration_temperature)
        )
        return without, with_it

    @cached_property
    def speed(self) -> dict[str, str]:
        """The speed of training and prediction, measured here and now, in words."""
        images, predict = self.validation.images, self.network.predict_logits
        batched_us = _microseconds(lambda: predict(images)) / len(images)
        single_us = _microseconds(lambda: predict(images[:1]), 50)
        records = next(iter(self.runs.values())).records
        return {
            "training": f"{np.median([r.images_per_s for r in records]):,.0f} images/s",
            "prediction": f"{batched_us:,.0f} us an image in batches, {single_us:,.0f} us alone",
        }

    def predictions_csv(self) -> str:
        """One row per image: id, label, predicted class and the probability of every class.  Eight
        decimals are enough to see which of the float32 probabilities is the largest."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        classes = self.network.classes
        writer.writerow(["id", "label", "predicted", *classes])
        for name, label, row in zip(self.ids, self.validation.labels, self.scored.probs):
            predicted = classes[int(row.argmax())]
            writer.writerow([name, classes[label], predicted, *(f"{p:.8f}" for p in row)])
        return text.getvalue()

    @cached_property
    def warnings(self) -> list[str]:
        """A sentence for each training that has learned nothing."""
        told, held_out = [], self.validation
        for number, (name, run) in enumerate(self.runs.items()):
            scored = self.scored
            if number:
                scored = evaluate(run.best_network(), held_out.images, held_out.labels)
            problems = learning_problems(
                held_out.labels, scored.probs, scored.loss, self.network.classes
            )
            told += [f"{name}: {problem}" for problem in problems]
        return told

    def write(self, folder: Path, config: RunConfig, notes: Sequence[str] = ()) -> None:
        """Write predictions.csv and report.html.  notes: sentences for the report."""
        if self.calibration is not None and self.calibration.is_worse:
            notes = [*notes, f"calibration: {self.calibration}"]
        write_atomically(folder / "predictions.csv", self.predictions_csv())
        options = config.options
        report.write_report(
            folder / "report.html",
            report.RunReport(
                title=f"MicroExpNet {options['variant']}-{options['size']}",
                command=config.command,
                config=options,
                n_parameters=self.network.n_parameters,
                classes=self.network.classes,
                histories={
                    name: [record.to_dict() for record in run.records]
                    for name, run in self.runs.items()
                },
                labels=self.validation.labels,
                probs=self.scored.probs,
                images=self.validation.images,
                ids=self.ids,
                filters=self.network.parameters["conv1.w"],
                data_hashes=config.data,
                speed=self.speed,
                notes=notes,
                warnings=self.warnings,
            ),
        )

    def summary(self, folder: Path) -> str:
        """The results in a few lines.  folder: that `write` has written to."""
        n_images = len(self.ids)
        lines = {
            name: f"{accuracy:.1%} of {n_images:,} validation images right"
            for name, accuracy in self.best_accuracies.items()
        }
        if self.calibration is not None:
            lines["calibration"] = str(self.calibration)
        lines["speed"] = f"{self.speed['training']} in training; {self.speed['prediction']}"
        lines["cost"] = self._cost()
        lines["report"] = str(folder / "report.html")
        shown = [*(("warning", text) for text in self.warnings), *lines.items()]
        return "\n".join(f"{name:>16}: {text}" for name, text in shown)

    def as_json(self, folder: Path) -> dict[str, object]:
        """The results as values that JSON can hold.  folder: that `write` has written to."""
        return {
            "folder": str(folder),
            "model": str(folder / "model.safetensors"),
            "report": str(folder / "report.html"),
            "n_validation_images": len(self.ids),
            "accuracy": self.best_accuracies,
            "calibration_temperature": self.network.calibration_temperature,
            "calibration_error": self.calibration_errors[1],
            "warnings": self.warnings,
            "n_epochs": self.n_epochs,
            "seconds": self.seconds,
        }

    @property
    def n_epochs(self) -> int:
        """Epochs of all trainings together."""
        return sum(len(run.records) for run in self.runs.values())

    @property
    def seconds(self) -> float:
        """Time of all trainings together, without interruptions."""
        return sum(record.seconds for run in self.runs.values() for record in run.records)

    def _cost(self) -> str:
        seconds, n_threads = self.seconds, self.network.n_threads
        shown = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
        threads = f"{n_threads} thread{'s'[: n_threads > 1]}"
        return f"{self.n_epochs} epochs in {shown} on {threads}"


def _microseconds(work: Callable[[], object], n_times: int = 3) -> float:
    """Median time of a call of `work`; the first call is not timed."""
    work()
    return float(np.median(timeit.repeat(work, number=1, repeat=n_times))) * 1e6
