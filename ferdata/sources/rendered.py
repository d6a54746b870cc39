"""The built-in faces: a labelled data set that is drawn from a seed, with nothing to download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from ferdata import drawing
from ferdata.arguments import check_whole_numbers
from ferdata.dataset import FaceDataset
from ferdata.drawing.expressions import habits, random_action_units, random_view
from ferdata.drawing.face import draw_face
from ferdata.drawing.people import Identity
from ferdata.drawing.seeded_random import SeededRandom
from ferdata.files.cache import cached_by
from ferdata.image_grid import by_class, grid, spread
from ferdata.labels import MICROEXPNET8
from tinycnn.ground.package_files import package_text, source_files

_VALIDATION_EVERY = 5
_DEFAULT = (320, 2, 0, 84)
"""Of the default data set: people, images of each class, seed and size in pixels."""
_CACHE_NAME = "built-in-faces"


def default_faces(
    progress: Callable[[int, int], None] | None = None, *, cache: bool = True
) -> FaceDataset:
    """The default data set: 320 people, 8 classes, 2 images each; 4096 train, 1024 validation.

    No person is in both splits. Drawing takes about ten seconds; the images are then kept in the
    cache (36 MB) until the code that draws them changes. cache=False: it is not used. `progress` as
    in `render_faces`; it is not called if the images are in the cache.
    """

    def draw() -> dict[str, np.ndarray]:
        return {"images": _draw(*_DEFAULT, progress)}

    try:
        code = _drawing_code()
    except OSError:  # the package was installed without its sources
        cache = False
    arrays = cached_by(_CACHE_NAME, _CACHE_NAME, lambda: code, draw) if cache else draw()
    n_subjects, n_per_class, seed, _ = _DEFAULT
    return _described(arrays["images"], n_subjects, n_per_class, seed)


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
    images = _draw(n_subjects, n_per_class, seed, size_px, progress)
    return _described(images, n_subjects, n_per_class, seed)


def _draw(
    n_subjects: int,
    n_per_class: int,
    seed: int,
    size_px: int,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """The images of `render_faces`."""
    classes = MICROEXPNET8.classes
    images = np.empty((n_subjects, len(classes), n_per_class, size_px, size_px), np.uint8)
    for subject in range(n_subjects):
        person, habit = Identity.random(seed, subject), habits(seed, subject)
        for label, emotion in enumerate(classes):
            for number in range(n_per_class):
                rng = SeededRandom(0xF0, seed, subject, label, number)
                units = random_action_units(emotion, rng, habit)
                view = random_view(rng, int(rng.uniform() * 2.0**53))
                images[subject, label, number] = draw_face(person, units, view, size_px)
        if progress is not None:
            progress(subject + 1, n_subjects)
    return images.reshape(-1, size_px, size_px)


def _described(images: np.ndarray, n_subjects: int, n_per_class: int, seed: int) -> FaceDataset:
    """The images of `_draw`, with labels, ids, subjects and split."""
    ids, labels, subjects, split = [], [], [], []
    for subject in range(n_subjects):
        name = f"S{subject:03d}"
        last = subject % _VALIDATION_EVERY == _VALIDATION_EVERY - 1
        for label, emotion in enumerate(MICROEXPNET8.classes):
            for number in range(n_per_class):
                labels.append(label)
                ids.append(f"rendered-{seed}/{name}/{emotion}/{number}")
                subjects.append(name)
                split.append("validation" if last else "train")
    return FaceDataset(
        images=images,
        labels=np.array(labels, np.int64),
        label_space=MICROEXPNET8,
        ids=np.array(ids),
        subjects=np.array(subjects),
        split=np.array(split),
    )


def _drawing_code() -> str:
    """Text that changes with the code that draws the images. Raises OSError without its source."""
    files = source_files(drawing.__name__)
    files.append((__name__, package_text(__package__, "rendered.py").encode()))
    digest = hashlib.sha256(repr(MICROEXPNET8.classes).encode())
    for name, content in files:
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


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
