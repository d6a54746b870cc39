"""Photos as people have them: names of files, bytes, open files, images of Pillow, arrays, None."""

import io
import pathlib
import tempfile

import numpy as np
import pytest
from PIL import Image
from skimage import data

import ferdata
import tinycnn
from ferdata import DataError, find_faces, frame_face, paper_face, read_photo

PICTURE = data.astronaut()[20:240, 110:330]
BOX = [66, 46, 96, 96]


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("forms") / "face.png"
    Image.fromarray(PICTURE).save(path)
    return path


def forms(path):
    content = path.read_bytes()
    at_its_end = io.BytesIO(content)
    at_its_end.seek(0, io.SEEK_END)
    spooled = tempfile.SpooledTemporaryFile()
    spooled.write(content)
    return {
        "str": str(path),
        "path": path,
        "pure path": pathlib.PurePath(path),
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "open": open(path, "rb"),
        "BytesIO": io.BytesIO(content),
        "BytesIO at its end": at_its_end,
        "spooled file": spooled,
        "image of Pillow": Image.open(path),
        "array": PICTURE.copy(),
    }


def test_every_form_of_a_photo_gives_the_same_face(png):
    expected = find_faces(PICTURE)
    assert len(expected) == 1
    for name, form in forms(png).items():
        found = find_faces(form)
        assert np.array_equal(found.boxes, expected.boxes), name
        assert np.array_equal(found.images, expected.images), name
        assert found.source == (str(png) if "path" in name or name == "str" else ""), name
        assert np.array_equal(read_photo(form), PICTURE), name
        assert np.array_equal(frame_face(form, BOX, "paper"), frame_face(PICTURE, BOX, "paper"))
        assert np.array_equal(paper_face(form, BOX), paper_face(PICTURE, BOX)), name
        if hasattr(form, "close"):
            form.close()


def test_bgr_is_asked_for_by_name(png):
    tinted = (PICTURE * np.array([1.0, 0.6, 0.2])).astype(np.uint8)
    bgr = tinted[..., ::-1]
    expected, as_bgr = find_faces(tinted), find_faces(bgr, channels="bgr")
    assert np.array_equal(as_bgr.images, expected.images) and len(expected) == 1
    assert not np.array_equal(find_faces(bgr, boxes=expected.boxes).images, expected.images)
    assert np.array_equal(read_photo(bgr, channels="bgr"), tinted)
    assert np.array_equal(
        frame_face(bgr, BOX, "paper", channels="bgr"), frame_face(tinted, BOX, "paper")
    )
    assert np.array_equal(paper_face(bgr, BOX, channels="bgr"), paper_face(tinted, BOX))
    assert np.array_equal(read_photo(png, channels="bgr"), read_photo(png))  # a file has its order
    for picture in (bgr, png):
        with pytest.raises(ValueError, match="channels: expected one of rgb, bgr, found 'BGR'"):
            find_faces(picture, channels="BGR")


def test_an_image_of_pillow_is_turned_upright_as_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(read_photo(image), PICTURE)
    assert np.array_equal(read_photo(path.read_bytes()), PICTURE)


def test_images_of_pillow_in_every_mode():
    image = Image.fromarray(PICTURE)
    for mode in ("L", "RGBA", "P", "CMYK", "YCbCr"):
        converted = image.convert(mode)
        read = read_photo(converted)
        assert read.dtype == np.uint8 and read.shape == (
            PICTURE.shape[:2] if mode == "L" else PICTURE.shape
        )
        assert converted.mode == mode  # the caller's image is not changed
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(read_photo(grey[..., None]), grey)


BIG = 3_100_000


