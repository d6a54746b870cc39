"""Files below a data set's folder that are not read, and pictures among them that show the same as
images of the data set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ferdata.doctor.checks import Finding
from ferdata.doctor.duplicates import exact_groups, near_pairs
from ferdata.doctor.inspected_dataset import InspectedDataset, Progress, look_at

_N_NAMED = 3


def unread_files(
    inspected: InspectedDataset, progress: Progress | None = None
) -> Iterator[Finding]:
    """Files that nobody expects to be passed over; pictures that are in the data set as well."""
    unread = inspected.dataset.unread
    if unread is None or not unread.look_wrong:
        return
    files = (*unread.pictures, *unread.others)
    n = len(files) + len(unread.unsearched)
    yield Finding("files-not-read", unread.summary(), n, tuple((path,) for path in files))
    if unread.pictures:
        yield from _copies(inspected, progress)


def _copies(inspected: InspectedDataset, progress: Progress | None) -> Iterator[Finding]:
    """Pictures that are not read and show the same as an image of the data set, exactly or nearly.

    Of pictures that are exactly equal only the first is compared.
    """
    dataset, unread = inspected.dataset, inspected.dataset.unread
    assert unread is not None
    looks = look_at([unread.root / path for path in unread.pictures], progress)
    readable = np.array([i for i in range(len(unread.pictures)) if i not in looks.wrong], np.int64)
    n = len(dataset)
    names = np.concatenate([dataset.ids, np.array(unread.pictures)[readable]])
    hashes = np.concatenate([inspected.hashes, looks.hashes[readable]])
    exact = [group for group in exact_groups(hashes) if group[0] < n <= group[-1]]
    if exact:
        n_copies = sum(int((group >= n).sum()) for group in exact)
        what = f"picture{'s' * (n_copies > 1)} not read, but also in the data set, pixel for pixel"
        yield _finding("duplicates-of-unread-pictures", n_copies, what, exact, names)
    once = np.sort(np.unique(hashes, return_index=True)[1])
    images = np.concatenate([dataset.images, looks.images[readable]])
    pairs, complete = near_pairs(images[once], splits=(once >= n))
    near = [once[[pair.first, pair.second]] for pair in pairs]
    if near:
        more = "" if complete else "more than "
        what = (
            "pairs of a picture that is not read and an image of the data set that seem to show "
            "the same"
        )
        kind = "near-duplicates-of-unread-pictures"
        yield _finding(kind, len(near), what, near, names, more)


def _finding(
    kind: str, n: int, what: str, groups: list[np.ndarray], names: np.ndarray, more: str = ""
) -> Finding:
    named = tuple(tuple(names[group].tolist()) for group in groups)
    shown = ", ".join(" = ".join(group[:_N_NAMED]) for group in named[:_N_NAMED])
    dots = ", ..." if len(named) > _N_NAMED else ""
    return Finding(kind, f"{more}{n:,} {what}: {shown}{dots}", n, named)
