"""The cascade of the face detector, the search for faces, and the framings."""

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.feature import Cascade

from ferdata.errors import DataError
from ferdata.photos import cascade, faces
from ferdata.photos.cascade import stages_passed
from ferdata.photos.detect import detect, largest_face
from ferdata.photos.faces import find_faces, frame_face, paper_face, paper_training_crops
from ferdata.photos.photo import to_grey
from ferdata.warp import resize_images

ASTRONAUT = data.astronaut()
# Read off the photo: the tip of the nose, and the width from ear to ear.
NOSE_X, NOSE_Y, FACE_PX = 222, 124, 90


def shrunk(picture, side):
    return np.asarray(Image.fromarray(picture).convert("L").resize((side, side), 2))


# The cascade


@pytest.mark.parametrize("name, side", [("astronaut", 127), ("astronaut", 160), ("gravel", 160)])
def test_windows_that_pass_are_those_of_scikit_image(name, side):
    """scikit-image's search at a single size, without grouping, returns each window that passes.

    At 127 px the astronaut's face fills a window. scikit-image leaves out the largest size, the
    last row and the last column.
    """
    picture = shrunk(getattr(data, name)(), side)
    oracle = Cascade(data.lbp_frontal_face_cascade_filename())
    found = oracle.detect_multi_scale(picture, 1.2, 1, (24, 24), (25, 25), 1, 1.0)
    assert found
    passed = stages_passed(picture)[:-1, :-1] == len(cascade.tables().thresholds)
    assert {(f["r"], f["c"]) for f in found} == set(map(tuple, np.argwhere(passed).tolist()))


# Finding


def test_the_astronaut_has_one_face():
    for picture in (ASTRONAUT, to_grey(ASTRONAUT), ASTRONAUT[:, ::-1]):
        found = find_faces(np.ascontiguousarray(picture))
        assert found.images.shape == (1, 84, 84) and found.images.dtype == np.uint8
        assert found.boxes.shape == (1, 4) and found.boxes.dtype == np.int64
        x, y, width, height = found.boxes[0]
        nose_x = 511 - NOSE_X if picture is not ASTRONAUT and picture.ndim == 3 else NOSE_X
        assert abs(x + width / 2 - nose_x) < 12 and abs(y + height / 2 - NOSE_Y) < 15
        assert width == height and 0.85 * FACE_PX < width < 1.25 * FACE_PX


@pytest.mark.parametrize("side", [150, 300, 1100])
def test_the_astronaut_at_other_sizes(side):
    resized = np.asarray(Image.fromarray(ASTRONAUT).resize((side, side), 2))
    (box,) = find_faces(resized).boxes / (side / 512)
    assert abs(box[0] + box[2] / 2 - NOSE_X) < 12 and abs(box[1] + box[3] / 2 - NOSE_Y) < 15


