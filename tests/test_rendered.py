"""The built-in faces: the same bits everywhere, and action units that move the right landmarks."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ferdata.drawing
import ferdata.sources.rendered
from ferdata.drawing.action_units import ACTION_UNIT_NAMES, face_landmarks
from ferdata.drawing.canvas import Canvas, View, sine_cosine
from ferdata.drawing.expressions import (
    EMOTION_ACTION_UNITS,
    full_expression,
    habits,
    random_action_units,
)
from ferdata.drawing.face import draw_face
from ferdata.drawing.people import Identity
from ferdata.drawing.seeded_random import SeededRandom
from ferdata.labels import MICROEXPNET8
from ferdata.sources import rendered
from ferdata.sources.rendered import contact_sheet, render_faces

# sha256 of render_faces(2, 1). The soft labels of teachers are made for these exact pixels: if the
# value has to change, all soft labels of the built-in faces have to be made again.
PINNED = "f4a34801cb2331a0608360274d7d1eb6af89c8ae4db4082f43f7357b542a12bb"

ROOT = Path(__file__).parents[1]
PERSON = Identity(age=0.0)


@pytest.fixture(scope="module")
def faces():
    return render_faces(n_subjects=6, n_per_class=2)


def hash_elsewhere(**environment: str) -> str:
    """Content hash of render_faces(2, 1) in a new process; skips if NumPy cannot start there."""
    code = "import ferdata; print(ferdata.render_faces(2, 1).content_hash())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode and "NPY_DISABLE_CPU_FEATURES" in done.stderr:
        pytest.skip("this NumPy cannot switch its CPU features off")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Same bits


def test_pixels_match_the_pinned_hash():
    images = render_faces(2, 1).images
    digest = hashlib.sha256(repr(tuple(images.shape)).encode() + images.tobytes())
    assert digest.hexdigest() == PINNED


def test_pixels_do_not_depend_on_numpys_simd_code():
    core = getattr(np, "_core", None) or np.core
    features = " ".join(core._multiarray_umath.__cpu_dispatch__)
    assert hash_elsewhere(NPY_DISABLE_CPU_FEATURES=features) == PINNED


def test_pixels_do_not_depend_on_process_or_hash_seed():
    assert hash_elsewhere(PYTHONHASHSEED="4242") == PINNED


def test_an_image_does_not_depend_on_how_many_are_drawn(faces):
    fewer = render_faces(n_subjects=3, n_per_class=1)
    rows = {name: row for row, name in enumerate(faces.ids)}
    assert np.array_equal(fewer.images, faces.images[[rows[name] for name in fewer.ids]])


def test_another_seed_gives_other_people_and_ids(faces):
    other = render_faces(1, 1, seed=1)
    assert other.ids[0] == "rendered-1/S000/neutral/0"
    assert not (other.images == faces.images[0]).all(axis=(1, 2)).any()


def test_drawing_calls_no_function_whose_bits_vary():
    """The drawing calls only NumPy functions whose results IEEE 754 fixes."""
    exact = set(
        "abs arange ascontiguousarray empty_like float32 floor int32 maximum minimum ndarray rint "
        "sqrt subtract uint8 where".split()
    )
    seen = set()
    for path in Path(ferdata.drawing.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "np":
                seen.add(node.attr)
            assert not isinstance(node, ast.MatMult)
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("cumsum", "dot", "mean", "prod", "std", "sum", "var")
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                assert isinstance(node.left, ast.Constant), f"{path.name}:{node.lineno}: power"
    assert {"sqrt", "maximum"} <= seen
    assert seen - exact == {"random"}  # PCG64 and SeedSequence, in seeded_random.py


def test_random_numbers_are_the_raw_words_of_pcg64():
    raw = np.random.PCG64(np.random.SeedSequence([5, 6])).random_raw(4)
    rng = SeededRandom(5, 6)
    assert [rng.uniform() for _ in range(4)] == [int(word) // 2**11 / 2**53 for word in raw]


def test_grain_has_mean_0_and_the_documented_deviation():
    grain = SeededRandom(1).grain(40_001)
    assert grain.shape == (40_001,)
    # The sum of four uniform bytes has the variance 4 * (256^2 - 1) / 12.
    spread = (4 * (256**2 - 1) / 12) ** 0.5
    assert abs(grain.mean()) < 4 * spread / 200
    assert grain.std() == pytest.approx(spread, rel=0.02)


# The data set


def test_shapes_balance_ids_and_splits(faces):
    assert faces.images.shape == (96, 84, 84) and faces.images.dtype == np.uint8
    assert faces.label_space is MICROEXPNET8
    assert np.bincount(faces.labels).tolist() == [12] * 8
    for name, label, subject in zip(faces.ids, faces.labels, faces.subjects):
        assert name.split("/")[:3] == ["rendered-0", subject, MICROEXPNET8.classes[label]]
    people = {s: set(faces.subjects[faces.split == s]) for s in ("train", "validation")}
    assert people == {"train": {"S000", "S001", "S002", "S003", "S005"}, "validation": {"S004"}}


def test_images_have_contrast_and_all_differ(faces):
    assert len({image.tobytes() for image in faces.images}) == len(faces)
    assert faces.images.reshape(len(faces), -1).std(axis=1).min() > 8.0


def test_people_differ_more_than_a_faint_smile_of_one_person():
    people = [draw_face(Identity.random(0, k), {}).astype(int) for k in range(8)]
    smile = draw_face(Identity.random(0, 0), {12: 0.3}).astype(int)
    faint = np.abs(smile - people[0]).mean()
    for i in range(8):
        for j in range(i):
            assert np.abs(people[i] - people[j]).mean() > 3.0 * faint, (i, j)


def test_each_subject_is_one_person_and_no_other(monkeypatch):
    drawn = []

    def remember(person, units, view, size_px):
        drawn.append(person)
        return np.zeros((size_px, size_px), np.uint8)

    monkeypatch.setattr(ferdata.sources.rendered, "draw_face", remember)
    subjects = render_faces(5, 1).subjects
    assert len(set(drawn)) == len(set(zip(subjects, drawn))) == 5


def test_progress_counts_subjects():
    seen = []
    render_faces(2, 1, size_px=16, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(1, 2), (2, 2)]


def test_contact_sheet_holds_the_images_in_class_rows(faces):
    sheet = contact_sheet(faces, n_columns=3, gap_px=1)
    assert sheet.shape == (8 * 85 - 1, 3 * 85 - 1) and sheet.dtype == np.uint8
    members = np.flatnonzero(faces.labels == 5)
    assert np.array_equal(sheet[5 * 85 : 5 * 85 + 84, 85:169], faces.images[members[4]])
    assert (sheet[84] == 255).all()


def test_contact_sheet_leaves_missing_images_white(faces):
    sheet = contact_sheet(faces.select(faces.labels != 2), n_columns=2, gap_px=0)
    assert (sheet[2 * 84 : 3 * 84] == 255).all()
    assert sheet.shape == (8 * 84, 2 * 84)


# Action units


def side(units, which=1):
    return face_landmarks(PERSON, units).sides[which]


@pytest.mark.parametrize(
    "units, measure, direction",
    [
        ({1: 1}, lambda s: s.brow_inner[1], -1),
        ({2: 1}, lambda s: s.brow_outer[1], -1),
        ({4: 1}, lambda s: s.brow_inner[1], +1),
        ({4: 1}, lambda s: s.brow_inner[0], -1),
        ({5: 1}, lambda s: s.lid_upper, +1),
        ({6: 1}, lambda s: s.lid_lower, -1),
        ({6: 1}, lambda s: s.cheek[1], -1),
        ({7: 1}, lambda s: s.lid_lower, -1),
        ({9: 1}, lambda s: s.nose_wing[1], -1),
        ({12: 1}, lambda s: s.mouth_corner[1], -1),
        ({12: 1}, lambda s: s.mouth_corner[0], +1),
        ({14: 1}, lambda s: s.dimple, +1),
        ({15: 1}, lambda s: s.mouth_corner[1], +1),
        ({20: 1}, lambda s: s.mouth_corner[0], +1),
        ({24: 1}, lambda s: s.mouth_corner[0], -1),
        ({43: 1}, lambda s: s.lid_upper, -1),
    ],
)
def test_unit_moves_its_landmark(units, measure, direction):
    rest, half, full = (measure(side({au: x for au in units})) * direction for x in (0.0, 0.5, 1.0))
    assert rest < half < full


@pytest.mark.parametrize(
    "unit, measure, direction",
    [
        (10, lambda m: m.mouth_v - m.gap_upper, -1),
        (16, lambda m: m.gap_lower, +1),
        (17, lambda m: m.mouth_v, -1),
        (17, lambda m: m.chin_bunch, +1),
        (23, lambda m: m.lip_upper + m.lip_lower, -1),
        (25, lambda m: m.gap_upper + m.gap_lower, +1),
        (26, lambda m: m.chin_v, +1),
        (26, lambda m: m.gap_upper + m.gap_lower, +1),
    ],
)
def test_unit_moves_mouth_or_jaw(unit, measure, direction):
    rest, full = (measure(face_landmarks(PERSON, {unit: x})) for x in (0.0, 1.0))
    assert (full - rest) * direction > 0.0


def test_a_one_sided_unit_does_not_change_the_other_side():
    marks, rest = face_landmarks(PERSON, {"R12": 1.0}), face_landmarks(PERSON, {})
    assert marks.sides[0].mouth_corner[1] < rest.sides[0].mouth_corner[1]
    assert marks.sides[1].mouth_corner == rest.sides[1].mouth_corner


@pytest.mark.parametrize("unit", sorted(ACTION_UNIT_NAMES))
def test_every_unit_shows_in_the_pixels_it_should(unit):
    """Brow units change the upper half, mouth units the lower half, and all changes are visible."""
    change = draw_face(PERSON, {unit: 1.0}).astype(int) - draw_face(PERSON, {})
    upper, lower = np.abs(change[:45]).sum(), np.abs(change[45:]).sum()
    assert upper + lower > 1000
    if unit in (1, 2, 4, 5, 43):
        assert upper > 5 * lower
    if unit in (12, 14, 15, 17, 20, 23, 24, 25, 26):
        assert lower > 4 * upper


def mouth_line_rows(units) -> tuple[float, float]:
    """Rows of the darkest pixels, in the column of the mouth's middle and of its right corner."""
    image = draw_face(PERSON, units, size_px=168)
    canvas = Canvas(View(), 168)
    middle, top = canvas.to_px(0.0, 0.40)
    corner, bottom = canvas.to_px(PERSON.mouth_width * 0.9, 0.60)
    rows = slice(round(top), round(bottom))
    return tuple(
        float(image[rows, round(column)].argmin() + rows.start) for column in (middle, corner)
    )