@pytest.mark.parametrize(
    "picture, message",
    [
        (None, "None is no picture (OpenCV's read() gives None at the end of a video"),
        ((False, None), "a tuple (found, frame), as OpenCV's read() gives it: give the frame"),
        ([PICTURE, PICTURE], "a list of 2: give one picture at a time"),
        (7, "photo: found int; expected"),
        (b"", "an empty file (0 bytes)"),
        (bytes(BIG), "bytes (3,100,000): not a picture"),
        ("k" * BIG, "a text of 3,100,000 characters; expected the name of a file"),
        (io.StringIO("k" * BIG), "opened as text; open it as bytes: open(..., 'rb')"),
        (io.BytesIO(b"k" * BIG), "open file: not a picture"),
        (np.zeros((3, 50, 40), np.uint8), "the channels are the last axis"),
        (np.zeros((50, 40, 4), np.uint8), "without transparency it is photo[..., :3]"),
        (np.zeros((2, 50, 40, 3), np.uint8), "give one picture at a time"),
        (np.zeros((50, 40)), "(255 * photo).round().astype(np.uint8)"),
    ],
    ids=lambda value: f"{type(value).__name__}"[:20],
)
def test_what_is_no_picture_is_told_without_its_content(picture, message):
    for function in (find_faces, read_photo, lambda p: frame_face(p, BOX, "paper")):
        if hasattr(picture, "seek"):
            picture.seek(0)
        with pytest.raises(DataError) as caught:
            function(picture)
        assert message in str(caught.value)
        assert len(str(caught.value)) < 400 and "kkkk" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [b"k" * BIG, "k" * BIG, ["k"] * BIG, ["k" * BIG], {"k": "k" * BIG}, np.array(["k" * 200] * 9)],
    ids=["bytes", "str", "list", "list of one", "dict", "array"],
)
def test_no_message_quotes_a_long_argument(value):
    calls = [
        *(ferdata.open, ferdata.check, ferdata.load_packed, ferdata.load_soft_labels),
        lambda v: ferdata.load_faces([v], framing=None, cache_key="a"),
        lambda v: find_faces(PICTURE, v),
        lambda v: find_faces(PICTURE, channels=v),
        lambda v: find_faces(PICTURE, least_score=v),
        lambda v: find_faces(PICTURE, smallest_px=v),
        lambda v: find_faces(PICTURE, boxes=v),
        lambda v: tinycnn.load(v),
        lambda v: list(ferdata.read_film(v)),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as caught:
            call(value)
        assert len(str(caught.value)) < 400


# Scores, and the smallest face


def test_each_face_has_a_score(png):
    found = find_faces(png)
    assert found.scores.shape == (1,) and found.scores.dtype == np.float64
    assert found.scores[0] >= 1
    assert find_faces(png, boxes=[BOX]).scores is None
    assert find_faces(np.zeros((90, 90), np.uint8)).scores.shape == (0,)


def test_a_weak_false_face_of_the_astronaut_is_refused_by_the_default():
    """A window of her suit looks like a face of 26 px to the cascade."""
    astronaut = data.astronaut()
    (face,) = find_faces(astronaut).boxes
    more = find_faces(astronaut, least_score=0.5)
    assert len(more) == 2 and np.array_equal(more.boxes[0], face)
    assert more.boxes[1, 2] < 30 and 0.5 <= more.scores[1] < 1 < more.scores[0]
    assert len(find_faces(astronaut, least_score=more.scores[0] + 0.01)) == 0


def test_the_smallest_face_can_be_set():
    small = np.full((1000, 1000), 128, np.uint8)
    face = Image.fromarray(PICTURE).convert("L").resize((80, 80))  # a face of 37 px
    small[300:380, 300:380] = np.asarray(face)
    assert len(find_faces(small)) == 0  # a twentieth is 50 px
    (box,) = find_faces(small, smallest_px=24).boxes
    assert 30 <= box[2] < 45
    assert len(find_faces(PICTURE, smallest_px=150)) == 0
    for value in (23, 0, -1, "24", True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="smallest_px: expected a number of 24 or more"):
            find_faces(small, smallest_px=value)
    for value in (0, -1, None, "1", float("nan")):
        with pytest.raises(ValueError, match="least_score: expected a number above 0"):
            find_faces(small, least_score=value)
