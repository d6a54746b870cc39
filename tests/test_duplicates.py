"""Copies of a picture are found, even when saved again or changed; other faces are not."""

import io

import numpy as np
import pytest
from PIL import Image

from ferdata.doctor import duplicates
from ferdata.doctor.duplicates import exact_groups, near_pairs
from ferdata.image_hashes import content_ids
from ferdata.sources.rendered import render_faces


@pytest.fixture(scope="module")
def faces():
    return render_faces(n_subjects=30, n_per_class=1, size_px=48).images


def as_jpeg(image, quality=40):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def brighter(image):
    return np.clip(image.astype(float) * 0.7 + 60, 0, 255).astype(np.uint8)


def with_writing(image):
    marked = image.copy()
    marked[38:41, 8:40:4] = 230
    return marked


def with_noise(image):
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def smaller_and_back(image):
    small = Image.fromarray(image).resize((30, 30), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.shape[::-1], Image.Resampling.BICUBIC))


def mirrored(image):
    return image[:, ::-1]


def test_exact_groups():
    names = np.array(["b", "a", "c", "b", "a", "b"])
    assert [g.tolist() for g in exact_groups(names)] == [[0, 3, 5], [1, 4]]
    assert exact_groups(np.array(["x", "y"])) == [] == exact_groups(np.array([], dtype=str))


def test_exact_groups_of_images(faces):
    images = faces[[0, 1, 2, 0]]
    assert [g.tolist() for g in exact_groups(content_ids(images))] == [[0, 3]]


@pytest.mark.parametrize(
    "change", [as_jpeg, brighter, with_writing, with_noise, smaller_and_back, mirrored]
)
def test_a_changed_copy_is_found_among_other_people(faces, change):
    strangers = faces[8::8]  # one face of each person, all neutral
    images = np.concatenate([strangers, [change(faces[11])], faces[11:12]])
    pairs, complete = near_pairs(images)
    n = len(strangers)
    assert complete and [(p.first, p.second) for p in pairs] == [(n, n + 1)]
    assert pairs[0].mirrored == (change is mirrored) and 0.97 <= pairs[0].correlation <= 1.0001


def test_different_people_are_not_near_duplicates(faces):
    assert near_pairs(faces[::8]) == ([], True)


def test_the_same_light_with_other_details_is_another_picture():
    """Such images correlate at 16 px, where details vanish, but not at 32 px."""
    rng = np.random.default_rng(0)
    light = np.add.outer(np.linspace(0, 90, 96), np.linspace(0, 90, 96)) + 40
    images = np.stack([light + rng.normal(0, 20, light.shape) for _ in range(3)])
    images[2] = images[1] + rng.normal(0, 4, light.shape)
    images = images.clip(0, 255).astype(np.uint8)
    coarse = duplicates._unit(duplicates._small(images, 16))
    assert (coarse @ coarse.T).min() > 0.98
    assert [(p.first, p.second) for p in near_pairs(images)[0]] == [(1, 2)]


def test_pictures_of_the_real_set_that_are_almost_the_same(shared, monkeypatch):
    """Two pairs of near duplicates in FER2013, among images that are none."""
    from ferdata.sources.fer2013 import load_fer2013

    images = load_fer2013(shared / "data" / "fer2013" / "fer2013.csv.gz").images
    which = np.array([19303, 31894, 27887, 31115, 0, 1, 2, 3, 4, 5])
    pairs, _ = near_pairs(images[which])
    assert sorted((p.first, p.second) for p in pairs) == [(0, 1), (2, 3)]


def test_pairs_within_one_split_are_left_out(faces):
    images = np.concatenate([faces[:6], brighter(faces[:6])])
    splits = np.array(["train"] * 6 + ["test"] * 3 + ["train"] * 3)
    pairs, _ = near_pairs(images, splits)
    found = {(p.first, p.second) for p in pairs}
    assert {(0, 6), (1, 7), (2, 8)} <= found
    assert not {(3, 9), (4, 10), (5, 11)} & found
    assert all(splits[i] != splits[j] for i, j in found)
    assert near_pairs(images, np.zeros(12)) == ([], True)


@pytest.mark.parametrize("splits", [["a", "b", "c", "a"], ["c", "a", "b", "b"]])
def test_three_splits_give_each_pair_once(faces, splits):
    images = np.stack([faces[3], as_jpeg(faces[3]), brighter(faces[3]), with_noise(faces[3])])
    pairs, _ = near_pairs(images, np.array(splits))
    found = [(p.first, p.second) for p in pairs if not p.mirrored]
    expected = [(i, j) for i in range(4) for j in range(i + 1, 4) if splits[i] != splits[j]]
    assert sorted(found) == expected


def test_pairs_of_one_person_are_left_out_and_of_two_must_correlate_more(faces):
    images = np.stack([faces[0], as_jpeg(faces[0]), with_writing(faces[0])])
    assert near_pairs(images, subjects=np.array(["a", "a", "a"])) == ([], True)
    correlation = {(p.first, p.second): p.correlation for p in near_pairs(images)[0]}
    assert correlation[0, 1] > 0.99 > correlation[0, 2] > 0.97
    pairs, _ = near_pairs(images, subjects=np.array(["a", "b", "c"]))
    assert [(p.first, p.second) for p in pairs] == [(0, 1)]


def test_blocks_leave_no_pair_out(faces, monkeypatch):
    """The result is the same as with all products computed at once."""
    rng = np.random.default_rng(0)
    images = np.concatenate([faces, [with_noise(f) for f in faces[::3]]])
    images = images[rng.permutation(len(images))]
    whole = near_pairs(images)[0]
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_COLUMNS", 11)
    assert [p[:2] for p in near_pairs(images)[0]] == [p[:2] for p in whole]
    coarse = duplicates._unit(duplicates._small(images, 16))
    mirror = coarse.reshape(-1, 16, 16)[:, :, ::-1].reshape(len(coarse), -1)
    fine = duplicates._edges(duplicates._small(images, 32))
    for other, fine_other, kind in ((coarse, fine, False), (mirror, fine[:, :, ::-1], True)):
        wanted = {
            (i, j)
            for i, j in np.argwhere(np.triu(coarse @ other.T >= 0.97, 1)).tolist()
            if (fine[i] * fine_other[j]).sum() >= 0.5
        }
        assert {p[:2] for p in whole if p.mirrored == kind} == wanted and (wanted or kind)


def test_images_without_contrast_are_left_out():
    images = np.full((5, 48, 48), 7, np.uint8)
    images[1:3, :5] = 9
    assert near_pairs(images) == ([], True)
    assert near_pairs(images[:0]) == ([], True)


def test_many_copies_of_one_picture_do_not_fill_the_memory(faces, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 50)
    monkeypatch.setattr(duplicates, "_BLOCK", 16)
    images = np.stack([np.clip(faces[0].astype(int) + i, 0, 255) for i in range(40)])
    pairs, complete = near_pairs(images.astype(np.uint8))
    assert not complete and 0 < len(pairs) <= 100


def test_progress_counts_up(faces):
    seen = []
    near_pairs(faces[:20], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(20, 40), (40, 40)]