def test_corners_of_the_drawn_mouth_go_up_in_a_smile_and_down_in_sadness():
    bend = {}
    for name, units in (("rest", {}), ("smile", {12: 0.8}), ("sad", {15: 1.0})):
        middle, corner = mouth_line_rows(units)
        bend[name] = corner - middle
    assert bend["smile"] < bend["rest"] - 3 and bend["sad"] > bend["rest"] + 3


def test_one_side_is_the_mirror_of_the_other():
    view = View(light_x=0.0)
    rest = draw_face(PERSON, {}, view).astype(int)
    for unit in (2, 12, 14):
        right = draw_face(PERSON, {f"R{unit}": 0.8}, view) - rest
        left = draw_face(PERSON, {f"L{unit}": 0.8}, view) - rest
        assert np.abs(right[:, :42]).sum() > 4 * np.abs(right[:, 42:]).sum()
        assert np.abs(right - left[:, ::-1]).max() <= 2, unit  # each of the two images is rounded


def test_neutral_has_no_units_and_contempt_has_one_side():
    assert full_expression("neutral") == {} and EMOTION_ACTION_UNITS["neutral"] == {}
    for emotion in MICROEXPNET8.classes:
        draw_face(PERSON, full_expression(emotion), size_px=16)
    assert {key[0] for key in full_expression("contempt")} == {"L"}
    habit, smiles = habits(0, 0), 0
    for k in range(200):
        strays = random_action_units("neutral", SeededRandom(9, k), habit)
        assert len(strays) <= 2 and max(strays.values(), default=0.0) < 0.28 * 1.18
        shown = random_action_units("contempt", SeededRandom(9, k), habit)
        sides = {key[0] for key, x in shown.items() if key[1:] in ("12", "14") and x > 0.34}
        assert len(sides) <= 1
        smiles += any(
            "12" in key for key in random_action_units("happy", SeededRandom(9, k), habit)
        )
    assert smiles >= 185


