"""examples/write_soft_labels.py: the logits of a network as soft labels, row by row."""

import numpy as np
import pytest
from example_programs import load_example
from test_train_student import SmallFer2013

import ferdata
import tinycnn

program = load_example("write_soft_labels")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFer2013(tmp_path_factory.mktemp("small"))


@pytest.fixture
def model(tmp_path):
    network = tinycnn.models.microexpnet("v", 4, scaling="standardized", backend="numpy")
    tinycnn.save(network, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def run(*words):
    return program.main([str(word) for word in words])


def test_each_row_has_the_networks_logits(small, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "assistant.npz"
    assert run(model, "--data", small.data, "--out", out) == 0
    assert "classes neutral, anger, contempt" in capsys.readouterr().out
    faces = ferdata.load_fer2013(small.data, votes=small.votes).to_label_space(ferdata.MICROEXPNET8)
    train = faces.in_split("train")
    values, flipped, report = ferdata.load_teachers([out], train)
    assert report.n_used == len(train) == 63 and report.kind == "logits"
    network = tinycnn.load(model, backend="numpy")
    seen = ferdata.resize_images(small.images[train.rows], 84)
    for found, images in ((values, seen), (flipped, np.ascontiguousarray(seen[:, :, ::-1]))):
        np.testing.assert_allclose(found, network.predict_logits(images), rtol=1e-3, atol=1e-3)


def test_the_mean_over_an_image_and_its_mirror_image(small, model, tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    both, mean = tmp_path / "both.npz", tmp_path / "mean.npz"
    assert run(model, "--data", small.data, "--out", both) == 0
    assert run(model, "--data", small.data, "--out", mean, "--mean") == 0
    train = ferdata.load_fer2013(small.data, votes=small.votes)
    train = train.to_label_space(ferdata.MICROEXPNET8).in_split("train")
    values, flipped, _ = ferdata.load_teachers([both], train)
    found, without, _ = ferdata.load_teachers([mean], train)
    assert without is None and np.abs(values - flipped).max() > 0.01
    np.testing.assert_allclose(found, (values + flipped) / 2, rtol=1e-5, atol=1e-5)


def test_errors_have_one_line(small, model, tmp_path, capsys):
    for words, message in (
        ([tmp_path / "none", "--data", small.data, "--out", tmp_path / "a.npz"], "none"),
        ([model, "--data", tmp_path / "no.csv", "--out", tmp_path / "a.npz"], "no.csv"),
        ([model, "--data", small.data, "--out", tmp_path / "a.txt"], "a.txt"),
    ):
        assert run(*words) == 2
        text = capsys.readouterr().err
        assert text.startswith("error: ") and text.count("\n") == 1 and message in text
    assert not list(tmp_path.glob("a.*"))
