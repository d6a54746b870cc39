"""Made-up results of trainings: a test chooses their accuracies."""

from dataclasses import asdict

import numpy as np

from tinycnn.paper import Plan, Scores

FOUR, SEVEN = ("M", "S", "XS", "XXS"), (2.0, 4.0, 8.0, 16.0, 20.0, 32.0, 64.0)
CLASSES = ("calm", "angry", "glad")


def plan(**changes):
    fields = dict(splits=("subject", "random"), sizes=FOUR, temperatures=SEVEN, recipe="fer")
    return Plan(**{**fields, **dict(epochs=3, n_folds=5, n_seeds=1), **changes})


def result(trial, validation, test, confusions=None):
    """validation, test: accuracies in %."""
    counts = np.diag([10, 10, 10]) if confusions is None else np.asarray(confusions)
    part = dict(n_images=30, loss=1.0, confusions=counts.tolist(), predicted=[], confidence=[])
    return {
        "name": trial.name("data"),
        "trial": asdict(trial),
        "best_epoch": 1,
        "n_parameters": 1000,
        "seconds": 1.5,
        "validation": {**part, "accuracy": validation / 100},
        "test": {**part, "accuracy": test / 100},
    }


def results(plan, accuracy, validation=None, confusions=lambda split, trial: None):
    """Results by split.  accuracy(split, trial): in %; validation: likewise (default: the same)."""
    validation = validation or accuracy
    return {
        split: [
            result(
                trial, validation(split, trial), accuracy(split, trial), confusions(split, trial)
            )
            for trial in plan.trials(split)
        ]
        for split in plan.splits
    }


def scores(plan, accuracy, validation=None, **options):
    return Scores(plan, results(plan, accuracy, validation, **options))