# The view


def test_the_head_turns_and_moves_as_given():
    def centre(view: View) -> tuple[float, float]:
        image = draw_face(replace(PERSON, hair_style="bald"), {}, view)
        dark = draw_face(replace(PERSON, hair_style="bald", skin_tone=0.3), {}, view)
        weight = image.astype(float) - dark
        rows, columns = np.mgrid[:84, :84]
        return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()

    still = View(background=0.5, light_x=0.0)
    column, row = centre(still)
    assert centre(replace(still, shift_u=0.1))[0] == pytest.approx(column + 4.2, abs=0.7)
    assert centre(replace(still, yaw_deg=15))[0] > column + 1
    assert centre(replace(still, pitch_deg=12))[1] > row + 1


def test_window_and_pixel_coordinates_invert_the_grid():
    canvas = Canvas(View(yaw_deg=12, pitch_deg=-7, roll_deg=5, shift_u=0.03), 84)
    for row, column in ((30, 25), (42, 42), (60, 55)):
        back = canvas.to_px(float(canvas.u[row, column]), float(canvas.v[row, column]))
        assert back == pytest.approx((column, row), abs=0.05)
        rows, columns = canvas.window(
            float(canvas.u[row, column]), float(canvas.v[row, column]), 0.05, 0.05
        )
        assert rows.start <= row - 2 < row + 2 < rows.stop
        assert columns.start <= column - 2 < column + 2 < columns.stop