def test_a_file_gives_the_same_faces_as_its_array(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(ASTRONAUT).save(path)
    by_path, by_array = find_faces(path), find_faces(ASTRONAUT)
    assert np.array_equal(by_path.boxes, by_array.boxes)
    assert np.array_equal(by_path.images, by_array.images)
    assert by_path.source == str(path) and by_array.source == "" and len(by_path) == 1
    assert np.array_equal(find_faces(str(path)).images, by_path.images)


def test_a_photo_lying_on_its_side_is_turned_by_its_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation 6: row 0 is the right side
    turned = Image.fromarray(ASTRONAUT).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a.png", exif=exif)
    found, upright = find_faces(tmp_path / "a.png"), find_faces(ASTRONAUT)
    assert np.array_equal(found.boxes, upright.boxes)
    assert np.array_equal(found.images, upright.images)
    turned.save(tmp_path / "b.png")  # without the tag the face is not upright
    assert len(find_faces(tmp_path / "b.png")) == 0


def test_three_faces_are_sorted_by_size():
    canvas = np.full((400, 700, 3), 128, np.uint8)
    head = Image.fromarray(ASTRONAUT[20:240, 110:330])
    places = [(10, 100, 110), (150, 90, 300), (480, 60, 200)]
    for left, top, side in places:
        canvas[top : top + side, left : left + side] = np.asarray(head.resize((side, side), 2))
    boxes = find_faces(canvas).boxes
    assert len(boxes) == 3 and (np.diff(boxes[:, 2]) < 0).all()
    for (x, y, width, _), (left, top, side) in zip(boxes, [places[i] for i in (1, 2, 0)]):
        scale = side / 220
        assert abs(x + width / 2 - (left + (NOSE_X - 110) * scale)) < 14 * scale
        assert abs(y + width / 2 - (top + (NOSE_Y - 20) * scale)) < 17 * scale
    assert np.array_equal(largest_face(to_grey(canvas)), boxes[0])


@pytest.mark.parametrize("name", ["camera", "coffee", "rocket", "moon", "text", "page", "clock"])
def test_pictures_without_a_frontal_face(name):
    picture = getattr(data, name)()
    found = find_faces(picture)
    assert found.images.shape == (0, 84, 84) and found.boxes.shape == (0, 4)
    assert len(found) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (23, 400), (24, 24), (50, 24, 3)])
def test_small_and_plain_pictures_have_no_face(shape):
    assert len(find_faces(np.full(shape, 90, np.uint8))) == 0
    assert largest_face(np.full(shape[:2], 90, np.uint8)) is None


def test_a_face_at_the_edge_of_the_frame():
    tight = ASTRONAUT[78:172, 176:270]  # the face fills the picture
    (box,) = find_faces(np.ascontiguousarray(tight)).boxes
    assert abs(box[0] + box[2] / 2 - (NOSE_X - 176)) < 12


def test_as_many_faces_of_fer2013_as_before(shared):
    """The share of faces found, and where FER2013's crop lies around their boxes."""
    import csv
    import gzip

    with gzip.open(shared / "data/fer2013/fer2013.csv.gz", "rt") as file:
        rows = csv.reader(file)
        next(rows)
        pixels = [next(rows)[1] for _ in range(60)]
    boxes = []
    for text in pixels:
        small = np.array(text.split(), np.uint8).reshape(48, 48)
        scene = np.asarray(Image.fromarray(small).resize((120, 120), Image.Resampling.BICUBIC))
        box = largest_face(np.pad(scene, 60, mode="edge"))
        if box is not None:
            boxes.append(box)
    assert len(boxes) >= 36  # of 60
    x, y, width, height = np.median(boxes, axis=0)
    assert abs(x + width / 2 - 120) < 4 and abs(y + height / 2 - 120) < 4
    assert width * faces._FER2013_SCALE == pytest.approx(120, abs=6)


# Boxes given by the caller


def test_boxes_of_the_caller_keep_their_order():
    boxes = np.array([[10, 20, 30, 40], [100, 100, 300, 300]])
    found = find_faces(ASTRONAUT, "paper", boxes=boxes)
    assert np.array_equal(found.boxes, boxes) and found.boxes.dtype == np.int64
    for image, box in zip(found.images, boxes):
        assert np.array_equal(image, frame_face(ASTRONAUT, box, "paper"))
    assert find_faces(ASTRONAUT, boxes=np.empty((0, 4))).images.shape == (0, 84, 84)
    assert find_faces(ASTRONAUT, boxes=[[1.0, 2.0, 30.0, 30.0]]).boxes.tolist() == [[1, 2, 30, 30]]


@pytest.mark.parametrize(
    "box",
    [[0, 0, 0, 10], [0, 0, 10, -3], [512, 0, 10, 10], [-6, 0, 10, 10], [0, 508, 10, 10]]
    + [[0, 0, 10**12, 10**12], [-(10**12), 0, 10, 10]],
)
def test_boxes_outside_the_photo_are_refused(box):
    with pytest.raises(
        DataError, match="photo: box 1 .* does not lie in the photo of 512 x 512 px"
    ):
        find_faces(ASTRONAUT, boxes=[[0, 0, 512, 512], box])


