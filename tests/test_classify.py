"""network.classify: its answers, and the images for which it raises an error instead."""

import io
import re
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import tinycnn
from tinycnn import Dense, Flatten, InputSpec, Network
from tinycnn.classify import Classification

CLASSES = ("neutral", "happy", "surprise")


@dataclass(frozen=True)
class CutFaces:
    """The part of ferdata's found faces that a network looks at."""

    images: np.ndarray
    framing: str | None


class FramedArray(np.ndarray):
    framing = "paper"


def assert_same(found, expected):
    """The same answers, up to the rounding of NumPy's products for one image and for several."""
    assert [one.label for one in found] == [one.label for one in expected]
    for one, other in zip(found, expected):
        assert one.probs == pytest.approx(other.probs, abs=1e-6)


def network(channels=1, framing="fer2013", temperature=1.0):
    spec = InputSpec(4, 4, channels, scaling="unit", classes=CLASSES, framing=framing)
    made = Network([Flatten(), Dense(3)], spec, backend="numpy")
    made.parameter_vector[:] = 0
    made.calibration_temperature = temperature
    return made


def saying(*logits, **options):
    """A network that answers every image with these logits."""
    made = network(**options)
    made.parameters["dense1.b"][:] = logits
    return made


def images(n=2, shape=(4, 4)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


# ---- answers ---------------------------------------------------------------------------------


def test_an_answer_has_label_confidence_and_all_probabilities():
    """logits log 1, log 6, log 3: probabilities 0.1, 0.6, 0.3."""
    answers = saying(0, np.log(6), np.log(3)).classify(images(2))
    assert len(answers) == 2
    for answer in answers:
        assert answer.label == "happy" and answer.confidence == pytest.approx(0.6, rel=1e-5)
        assert list(answer.probs) == list(CLASSES)
        assert list(answer.probs.values()) == pytest.approx([0.1, 0.6, 0.3], rel=1e-5)
        assert type(answer.confidence) is float and type(answer.probs["happy"]) is float


def test_each_image_gets_its_own_answer():
    """This network calls dark pictures neutral and bright ones happy; their order is mixed."""
    made = network()
    made.parameters["dense1.w"][:, 1] = 1
    made.parameters["dense1.b"][0] = 8
    dark, bright = np.full((4, 4), 9, np.uint8), np.full((4, 4), 250, np.uint8)
    dark[0, 0], bright[0, 0] = 8, 249
    answers = made.classify(np.stack([bright, dark, dark, bright]))
    assert [answer.label for answer in answers] == ["happy", "neutral", "neutral", "happy"]
    probs = made.predict_proba(np.stack([bright, dark]))
    np.testing.assert_array_equal([list(a.probs.values()) for a in answers[:2]], probs)


def test_printing_an_answer():
    answers = saying(0, np.log(6), np.log(3)).classify(images(2), unsure_below=0.5)
    assert str(answers) == "[<happy 60.0%>, <happy 60.0%>]"
    (unsure,) = saying(0, np.log(6), np.log(3)).classify(images(1), unsure_below=0.7)
    assert repr(unsure) == "<unsure: happy 60.0%, surprise 30.0%>"


@pytest.mark.parametrize("unsure_below, label", [(0, "happy"), (0.5, "happy"), (0.61, "unsure")])
def test_unsure_only_below_the_threshold(unsure_below, label):
    (answer,) = saying(0, np.log(6), np.log(3)).classify(images(1), unsure_below=unsure_below)
    assert answer.label == label and answer.confidence == pytest.approx(0.6, rel=1e-5)
    assert answer.probs["happy"] == answer.confidence


def test_exactly_the_threshold_is_sure():
    (answer,) = saying(0, 60, 0).classify(images(1), unsure_below=1.0)
    assert answer.confidence == 1.0 and answer.label == "happy"


def test_confidence_is_calibrated():
    """At t = 2 the odds become their square roots: 1 : 2 : 1."""
    (answer,) = saying(0, np.log(4), 0, temperature=2.0).classify(images(1))
    assert list(answer.probs.values()) == pytest.approx([0.25, 0.5, 0.25], rel=1e-5)


@pytest.mark.parametrize("unsure_below", [-0.1, 1.1, np.nan, "0.5", None, True])
def test_a_threshold_is_a_probability(unsure_below):
    with pytest.raises(ValueError, match="unsure_below is .*expected a number from 0 to 1"):
        network().classify(images(), unsure_below=unsure_below)


def test_no_images_no_answers():
    assert network().classify(np.zeros((0, 4, 4), np.uint8)) == []
    assert network().classify(CutFaces(np.zeros((0, 4, 4), np.uint8), "fer2013")) == []


def test_equal_answers_compare_equal():
    assert Classification("a", 0.5, {"a": 0.5}) == Classification("a", 0.5, {"a": 0.5})
    with pytest.raises(AttributeError):
        Classification("a", 0.5, {}).label = "b"


def test_nan_probabilities_are_an_error():
    with pytest.raises(ValueError, match="image 0 are not numbers.*weights are damaged"):
        saying(0, np.nan, 0).classify(images())


# ---- forms of a picture ----------------------------------------------------------------------


def test_one_picture_may_be_an_array_an_image_or_a_file(tmp_path):
    made, pixels = network(), images(1)[0]
    made.parameters["dense1.w"][:] = np.random.default_rng(1).standard_normal((16, 3))
    expected = made.classify(pixels[None])
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    at_its_end = io.BytesIO(content)
    at_its_end.seek(0, io.SEEK_END)
    forms = [pixels, pixels[..., None], picture, tmp_path / "a.png", str(tmp_path / "a.png")]
    forms += [content, bytearray(content), memoryview(content), io.BytesIO(content), at_its_end]
    for form in forms:
        assert made.classify(form) == expected, type(form)
    assert_same(made.classify(forms), expected * len(forms))
    assert_same(made.classify([pixels, pixels[..., None][..., 0]]), expected * 2)


def test_bgr_is_asked_for_by_name():
    made = network(channels=3)
    made.parameters["dense1.w"][:] = np.random.default_rng(1).standard_normal((48, 3))
    rgb = images(2, (4, 4, 3))
    bgr, expected = rgb[..., ::-1], made.classify(rgb)
    assert made.classify(bgr) != expected
    for form in (bgr, list(bgr)):
        assert made.classify(form, channels="bgr") == expected
    assert_same(made.classify(Image.fromarray(rgb[0]), channels="bgr"), expected[:1])
    with pytest.raises(ValueError, match="channels is 'BGR'; expected rgb or bgr"):
        made.classify(bgr, channels="BGR")


# ---- refused images --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pictures, error, message",
    [
        # range and dtype
        (images() / 255, TypeError, "values 0.* to .*(255 * images).round().astype(np.uint8)"),
        (images() * 1.0, TypeError, "float64, values .*: convert with images.round().astype"),
        (images().astype(np.float32) - 128, TypeError, "as they were before scaling"),
        (images() / 127.5 - 1, TypeError, "values -.*as they were before scaling"),
        (np.full((2, 4, 4), 256), TypeError, "int64, values 256 to 256; .*were before scaling"),
        (np.full((2, 4, 4), -1), TypeError, "values -1 to -1"),
        (images().astype(np.int64), TypeError, "dtype int64, values .*images.round().astype"),
        (np.full((2, 4, 4), np.nan), TypeError, "dtype float64, values nan to nan"),
        (images() > 9, TypeError, "dtype bool; expected uint8 pixels"),
        (np.zeros((0, 4, 4)), TypeError, "dtype float64; expected uint8"),
        (images().astype(str), TypeError, "expected uint8"),
        ((images() > 9).astype(np.uint8), ValueError, "no pixel is above 1; .*by 255 first"),
        # size and channels
        (images(2, (5, 4)), ValueError, "(2, 5, 4); expected (N, 4, 4): pictures of 5x4 px"),
        (images(2, (4, 5)), ValueError, "network takes 4x4; cut faces with framing='fer2013'"),
        (images(2, (4, 4, 3)), ValueError, "3 channels, but the network takes grey"),
        (images(2, (4, 4, 4)), ValueError, "4 channels, but the network takes grey"),
        (np.uint8(7), TypeError, "images is a uint8; expected a NumPy array"),
        (np.full((), 7, np.uint8), ValueError, "images has shape ()"),
        ([1, 2], TypeError, "images is a list; expected a NumPy array"),
        ([images(1)[0], images(1)[0, :3]], ValueError, "shapes (4, 4) and (3, 4)"),
        (None, TypeError, "images is None, which is no picture (OpenCV's read() gives None at the"),
        ("missing.jpg", ValueError, "missing.jpg: no such file"),
        ("", ValueError, "'': not the name of a file"),
        (b"no picture", ValueError, "bytes (10): not a picture"),
        ("k" * 3_100_000, ValueError, "a text of 3,100,000 characters: not the name"),
        (io.StringIO("text"), ValueError, "picture: read() gives a str; open the file as bytes"),
        (Image.new("L", (9, 8)), ValueError, "picture: 9x8 px; the network takes 4x4.*find_faces("),
        (Image.new("I", (4, 4)), ValueError, "picture: pixels of kind I; expected 8-bit"),
        # framing
        (CutFaces(images(), "paper"), ValueError, "'paper', but the network was trained on 'fer"),
        (images().view(FramedArray), ValueError, "cut them again with framing='fer2013'"),
        (CutFaces(images().view(FramedArray), None), ValueError, "with framing 'paper'"),
        (CutFaces(images(2, (5, 5)), "fer2013"), ValueError, "pictures of 5x5 px"),
        (CutFaces(images() / 255, "fer2013"), TypeError, "dtype float64"),
    ],
)
def test_the_error_says_what_to_do(pictures, error, message):
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    with pytest.raises(error, match=pattern):
        network().classify(pictures)


