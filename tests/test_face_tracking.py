"""Faces followed from frame to frame, smoothed probabilities, and the newest frames of a camera."""

import threading

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ferdata import DataError, FaceTracker, ProbabilitySmoothing, find_faces
from ferdata.films import tracking
from ferdata.films.frames import Camera, open_camera

HEAD = data.astronaut()[20:240, 110:330]
GREY_HEAD = np.asarray(Image.fromarray(HEAD).convert("L").resize((110, 110)))


def frame(*places):
    """A grey picture of 320x240 with a head of 110 px at each (x, y)."""
    picture = np.full((240, 320), 128, np.uint8)
    for x, y in places:
        picture[y : y + 110, x : x + 110] = GREY_HEAD
    return picture


def test_a_face_keeps_its_number_while_it_moves():
    tracker, centres = FaceTracker(), []
    for k in range(12):
        faces, numbers = tracker.find(frame((20 + 8 * k, 60)), k / 25)
        assert numbers == (1,) and faces.framing == faces.images.framing == "fer2013"
        assert faces.images.shape == (1, 84, 84) and faces.scores[0] >= 1
        x, _, side, _ = faces.boxes[0]
        centres.append(x + side / 2 - 8 * k)
    assert np.ptp(centres) < 16  # it moved 88 px


def test_a_second_face_gets_the_next_number_and_one_that_left_does_not_return():
    tracker = FaceTracker(search_every=1)
    assert tracker.find(frame((20, 60)), 0.0).numbers == (1,)
    both = tracker.find(frame((20, 60), (190, 60)), 0.1)
    assert sorted(both.numbers) == [1, 2]
    by_number = dict(zip(both.numbers, both.faces.boxes[:, 0].tolist()))
    assert by_number[1] < 160 < by_number[2]
    assert tracker.find(frame((190, 60)), 0.2).numbers == (2,)
    assert tracker.find(frame(), 0.3).numbers == ()
    assert tracker.find(frame((190, 60)), 0.4).numbers == (2,)  # back within half a second
    assert tracker.find(frame((190, 60)), 1.4).numbers == (3,)  # not seen for a second


def test_between_searches_only_the_surroundings_are_searched(monkeypatch):
    areas = []

    def counted(grey, sought):
        areas.append(grey.size)
        return found(grey, sought)

    found = tracking.detect
    monkeypatch.setattr(tracking, "detect", counted)
    tracker, picture = FaceTracker(search_every=5), frame((100, 60))
    for k in range(6):
        tracker.find(picture, k / 25)
    whole = [area == picture.size for area in areas]
    assert whole.count(True) == 2 and len(areas) == 7  # frames 0 and 5; near the face in 1 to 5
    areas.clear()
    tracker.find(frame((10, 10)), 0.24)  # it jumped: the whole picture is searched at once
    assert picture.size in areas


def test_a_first_frame_gives_what_find_faces_gives():
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[40:260, 90:310] = HEAD
    expected = find_faces(picture)
    found = FaceTracker().find(picture[..., ::-1], 0.0, channels="bgr").faces
    assert np.array_equal(found.boxes, expected.boxes) and len(expected) == 1
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.scores, expected.scores)


def test_wrong_settings_and_no_picture():
    for options in ({"smallest_px": 3}, {"least_score": 0}, {"search_every": 0}, {"size_px": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
            FaceTracker(**options)
    with pytest.raises(DataError, match="None at the end of a video"):
        FaceTracker().find(None, 0.0)


# ---- smoothing -------------------------------------------------------------------------------


def test_smoothing_by_hand():
    """seconds = 0.1 / log 2: after 0.1 s half of the old value is kept, after 0.2 s a quarter."""
    smoothing = ProbabilitySmoothing(0.1 / np.log(2))
    a, b = [[1.0, 0.0]], [[0.0, 1.0]]
    assert smoothing.update((1,), np.array(a), 5.0).tolist() == a
    np.testing.assert_allclose(smoothing.update((1,), np.array(b), 5.1), [[0.5, 0.5]])
    np.testing.assert_allclose(smoothing.update((1,), np.array(b), 5.3), [[0.125, 0.875]])
    # another face begins anew, and does not change the first
    both = smoothing.update((2, 1), np.array(a + b), 5.4)
    np.testing.assert_allclose(both, [[1, 0], [0.0625, 0.9375]])


def test_smoothing_keeps_sums_and_can_be_switched_off():
    probs = np.random.default_rng(0).dirichlet(np.ones(8), (30, 1))
    on, off = ProbabilitySmoothing(), ProbabilitySmoothing(0)
    smoothed = np.stack([on.update((1,), p, k / 25) for k, p in enumerate(probs)])
    np.testing.assert_allclose(smoothed.sum(axis=2), 1)
    assert np.abs(np.diff(smoothed, axis=0)).mean() < np.abs(np.diff(probs, axis=0)).mean() / 4
    same = np.stack([off.update((1,), p, k / 25) for k, p in enumerate(probs)])
    assert np.array_equal(same, probs)
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds: expected a number of 0 or more"):
            ProbabilitySmoothing(seconds)


# ---- cameras ---------------------------------------------------------------------------------


def test_frames_that_come_too_fast_are_dropped_and_counted():
    taken = threading.Event()

    def pictures():
        yield np.full((2, 2, 3), 0, np.uint8)
        assert taken.wait(60)
        for k in range(1, 6):
            yield np.full((2, 2, 3), k, np.uint8)

    with Camera("camera 0", pictures()) as camera:
        frames = iter(camera)
        first = next(frames)
        assert (first.number, first.time_s, first.n_dropped) == (0, 0.0, 0)
        taken.set()
        camera._thread.join(60)  # five came meanwhile
        last = next(frames)
        assert (last.number, last.n_dropped) == (5, 4) and (last.pixels == 5).all()
        assert last.time_s > 0
        assert next(frames, None) is None


def test_a_camera_that_breaks_is_an_error():
    def pictures():
        yield np.zeros((2, 2, 3), np.uint8)
        raise OSError(5, "Input/output error")

    with Camera("camera 7", pictures()) as camera:
        with pytest.raises(DataError, match="camera 7: Input/output error"):
            list(camera)


def test_a_camera_that_is_not_there():
    pytest.importorskip("av", reason='needs PyAV: pip install "tinycnn[video]"')
    with pytest.raises(DataError, match="camera 987"):
        open_camera("987")