@pytest.mark.parametrize(
    "boxes", [[1, 2, 3, 4], [[1, 2, 3]], [[0.5, 1, 20, 20]], [[np.nan, 1, 2, 3]], [["a"] * 4]]
)
def test_boxes_of_another_form_are_refused(boxes):
    with pytest.raises(DataError, match="photo: boxes: expected whole numbers of shape"):
        find_faces(ASTRONAUT, boxes=np.array(boxes))


@pytest.mark.parametrize(
    "photo", [np.zeros((5, 5)), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8)]
)
def test_arrays_of_another_form_are_refused(photo):
    with pytest.raises(DataError, match="photo: expected uint8 of shape"):
        find_faces(photo)


def test_an_unknown_framing_is_refused():
    with pytest.raises(ValueError, match="expected one of paper, fer2013, found 'tight'"):
        find_faces(ASTRONAUT, "tight")
    with pytest.raises(ValueError, match="framing"):
        frame_face(ASTRONAUT, [0, 0, 9, 9], "")


# Framings


def ramp(height, width, per_y, per_x):
    """A linear ramp: bilinear interpolation and symmetric anti-aliasing do not change it."""
    plane = per_y * (np.arange(height) + 0.5)[:, None] + per_x * (np.arange(width) + 0.5)
    return np.round(plane).astype(np.uint8)


def seen(image, low, high, axis):
    """The values at both ends of an image along one axis, extrapolated from inner pixels."""
    means = image[12:-12, 12:-12].mean(axis=1 - axis)
    slope = (means[-1] - means[0]) / (len(means) - 1)
    start = means[0] - slope * 12.5
    assert start == pytest.approx(low, abs=1.5) and start + 84 * slope == pytest.approx(
        high, abs=1.5
    )


def test_paper_shows_the_lower_right_224_of_256():
    x, y, side = 40, 30, 128
    for per_y, per_x, axis, start in ((1, 0, 0, y), (0, 1, 1, x)):
        photo = ramp(200, 220, per_y, per_x)
        image = frame_face(photo, [x, y, side, side], "paper")
        seen(image, start + side * 32 / 256, start + side, axis)