def test_sine_and_cosine_polynomials():
    for degrees in range(-90, 91, 5):
        expected = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
        assert sine_cosine(degrees) == pytest.approx(expected, abs=3e-5)


def test_light_from_one_side_brightens_it():
    def left_over_right(light_x: float) -> float:
        image = draw_face(PERSON, {}, View(light_x=light_x)).astype(float)
        return image[20:70, 15:42].mean() - image[20:70, 42:69].mean()

    assert left_over_right(-0.6) > 10 and left_over_right(0.6) < -10


def test_noise_has_the_given_deviation_and_seed():
    clean = draw_face(PERSON, {}).astype(int)
    noisy = draw_face(PERSON, {}, View(noise=6.0, noise_seed=3)).astype(int)
    assert (noisy - clean).std() == pytest.approx(6.0, rel=0.05)
    assert not np.array_equal(noisy, draw_face(PERSON, {}, View(noise=6.0, noise_seed=4)))


@pytest.mark.parametrize("kind", ["hand", "bar", "strand", "blob"])
def test_an_occluder_hides_only_a_part(kind):
    clean = draw_face(PERSON, {}).astype(int)
    hidden = draw_face(PERSON, {}, View(occluder=kind, occluder_u=0.3, occluder_tone=0.05))
    changed = (np.abs(clean - hidden) > 5).mean()
    assert 0.01 < changed < 0.4


