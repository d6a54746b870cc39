"""A training that has learned nothing, and a teacher that is often wrong, are named."""

import numpy as np
import pytest
from source_trees import save

import ferdata
from ferdata.teachers.agreement import share_of_agreement
from tinycnn.cli.data_options import DataOptions, load_teachers
from tinycnn.run.learning_problems import learning_problems

CLASSES = ("happy", "sad", "fear", "anger")
LABELS = np.repeat(np.arange(4), 25)


def answers(which, confidence=0.9):
    probs = np.full((len(which), 4), (1 - confidence) / 3)
    probs[np.arange(len(which)), which] = confidence
    return probs


def test_one_class_for_everything():
    (told,) = learning_problems(LABELS, answers(np.zeros(100, int)), 0.1, CLASSES)
    assert told.startswith("all 100 predictions are 'happy': the network gives one class")


def test_no_better_than_guessing():
    """Of four equal classes guessing is right in 25 %, and its loss is log 4 = 1.386."""
    guesses = np.arange(100) % 4
    assert (guesses == LABELS).sum() == 28  # seven of each class
    (told,) = learning_problems(LABELS, answers(guesses), 1.39, CLASSES)
    assert told.startswith("the network has learned nothing: 28.0% of the validation")
    assert "right in 25.0%; its loss is 1.390, that of guessing 1.386" in told


def test_the_majoritys_share_is_no_success():
    labels = np.repeat([0, 1], [90, 10])
    wrong = labels.copy()
    wrong[:2], wrong[90:] = 1, 0  # 88 % right, but always answering "happy" gives 90 %
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    (told,) = learning_problems(labels, answers(wrong), entropy, CLASSES)
    assert "always answering 'happy' would be right in 90.0%" in told


@pytest.mark.parametrize("n_right, loss", [(60, 3.0), (25, 1.2)])
def test_a_network_that_has_learned_something(n_right, loss):
    """It is right more often than by guessing, or its loss is lower."""
    which = LABELS.copy()
    which[n_right:] = (which[n_right:] + 1) % 4
    assert learning_problems(LABELS, answers(which), loss, CLASSES) == []


def test_images_of_one_class_tell_nothing():
    assert learning_problems(np.zeros(9, int), answers(np.zeros(9, int)), 0.1, CLASSES) == []


def test_the_share_of_agreement_by_hand():
    soft = answers(np.array([0, 1, 2, 3]))
    assert share_of_agreement(soft, np.array([0, 1, 0, -1])) == (pytest.approx(2 / 3), 1.0)
    votes = np.array([[0.7, 0.3, 0, 0]] * 4)
    share, possible = share_of_agreement(soft, np.zeros(4, int), votes)
    assert (share, possible) == (pytest.approx(0.25), pytest.approx(0.7))


@pytest.mark.parametrize("n_wrong, told", [(1, "the teacher"), (4, "warning: the teacher")])
def test_training_says_first_how_often_the_teacher_is_right(tmp_path, n_wrong, told):
    rng = np.random.default_rng(1)
    for name in ("fear", "happy"):
        for i in range(6):
            path = tmp_path / "set" / name / f"{i}.png"
            save(path, rng.integers(0, 256, (48, 48), dtype=np.uint8))
    dataset = ferdata.open(tmp_path / "set")
    choice = dataset.labels.copy()
    choice[:n_wrong] = 1 - choice[:n_wrong]
    logits = np.where(np.arange(2) == choice[:, None], 4.0, 0.0)
    path = str(tmp_path / "teacher.npz")
    ferdata.save_soft_labels(path, logits, "logits", dataset.classes, ids=dataset.ids)
    _, _, notes = load_teachers(DataOptions(teacher=[path]), dataset)
    share = round(100 * (12 - n_wrong) / 12)
    assert notes[-1].startswith(f"{told} agrees with {share}% of your labels")