def test_fer2013_shows_the_square_around_the_box():
    x, y, side = 60, 50, 100
    half = side / 0.983 / 2
    for per_y, per_x, axis, centre in ((1, 0, 0, y + side / 2), (0, 1, 1, x + side / 2)):
        photo = ramp(220, 230, per_y, per_x)
        image = frame_face(photo, [x, y, side, side], "fer2013")
        seen(image, centre - half, centre + half, axis)
        # A box that is not square is replaced by a square of the same area.
        same = frame_face(photo, [x + 25, y - 50, side // 2, side * 2], "fer2013")
        assert np.array_equal(same, image)


def test_fer2013_is_as_blurred_as_training():
    """The image is enlarged from 48x48: its 84 rows mix 48, so its rank is at most 48."""
    fine = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    image = frame_face(fine, [5, 5, 590, 590], "fer2013").astype(float)
    assert image.std() < fine.std() / 5  # anti-aliased: the noise of single pixels is averaged
    photo = np.kron(fine[:100, :100], np.ones((6, 6), np.uint8))  # details of one px in 84
    image = frame_face(photo, [5, 5, 590, 590], "fer2013").astype(float)
    strength = np.linalg.svd(image - image.mean(), compute_uv=False)
    rounding = 2 * np.sqrt(84 / 12)  # the most that rounding by +-0.5 can add
    assert strength[20] > 10 * rounding and strength[48] < rounding


def test_crops_of_other_sizes():
    """FER2013's own 48 px are not resized, and other sizes are made of them as in training; the
    paper's crop shows the same area at every size."""
    fine = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    box = [5, 5, 590, 590]
    small = frame_face(fine, box, "fer2013", size_px=48)
    for size_px in (84, 64):
        image = frame_face(fine, box, "fer2013", size_px=size_px)
        assert np.array_equal(image, resize_images(small[None], size_px)[0])
    photo = ramp(200, 220, 0, 1)
    image = frame_face(photo, [40, 30, 128, 128], "paper", size_px=48).mean(axis=0)
    slope = (image[40] - image[8]) / 32
    assert image[8] - 8.5 * slope == pytest.approx(40 + 128 * 32 / 256, abs=1.5)
    assert image[8] + 39.5 * slope == pytest.approx(40 + 128, abs=1.5)
    found = find_faces(fine, boxes=np.array([box]), size_px=48)
    assert np.array_equal(found.images[0], small) and found.images.framing == "fer2013"
    for wrong in (0, 4.5):
        with pytest.raises(ValueError, match="size_px: expected a whole number of 1 or more"):
            find_faces(fine, size_px=wrong)


def test_beyond_the_photo_its_edge_repeats():
    photo = ramp(100, 100, 0, 2)
    image = frame_face(photo, [-40, 10, 80, 80], "paper")  # the photo begins at 128 of 256
    assert (image[:, :30] == photo[0, 0]).all() and image[0, -1] > 70
    image = frame_face(photo, [60, 10, 80, 80], "fer2013")
    assert (image[:, -35:] == photo[0, -1]).all()


def test_the_eight_training_crops_by_name():
    rng = np.random.default_rng(1)
    face = np.asarray(
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).resize((256, 256))
    )
    crops = paper_training_crops(face)
    assert crops.shape == (8, 84, 84) and crops.dtype == np.uint8
    names = ["0 0", "0 5", "0 32", "5 0", "32 0", "5 5", "32 32", "5 32"]
    for crop, name in zip(crops, names):
        top, left = map(int, name.split())
        part = face[top : top + 224, left : left + 224].astype(float)
        at = (np.arange(84) + 0.5) * 224 / 84 - 0.5  # plain bilinear, half-pixel centres
        low, part_of = np.floor(at).astype(int), at - np.floor(at)
        rows = part[low] * (1 - part_of)[:, None] + part[low + 1] * part_of[:, None]
        expected = rows[:, low] * (1 - part_of) + rows[:, low + 1] * part_of
        assert np.abs(crop - expected).max() <= 0.51, name
    with pytest.raises(DataError, match=r"expected uint8 \(256, 256\), found uint8 \(84, 84\)"):
        paper_training_crops(crops[0])


def test_framing_paper_is_training_crop_6():
    box = [150, 60, 140, 130]
    face = paper_face(ASTRONAUT, box)
    assert face.shape == (256, 256)
    assert np.array_equal(paper_training_crops(face)[6], frame_face(ASTRONAUT, box, "paper"))


def test_detect_gives_boxes_in_photo_pixels_of_a_wide_and_a_tall_photo():
    for shape, at in (((700, 300), (450, 30)), ((300, 900), (60, 600))):
        canvas = np.full(shape, 120, np.uint8)
        head = to_grey(np.ascontiguousarray(ASTRONAUT[20:240, 110:330]))
        canvas[at[0] : at[0] + 220, at[1] : at[1] + 220] = head
        (box,) = detect(canvas).boxes
        assert abs(box[0] + box[2] / 2 - (at[1] + NOSE_X - 110)) < 12
        assert abs(box[1] + box[3] / 2 - (at[0] + NOSE_Y - 20)) < 15


def test_the_result_knows_its_framing():
    photo = np.zeros((200, 200, 3), np.uint8)
    for framing in faces.FRAMINGS:
        found = find_faces(photo, framing, boxes=np.array([[50, 50, 80, 80], [60, 60, 90, 90]]))
        assert found.framing == found.images.framing == framing
        assert found.images[1:].framing == found.images.copy().framing == framing
        assert found.images.dtype == np.uint8 and type(found.boxes) is np.ndarray
