"""The checkers of `tinycnn learn` say why a typical wrong answer is wrong."""

from collections import Counter

import numpy as np
import pytest
from learner_mistakes import WRONG

from tinycnn.learn import checking
from tinycnn.learn.catalogue import EXERCISES, exercise_called
from tinycnn.learn.checking import check_functions
from tinycnn.learn.comparison import Factor, Mistake, difference
from tinycnn.learn.learner import Learner, loading, solution
from tinycnn.learn.steps import RIGHT, TO_DO


def with_answer(exercise, code):
    """A learner who has solved the exercise, but for the functions that `code` defines."""
    names = {"__name__": "answers"}
    text = "\n\n\n".join(c.content for c in exercise.cells(solved=True) if c.kind == "code")
    exec(compile(f"{text}\n\n\n{code}", "the answers", "exec", dont_inherit=True), names)
    return Learner(names)


@pytest.fixture
def solved_exercises(monkeypatch):
    """What load_exercise gives, and no training, which takes seconds."""
    monkeypatch.setitem(checking.STEPS, "network", checking.STEPS["network"][1:-1])
    with loading(lambda exercise: dict(solution(exercise).names)):
        yield


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: f"{w.exercise}-{w.step}: {w.hint}")
def test_a_typical_wrong_answer_gets_its_hint(wrong, solved_exercises):
    exercise = exercise_called(wrong.exercise)
    results = check_functions(exercise, with_answer(exercise, wrong.code))
    (result,) = (result for result in results if result.step == wrong.step)
    assert result.verdict not in (RIGHT, TO_DO)
    assert wrong.hint in result.message
    assert "the check stopped" not in result.message


def test_there_are_five_wrong_answers_to_every_exercise():
    counts = Counter(wrong.exercise for wrong in WRONG)
    assert set(counts) == {exercise.name for exercise in EXERCISES} and min(counts.values()) >= 5


# ---- hints that need no exercise -------------------------------------------------------------

RIGHT_ARRAY = np.array([[1.0, 2.0, 4.0], [-3.0, 0.5, 7.0], [6.0, -2.0, 0.25]])


@pytest.mark.parametrize(
    "found, words",
    [
        (RIGHT_ARRAY, None),
        (RIGHT_ARRAY * (1 + 1e-9), None),
        (-RIGHT_ARRAY, "the sign is wrong: it is -1 times"),
        (RIGHT_ARRAY * 8, "eight times"),
        (RIGHT_ARRAY / -8, "the sign is wrong; and an eighth"),
        (RIGHT_ARRAY * 1.5, "it is 1.5 times the right array"),
        (RIGHT_ARRAY.T, "transpose"),
        (RIGHT_ARRAY[::-1], "axis 0 is reversed"),
        (np.roll(RIGHT_ARRAY, 1, axis=1), "shifted by one place along axis 1"),
        (RIGHT_ARRAY + 0.5, "by the same amount, 0.5"),
        (0 * RIGHT_ARRAY, "all entries are 0"),
        (RIGHT_ARRAY**2, "squared"),
        (np.where(RIGHT_ARRAY == 7, np.nan, RIGHT_ARRAY), "not finite"),
        (RIGHT_ARRAY.ravel(), "only the shape is not"),
        (np.stack([RIGHT_ARRAY, 0 * RIGHT_ARRAY]), "the sum over the batch (axis 0) is missing"),
        (3.0, "over all axes"),
        (None, "must end with `return`"),
        ("text", "is a str; expected an array"),
        (RIGHT_ARRAY + 0j, "is an array of complex128; expected an array"),
        (RIGHT_ARRAY.astype(int), "which holds whole numbers only"),
        ((RIGHT_ARRAY * 1.001).astype(np.float16), "the dtype float16, which rounds more"),
        ([[1.0], [1.0, 2.0]], "is a list; expected an array"),
        (..., "not written yet"),
    ],
)
def test_hints(found, words):
    factors = [Factor(8, "eight times"), Factor(1 / 8, "an eighth")]
    problem = difference("dw", found, RIGHT_ARRAY, [Mistake(RIGHT_ARRAY**2, "squared")], factors)
    assert problem is None if words is None else words in problem


def test_a_wrong_number_is_a_multiple_of_the_right_one_only_if_that_says_something():
    right = np.float64(0.7)
    assert difference("L", 0.9, right) == "L is 0.9; expected 0.7."
    assert "it is 3 times the right value" in difference("L", 2.1, right)
    assert "it is 0.25 times the right value" in difference("L", 0.7 / 4, right)


def test_a_function_that_calls_a_wrong_one_says_so(solved_exercises):
    code = "def log_softmax(z):\n    return z"
    exercise = exercise_called("cross_entropy")
    first, *others = check_functions(exercise, with_answer(exercise, code))
    assert "it calls" not in first.message
    for result in others:
        assert result.message.endswith(
            "Hint: it calls log_softmax, which is wrong. Correct that first."
        )


def test_the_worst_entry_is_named():
    found = RIGHT_ARRAY.copy()
    found[1, 2] += 0.5
    problem = difference("dw", found, RIGHT_ARRAY)
    assert problem == "dw[1, 2] is 7.5; expected 7 (1 of 9 entries of dw are wrong)."


def test_an_entry_of_an_array_with_a_remark_is_named():
    found = RIGHT_ARRAY + np.eye(3)[1] * [[0.5], [0], [0]]
    problem = difference("y (with stride 1)", found, RIGHT_ARRAY)
    assert problem.startswith("y[0, 1] (with stride 1) is 2.5; expected 2 (1 of 9 entries")