def test_a_colour_network_takes_colour_images():
    made = network(channels=3)
    assert len(made.classify(images(2, (4, 4, 3)))) == 2
    for shape in ((4, 4), (4, 4, 1), (4, 4, 4)):
        with pytest.raises(ValueError, match=r"expected \(N, 4, 4, 3\)"):
            made.classify(images(2, shape))
    with pytest.raises(ValueError, match="1 channels, but the network takes RGB"):
        made.classify(images(2, (4, 4, 1)))


@pytest.mark.parametrize(
    "faces, own", [("paper", None), (None, "paper"), ("", "paper"), ("paper", "paper")]
)
def test_a_framing_that_fits_or_is_unknown_is_accepted(faces, own):
    assert len(network(framing=own).classify(CutFaces(images(), faces))) == 2
    assert len(network(framing=own).classify(images())) == 2


def test_without_a_framing_the_advice_names_none():
    with pytest.raises(ValueError, match="resize them as the training pictures were resized"):
        network(framing=None).classify(images(2, (5, 5)))


def test_images_that_show_nothing_are_named():
    """Black frames, also with single pixels of 1, and images of one value are no mistake for
    pixels of 0..1, but what the network says of them means nothing: a warning says so."""
    made, frames = network(), images(4)
    frames[:3] = 0
    frames[1, 0, 0] = 1
    frames[2] = 200
    for answer in (made.classify, made.predict_proba):
        with pytest.warns(UserWarning, match="3 of 4 images show nothing: black .* by 255") as told:
            assert len(answer(frames)) == 4
        assert len(told) == 1 and told[0].filename == __file__
        with pytest.warns(UserWarning, match="1 of 1 images show nothing: one value everywhere"):
            answer(frames[2:3])
        with pytest.warns(UserWarning, match="1 of 1 .*: black"):
            answer(frames[1:2])
        answer(frames[3:])  # no warning