def test_larger_drawing_is_the_same_picture():
    person, units = Identity.random(0, 2), {6: 0.8, 12: 1.0, 25: 0.7}
    small = draw_face(person, units, size_px=84).astype(float)
    large = draw_face(person, units, size_px=252).astype(float)
    shrunk = large.reshape(84, 3, 84, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.985


# Errors


@pytest.mark.parametrize(
    "units, words",
    [
        ({3: 0.5}, "unknown action unit 3"),
        ({"X12": 0.5}, "unknown action unit 'X12'"),
        ({12: 1.5}, "0 .. 1"),
        ({12: float("nan")}, "0 .. 1"),
    ],
)
def test_bad_action_units_are_refused(units, words):
    with pytest.raises(ValueError, match=words):
        draw_face(PERSON, units)


@pytest.mark.parametrize(
    "arguments", [{"n_subjects": 0}, {"n_per_class": 1.5}, {"seed": -1}, {"size_px": 8}]
)
def test_bad_counts_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        render_faces(**{"n_subjects": 1, "n_per_class": 1, **arguments})


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: View(occluder="cloud"), "occluder 'cloud'"),
        (lambda: View(yaw_deg=90), "yaw_deg is 90"),
        (lambda: View(scale=0), "scale is 0"),
        (lambda: Identity(hair_style="mohawk"), "hair_style 'mohawk'"),
        (lambda: full_expression("boredom"), "emotion 'boredom'"),
        (lambda: draw_face(PERSON, {}, size_px=8), "size_px is 8"),
    ],
)
def test_bad_people_and_views_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_images_without_a_label_have_a_row_of_their_own(faces):
    without = replace(faces, has_label=np.arange(len(faces)) != 0)
    whole, sheet = contact_sheet(faces, 3), contact_sheet(without, 3)
    assert sheet.shape == (whole.shape[0] + 86, whole.shape[1])
    np.testing.assert_array_equal(sheet[-84:, :84], faces.images[0])
    assert (sheet[-84:, 84:] == 255).all()


def test_bad_contact_sheet_is_refused(faces):
    with pytest.raises(
        ValueError, match="n_columns: expected a whole number of 1 or more, found 0"
    ):
        contact_sheet(faces, n_columns=0)


# ---- the default faces in the cache --------------------------------------------------------------


@pytest.fixture
def few_default_faces(tmp_path, monkeypatch):
    """The default data set has 6 people, and there is an empty cache.  Returns the people drawn."""
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(rendered, "_DEFAULT", (6, 1, 0, 24))
    drawn, draw = [], rendered.draw_face
    monkeypatch.setattr(rendered, "draw_face", lambda *a: drawn.append(a[0]) or draw(*a))
    return drawn


def test_the_default_faces_are_drawn_once(few_default_faces, tmp_path, monkeypatch):
    expected = render_faces(6, 1, size_px=24)
    few_default_faces.clear()
    seen = []
    for _ in range(2):
        faces = rendered.default_faces(lambda done, n: seen.append((done, n)))
        assert faces.content_hash() == expected.content_hash()
        for name in ("images", "labels", "ids", "subjects", "split"):
            np.testing.assert_array_equal(getattr(faces, name), getattr(expected, name))
        assert len(few_default_faces) == 6 * 8 and seen == [(k, 6) for k in range(1, 7)]
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])  # damaged: they are drawn again
    rendered.default_faces()
    assert len(few_default_faces) == 2 * 6 * 8
    rendered.default_faces(cache=False)
    assert len(few_default_faces) == 3 * 6 * 8


def test_another_drawing_is_drawn_again(few_default_faces, monkeypatch):
    files = rendered.source_files(rendered.drawing.__name__)
    assert {"canvas.py", "face.py", "people.py", "skin.py"} < {name for name, _ in files}
    rendered.default_faces()
    for k in range(len(files)):
        edited = [(name, content + b" " * (i == k)) for i, (name, content) in enumerate(files)]
        monkeypatch.setattr(rendered, "source_files", lambda package, edited=edited: edited)
        few_default_faces.clear()
        rendered.default_faces()
        assert few_default_faces

    def without_sources(package):
        raise FileNotFoundError(package)

    monkeypatch.setattr(rendered, "source_files", without_sources)
    few_default_faces.clear()
    assert len(rendered.default_faces()) == len(few_default_faces) == 48
