"""`tinycnn explain` of a photo, and `tinycnn face`: the faces are those that `predict` sees."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

import tinycnn
from ferdata import find_faces
from tinycnn import Conv2D, Flatten, InputSpec, MaxPool2D, Network, ReLU, cli

SIZE = 12


@pytest.fixture(scope="module")
def astronauts():
    """Two faces side by side: one of half the size, then the larger one."""
    photo = data.astronaut()[:300, 100:400].mean(axis=2).astype(np.uint8)
    half = np.asarray(Image.fromarray(photo).resize((150, 150)))
    return np.hstack([np.pad(half, ((75, 75), (0, 0)), mode="edge"), photo])


@pytest.fixture
def photo(tmp_path, astronauts):
    path = tmp_path / "photo.png"
    Image.fromarray(astronauts).save(path)
    return path


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "model.safetensors", "fer2013")


def saved(path, framing, shape=(SIZE, SIZE, 1)):
    spec = InputSpec(*shape, scaling="unit", classes=("a", "b", "c", "d"), framing=framing)
    layers = [Conv2D(2, 3, stride=2), ReLU(), MaxPool2D(3), Flatten(), tinycnn.Dense(4)]
    tinycnn.save(Network(layers, spec, seed=1), path)
    return path


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = cli.main([str(word) for word in argv])
        return (status, *capsys.readouterr())

    return call


# ---- explain ---------------------------------------------------------------------------------


@pytest.mark.kernels
def test_the_largest_face_of_a_photo_is_explained(run, photo, model, tmp_path):
    page = tmp_path / "page.html"
    status, out, err = run("explain", model, photo, "--out", page, "--entries", 1, "--json")
    found, faces = json.loads(out), find_faces(photo, "fer2013", size_px=SIZE)
    assert status == 0 and len(faces) == found["face"]["n_faces"] == 2
    assert found["face"]["box"] == faces.boxes[0].tolist()
    assert found["face"]["box"][0] > 150  # the larger one is at the right
    logits = tinycnn.load(model).predict_logits(np.asarray(faces.images[:1]))[0]
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-5)
    assert err.count("\n") == 1 and err.startswith("note: ") and "2 faces" in err
    x, y, width, height = found["face"]["box"]
    where = f"the largest of 2 faces in a photo, at x {x}, y {y}, {width}x{height} px"
    assert where in page.read_text(encoding="utf-8")
    assert run("predict", photo, "--model", model, "--json")[0] == 0
    assert run("explain", model, photo, "--out", page, "--framing", "fer2013")[0] == 0


@pytest.mark.kernels
def test_a_photo_is_explained_as_it_is_predicted(run, photo, model, tmp_path):
    argv = ("explain", model, photo, "--out", tmp_path / "page.html", "--entries", 1, "--json")
    explained = json.loads(run(*argv)[1])
    face = json.loads(run("predict", photo, "--model", model, "--json")[1])["faces"][0]
    assert face["box"] == explained["face"]["box"]
    shares = [face["probabilities"][name] for name in explained["classes"]]
    np.testing.assert_allclose(explained["probs"], shares, atol=1e-5)


@pytest.mark.kernels
def test_a_16_bit_photo(run, astronauts, model, tmp_path):
    """Crops are read with 8 bits only; photos as `predict` reads them."""
    Image.fromarray(astronauts.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    page = tmp_path / "page.html"
    status, out, _ = run("explain", model, tmp_path / "deep.png", "--out", page, "--json")
    assert status == 0 and json.loads(out)["face"]["n_faces"] == 2
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint16)).save(tmp_path / "crop.png")
    status, _, err = run("explain", model, tmp_path / "crop.png", "--out", tmp_path / "other.html")
    assert status == 2 and "expected 8-bit" in err


@pytest.mark.kernels
def test_a_framing_that_the_model_does_not_record(run, photo, tmp_path):
    model, page = saved(tmp_path / "unframed.safetensors", None), tmp_path / "page.html"
    status, _, err = run("explain", model, photo, "--out", page)
    assert status == 2 and "give --framing, one of paper, fer2013" in err and not page.exists()
    for framing in ("paper", "fer2013"):
        argv = ("explain", model, photo, "--out", page, "--framing", framing, "--json")
        found = json.loads(run(*argv)[1])
        image = np.asarray(find_faces(photo, framing, size_px=SIZE).images[:1])
        logits = tinycnn.load(model).predict_logits(image)[0]
        np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-5)


def test_photos_that_cannot_be_explained(run, photo, model, tmp_path):
    page, blank = tmp_path / "page.html", tmp_path / "blank.png"
    Image.fromarray(np.full((60, 80), 90, np.uint8)).save(blank)
    tall = saved(tmp_path / "tall.safetensors", "fer2013", (SIZE, SIZE - 1, 1))
    (tmp_path / "text.png").write_text("hello")
    for argv, message in (
        ((model, blank), "blank.png: no face found; the search finds upright faces"),
        ((model, blank), "save it as a picture of 12x12 px"),
        ((model, photo, "--framing", "paper"), "learned from framing fer2013, not paper"),
        ((tall, photo), "450x300 px; the network takes 11x12"),
        ((model, tmp_path / "text.png"), "text.png: "),
    ):
        status, out, err = run("explain", *argv, "--out", page)
        assert (status, out) == (2, "") and err.startswith("error: ") and message in err
        assert err.count("\n") == 1 and not page.exists()


# ---- face ------------------------------------------------------------------------------------


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG" and image.mode == "L"
        return np.asarray(image)


@pytest.mark.parametrize("framing, size", [("fer2013", 84), ("paper", 84), ("fer2013", 31)])
def test_the_largest_face_is_written(run, photo, tmp_path, framing, size):
    out = tmp_path / "face.png"
    out.write_bytes(b"the user has named this file")
    options = ("--framing", framing, "--size", size) if (framing, size) != ("fer2013", 84) else ()
    status, told, err = run("face", photo, out, *options)
    faces = find_faces(photo, framing, size_px=size)
    np.testing.assert_array_equal(pixels(out), np.asarray(faces.images[0]))
    x, y, width, height = faces.boxes[0]
    assert status == 0 and f"{size}x{size} px" in told and f"x {x}, y {y}, {width}x{height}" in told
    assert err == f"note: {photo}: 2 faces; this is the largest, --all writes all\n"


def test_all_faces_are_written_with_numbers(run, photo, tmp_path):
    argv = ("face", photo, tmp_path / "face.png", "--all", "--json")
    status, told, err = run(*argv)
    faces = find_faces(photo)
    found = json.loads(told)
    assert status == 0 and not err and found["n_faces"] == 2 and found["framing"] == "fer2013"
    assert found["written"] == [
        {"file": str(tmp_path / f"face-{k + 1}.png"), "box": box}
        for k, box in enumerate(faces.boxes.tolist())
    ]
    for k, image in enumerate(faces.images):
        np.testing.assert_array_equal(pixels(tmp_path / f"face-{k + 1}.png"), np.asarray(image))
    assert not (tmp_path / "face.png").exists()
    assert run(*argv)[0] == 0  # its own files are replaced
    (tmp_path / "face-2.png").write_bytes(b"a picture of others")
    (tmp_path / "face-1.png").unlink()
    status, _, err = run(*argv)
    assert status == 2 and "face-2.png: exists, and was not written by tinycnn" in err
    assert not (tmp_path / "face-1.png").exists()


@pytest.mark.kernels
def test_the_face_of_a_model(run, photo, model, tmp_path):
    """What is cut with --model gives the logits that the photo itself gives."""
    out, page = tmp_path / "face.png", tmp_path / "page.html"
    assert run("face", photo, out, "--model", model)[0] == 0
    logits = [
        json.loads(run("explain", model, given, "--out", page, "--json")[1])["logits"]
        for given in (photo, out)
    ]
    assert pixels(out).shape == (SIZE, SIZE) and logits[0] == logits[1]


def test_faces_that_cannot_be_cut_out(run, photo, model, tmp_path):
    blank, out = tmp_path / "blank.png", tmp_path / "face.png"
    Image.fromarray(np.full((60, 80), 90, np.uint8)).save(blank)
    for argv, message in (
        ((blank, out), "blank.png: no face found"),
        ((tmp_path / "gone.png", out), "gone.png: no such file"),
        ((photo, tmp_path / "face.jpg"), "face.jpg: expected a name that ends in .png"),
        ((photo, photo), "is the input itself"),
        ((photo, tmp_path / "no" / "face.png"), "there is no folder"),
        ((photo, out, "--size", "5000"), "--size 5000: expected a number up to 4096"),
        ((photo, out, "--size", "20", "--model", model), "not allowed with"),
        ((photo, out, "--model", model, "--framing", "paper"), "learned from framing fer2013"),
    ):
        status, told, err = run("face", *argv)
        assert (status, told) == (2, "") and message in err and err.count("\n") == 1
        assert not out.exists()