def test_faces_that_were_scaled_and_cast_are_all_black():
    cast = (images(4) / 255).astype(np.uint8)
    assert cast.max() == 0
    with pytest.warns(UserWarning, match="4 of 4 images show nothing: black"):
        network().classify(cast)
    with pytest.warns(UserWarning, match="4 of 4 images show nothing"):
        tinycnn.evaluate(network(), cast, np.zeros(4, int))
    with pytest.warns(UserWarning, match="4 of 4 images show nothing"):
        tinycnn.fit(network(), cast, np.zeros(4, int), epochs=1)


def test_pixels_of_0_to_1_are_refused_by_every_method():
    pixels = (images() > 9).astype(np.uint8)
    for answer in (network().classify, network().predict_proba):
        with pytest.raises(ValueError, match="no pixel is above 1"):
            answer(pixels)


def test_a_colour_everywhere_shows_nothing():
    spec = InputSpec(4, 4, 3, classes=CLASSES)
    made = tinycnn.Network([Flatten(), Dense(3)], spec, seed=0, backend="numpy")
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    with pytest.warns(UserWarning, match="one value everywhere"):
        made.predict_proba(red)


def test_a_channel_axis_of_length_one_is_optional():
    made = network()
    assert made.classify(images()) == made.classify(images()[..., None])
