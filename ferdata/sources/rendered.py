"""The built-in faces: a labelled data set that is drawn from a seed, with nothing to download."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ferdata.arguments import check_whole_numbers
from ferdata.dataset import FaceDataset
from ferdata.drawing.expressions import habits, random_action_units, random_view
from ferdata.drawing.face import draw_face
from ferdata.drawing.people import Identity
from ferdata.drawing.seeded_random import SeededRandom
from ferdata.image_grid import by_class, grid, spread
from ferdata.labels import MICROEXPNET8

_VALIDATION_EVERY = 5


def default_faces(progress: Callable[[int, int], None] | None = None) -> FaceDataset:
    """The default data set: 320 people, 8 classes, 2 images each; 4096 train, 1024 validation.

    No person is in both splits. Takes about ten seconds; `progress` as in `render_faces`.
    """
    return render_faces(progress=progress)


def render_faces(
    n_subjects: int = 320,
    n_per_class: int = 2,
    *,
    seed: int = 0,
    size_px: int = 84,
    progress: Callable[[int, int], None] | None = None,
) -> FaceDataset:
    """Draw `n_per_class` images of every class for each of `n_subjects` people.

    Returns n_subjects * 8 * n_per_class images, uint8 (N, size_px, size_px), in label space
    MICROEXPNET8, ordered by subject, class and number, with ids such as "rendered-0/S012/happy/3".
    Every fifth subject (S004, S009, ...) is in split "validation", the others in "train". An image
    depends only on seed, subject, class, number and size_px, so the first images stay the same when
    more are drawn. `progress(done, n_subjects)` is called after each subject. Raises ValueError for
    counts below 1, a negative seed, or a size below 16.
    """
    check_whole_numbers(1, n_subjects=n_subjects, n_per_class=n_per_class)
    check_whole_numbers(0, seed=seed)
    check_whole_numbers(16, size_px=size_px)
    classes = MICROEXPNET8.classes
    n = n_subjects * len(classes) * n_per_class
    images = np.empty((n, size_px, size_px), np.uint8)
    labels: list[int] = []
    ids, subjects, split = [], [], []
    for subject in range(n_subjects):
        person, habit = Identity.random(seed, subject), habits(seed, subject)
        name = f"S{subject:03d}"
        for label, emotion in enumerate(classes):
            for number in range(n_per_class):
                rng = SeededRandom(0xF0, seed, subject, label, number)
                units = random_action_units(emotion, rng, habit)
                view = random_view(rng, int(rng.uniform() * 2.0**53))
                images[len(labels)] = draw_face(person, units, view, size_px)
                labels.append(label)
                ids.append(f"rendered-{seed}/{name}/{emotion}/{number}")
                subjects.append(name)
                last = subject % _VALIDATION_EVERY == _VALIDATION_EVERY - 1
                split.append("validation" if last else "train")
        if progress is not None:
            progress(subject + 1, n_subjects)
    return FaceDataset(
        images=images,
        labels=np.array(labels, np.int64),
        label_space=MICROEXPNET8,
        ids=np.array(ids),
        subjects=np.array(subjects),
        split=np.array(split),
    )


def contact_sheet(dataset: FaceDataset, n_columns: int = 12, gap_px: int = 2) -> np.ndarray:
    """uint8 (H, W): a row of up to `n_columns` images for each class, evenly chosen, on white.

    Rows follow `dataset.label_space`, then come images without a label, if there are any; without
    labels there is one row. Raises ValueError if `n_columns` is below 1 or `gap_px` below 0.
    """
    check_whole_numbers(1, n_columns=n_columns)
    check_whole_numbers(0, gap_px=gap_px)
    rows = [members[spread(len(members), n_columns)] for _, members in by_class(dataset)]
    tiles = np.full((len(rows), n_columns, *dataset.images.shape[1:]), 255, np.uint8)
    for row, chosen in zip(tiles, rows):
        row[: len(chosen)] = dataset.images[chosen]
    return grid(np.concatenate(tiles), n_columns, gap_px)
