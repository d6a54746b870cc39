"""`tinycnn convert --dtype int8`, and the commands that take its file."""

import json

import numpy as np
import pytest
from PIL import Image
from test_cli import images, make

import tinycnn
from tinycnn import cli


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    tinycnn.save(make(), path)
    return path


@pytest.fixture
def run(capsys):
    def call(*words):
        status = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def int8(model, run, tmp_path):
    np.savez(tmp_path / "faces.npz", images=images(40))
    out = tmp_path / "int8.safetensors"
    assert (
        run("convert", model, out, "--dtype", "int8", "--calibration", tmp_path / "faces.npz")[0]
        == 0
    )
    return out


def test_agreement_without_labels(model, run, tmp_path):
    np.savez(tmp_path / "faces.npz", images=images(40))
    words = ("convert", model, tmp_path / "o.safetensors", "--dtype", "int8")
    status, out, _ = run(*words, "--calibration", tmp_path / "faces.npz")
    assert status == 0
    assert "int8: ranges measured on 40 images" in out
    assert "top-1:  the same for" in out and "accuracy" not in out
    assert f"on 40 images of {tmp_path / 'faces.npz'}" in out


def test_accuracy_with_labels(model, run, tmp_path):
    network, faces = make(), images(600)
    labels = network.predict_logits(faces).argmax(axis=1)
    np.savez(tmp_path / "data.npz", images=faces, labels=labels)
    words = ("convert", model, tmp_path / "o.safetensors", "--dtype", "int8", "--json")
    status, out, _ = run(*words, "--data", tmp_path / "data.npz")
    found = json.loads(out)
    assert status == 0 and found["n_calibration_images"] == 512 and found["n_images"] == 600
    assert found["accuracy_in"] == 1.0 and 0.9 < found["accuracy_out"] <= 1.0
    assert found["layers_in_float"] == []
    quantized = tinycnn.load_quantized(tmp_path / "o.safetensors")
    right = quantized.predict_logits(faces).argmax(axis=1) == labels
    assert found["accuracy_out"] == right.mean()
    assert found["bytes_out"] == (tmp_path / "o.safetensors").stat().st_size


def test_a_folder_of_pictures_calibrates(model, run, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for k, face in enumerate(images(5)):
        Image.fromarray(face).save(folder / f"{k}.png")
    out = tmp_path / "o.safetensors"
    assert run("convert", model, out, "--dtype", "int8", "--calibration", folder)[0] == 0
    expected = make().quantized(images(5)).predict_logits(images(9))
    np.testing.assert_array_equal(tinycnn.load_quantized(out).predict_logits(images(9)), expected)


def test_what_is_refused(model, int8, run, tmp_path):
    out = tmp_path / "x.safetensors"
    for words, message in (
        (("convert", model, out, "--dtype", "int8"), "give --calibration or --data"),
        (("convert", model, out, "--calibration", "x.npz"), "only --dtype int8 needs images"),
        (("convert", int8, out), "is a network in 8-bit integers, which only tinycnn predict"),
        (("gradcheck", int8), "is a network in 8-bit integers"),
        (("export", int8, "--to", "python", "--out", tmp_path / "x.py"), "--to onnx or --to c"),
    ):
        status, _, error = run(*words)
        assert status == 2 and message in error and error.count("\n") == 1
    assert not out.exists()


def test_info_and_export(int8, run, tmp_path):
    status, out, _ = run("info", int8)
    assert status == 0 and "a network in 8-bit integers" in out and "conv1" in out
    status, out, _ = run("info", int8, "--json")
    assert json.loads(out)["operations"][0]["arithmetic"] == "int8"
    status, out, _ = run("export", int8, "--to", "c", "--out", tmp_path / "net.c")
    assert status == 0 and (tmp_path / "net.c").exists()
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    status, out, _ = run("export", int8, "--to", "onnx", "--out", tmp_path / "net.onnx")
    assert status == 0 and "checked: its logits are the network's" in out


def test_export_in_integers_alone(model, int8, run, tmp_path):
    out = tmp_path / "net.c"
    words = ("export", int8, "--to", "c", "--integer-only", "--out", out)
    status, text, _ = run(*words)
    assert status == 0 and "checked: its logits are the network's" in text
    found = json.loads(run(*words, "--json")[1])
    static, constant = found["n_static_bytes"], found["n_constant_bytes"]
    assert f"memory: {static:,} bytes, static; constants: {constant:,} bytes" in text
    assert "void net_logits(const uint8_t *image, int32_t *logits);" in out.with_suffix(
        ".h"
    ).read_text(encoding="utf-8")
    for words, message in (
        ((int8, "--to", "onnx"), "--integer-only: a program --to onnx computes with floats"),
        ((model, "--to", "c"), "which tinycnn convert makes with the dtype int8"),
    ):
        ending = words[-1].replace("python", "py")
        status, _, error = run(
            "export", *words, "--integer-only", "--out", tmp_path / f"x.{ending}"
        )
        assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "x.c").exists()


def test_accuracy_in_integers_alone(model, run, tmp_path):
    network, faces = make(), images(60)
    labels = network.predict_logits(faces).argmax(axis=1)
    np.savez(tmp_path / "data.npz", images=faces, labels=labels)
    words = ("convert", model, tmp_path / "o.safetensors", "--dtype", "int8")
    words += ("--data", tmp_path / "data.npz")
    found = json.loads(run(*words, "--json")[1])
    quantized = tinycnn.load_quantized(tmp_path / "o.safetensors")
    top1 = quantized.predict_integer_logits(faces).values.argmax(axis=1)
    assert found["integer_only_accuracy"] == (top1 == labels).mean() > 0.8
    same = (top1 == quantized.predict_logits(faces).argmax(axis=1)).mean()
    assert found["integer_only_agreement"] == same and found["n_integer_only_images"] == 60
    text = run(*words)[1]
    assert f"accuracy in integers alone: {found['integer_only_accuracy']:.2%}\n" in text


def test_predict_takes_the_file(run, tmp_path):
    network = tinycnn.load_pretrained()
    faces = np.random.default_rng(0).integers(0, 256, (8, 84, 84), dtype=np.uint8)
    path = tmp_path / "int8.safetensors"
    tinycnn.save(network.quantized(faces), path)
    Image.fromarray(faces[0]).resize((200, 200)).save(tmp_path / "photo.png")
    status, out, _ = run("predict", tmp_path / "photo.png", "--model", path, "--json")
    assert status == 0 and json.loads(out)["faces"] is not None
