"""A teacher fitted to the labels of a data set: against scikit-learn, by hand, and the program."""

from dataclasses import replace

import numpy as np
import pytest
from example_programs import load_example
from test_train_student import SmallFer2013

import ferdata
from ferdata.labels import LabelSpace

program = load_example("fit_soft_labels")


def faces_of(labels, targets=None, rows=None):
    """Images with these labels, of which -1 is none."""
    labels, n = np.asarray(labels), len(labels)
    return ferdata.FaceDataset(
        images=np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2),
        ids=np.array([f"image {i}" for i in range(n)]),
        labels=np.maximum(labels, 0),
        has_label=labels >= 0,
        targets=targets,
        rows=rows,
        label_space=LabelSpace("", ("no", "maybe", "yes")),
    )


def saved(path, answers, kind="logits", **keys):
    classes = [f"other {k}" for k in range(answers.shape[-1])]
    ferdata.save_soft_labels(path, answers, kind, classes, **keys)
    return ferdata.load_soft_labels(path)


@pytest.fixture
def noisy():
    """(answers (60, 4), labels (60,)): labels that depend on the answers, and on chance."""
    rng = np.random.default_rng(0)
    answers = rng.standard_normal((60, 4)) * [1, 5, 0.1, 1] + [0, 3, 0, -2]
    scores = answers @ rng.standard_normal((4, 3)) + rng.gumbel(size=(60, 3))
    return answers, scores.argmax(axis=1)


def test_the_probabilities_are_those_of_scikit_learn(tmp_path, noisy):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    answers, labels = noisy
    faces = faces_of(labels)
    order = np.random.default_rng(1).permutation(60)
    soft = saved(tmp_path / "t.npz", answers[order], ids=faces.ids[order], flipped=-answers[order])
    fitted = ferdata.fit_soft_labels(soft, faces)
    assert fitted.classes == ("no", "maybe", "yes") and fitted.kind == "probabilities"
    np.testing.assert_array_equal(fitted.ids, faces.ids)
    scaler = preprocessing.StandardScaler().fit(answers)
    model = linear_model.LogisticRegression(tol=1e-10, max_iter=10_000)
    model.fit(scaler.transform(answers), labels)
    for found, given in ((fitted.values, answers), (fitted.flipped_values, -answers)):
        expected = model.predict_log_proba(scaler.transform(given))
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_swapped_classes_are_put_right(tmp_path):
    """A teacher that is always wrong in the same way says as much as one that is right."""
    labels = np.arange(90) % 3
    answers = 4 * np.eye(3)[(labels + 1) % 3]
    rows = np.arange(100, 190)
    soft = saved(tmp_path / "t.csv", answers, rows=rows)
    fitted = ferdata.fit_soft_labels(soft, faces_of(labels, rows=rows))
    np.testing.assert_array_equal(fitted.values.argmax(axis=1), labels)
    np.testing.assert_allclose(np.exp(fitted.values).sum(axis=1), 1, rtol=1e-5)


def test_answers_that_say_nothing_give_the_frequencies(tmp_path):
    """b alone is not penalised.  Images without a label get soft labels too."""
    labels = np.array([0] * 10 + [1] * 30 + [2] * 60 + [-1] * 5)
    faces = faces_of(labels)
    soft = saved(tmp_path / "t.npz", np.zeros((105, 2)), ids=faces.ids)
    fitted = ferdata.fit_soft_labels(soft, faces)
    expected = np.tile([0.1, 0.3, 0.6], (105, 1))
    np.testing.assert_allclose(np.exp(fitted.values), expected, atol=1e-4)


def test_distributions_count_before_labels(tmp_path):
    votes = np.tile(np.float32([[0.5, 0.25, 0.25]]), (20, 1))
    faces = faces_of(np.zeros(20, int), votes)
    soft = saved(tmp_path / "t.npz", np.zeros((20, 2)), ids=faces.ids)
    found = np.exp(ferdata.fit_soft_labels(soft, faces).values)
    np.testing.assert_allclose(found, votes, atol=1e-4)


def test_crops_are_averaged(tmp_path, noisy):
    answers, labels = noisy
    faces = faces_of(labels)
    one = saved(tmp_path / "one.npz", answers, ids=faces.ids)
    two = saved(tmp_path / "two.npz", np.stack([answers - 1, answers + 1], 1), ids=faces.ids)
    expected = ferdata.fit_soft_labels(one, faces).values
    found = ferdata.fit_soft_labels(two, faces)
    assert found.n_crops is None
    np.testing.assert_allclose(found.values, expected, atol=1e-3)


def test_images_without_an_entry_and_data_without_labels_are_refused(tmp_path):
    faces = faces_of(np.arange(6) % 3)
    soft = saved(tmp_path / "t.npz", np.eye(6), ids=faces.ids)
    with pytest.raises(ferdata.DataError, match="no labels to fit it to"):
        ferdata.fit_soft_labels(soft, faces_of(np.full(6, -1)))
    with pytest.raises(ferdata.DataError, match="no labels to fit it to"):
        ferdata.fit_soft_labels(soft, replace(faces, labels=None, has_label=None))
    soft = saved(tmp_path / "u.npz", np.eye(5), ids=faces.ids[:5])
    with pytest.raises(ferdata.DataError, match="no entry for 1 of 6 images"):
        ferdata.fit_soft_labels(soft, faces)


def test_the_program_writes_a_teacher_of_the_training_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    small = SmallFer2013(tmp_path)
    n_rows = len(small.images)
    saved(tmp_path / "t.npz", np.random.default_rng(0).random((n_rows, 3)), rows=np.arange(n_rows))
    out = tmp_path / "fitted.npz"
    argv = [tmp_path / "t.npz", "--data", small.data, "--out", out]
    assert program.main([str(word) for word in argv]) == 0
    assert "the fitted teacher agrees with " in capsys.readouterr().out
    train = ferdata.open(small.data).in_split("train")
    values, flipped, report = ferdata.load_teachers([out], train)
    assert values.shape == (len(train), 7) and flipped is None and report.n_unused == 0
    expected = ferdata.fit_soft_labels(ferdata.load_soft_labels(tmp_path / "t.npz"), train).values
    np.testing.assert_allclose(values, expected, atol=1e-5)
    argv[0] = tmp_path / "none.npz"
    assert program.main([str(word) for word in argv]) == 2
    assert capsys.readouterr().err.endswith("none.npz: no such file\n")
