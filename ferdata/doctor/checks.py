"""What can be wrong with a data set. Each check takes a InspectedDataset and yields Findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ferdata.doctor.duplicates import exact_groups, near_pairs
from ferdata.doctor.inspected_dataset import InspectedDataset, Progress
from ferdata.folds import shared_subjects
from ferdata.labels import FER2013, FERPLUS8, label_map
from ferdata.sources.ferplus import N_TAGGERS, plurality
from ferdata.teachers.agreement import Agreement, agreement

_N_NAMED = 3
_SMOOTH_PX = 48
_SMOOTH_RESIDUAL = 5.0  # grey levels


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    kind      a name for programs, such as "duplicates-across-splits"
    message   one sentence for people, with the first few ids
    n         number of images, pairs or entries concerned
    groups    ids of the images, one tuple for each image or group; () if it is not about images
    indices   the same groups as indices into the inspected's data set; () if they are not in it
    """

    kind: str
    message: str
    n: int
    groups: tuple[tuple[str, ...], ...] = ()
    indices: tuple[tuple[int, ...], ...] = ()


# ---- the images themselves -------------------------------------------------------------------


def unreadable_images(inspected: InspectedDataset) -> Iterator[Finding]:
    """Files that are damaged, or not images at all."""
    bad = inspected.unreadable
    if bad:
        message = f"{_count(len(bad), 'image')} cannot be read; the first: {bad[0][1]}"
        yield Finding("unreadable-images", message, len(bad), tuple((name,) for name, _ in bad))


def constant_images(inspected: InspectedDataset) -> Iterator[Finding]:
    """Images with one grey value everywhere, and images without any visible edges."""
    constant, blank = _constant(inspected), _blank(inspected)
    if constant.size:
        what = "with the same grey value everywhere"
        yield _images_finding(inspected, "constant-images", what, constant)
    if blank.size:
        what = "almost blank, without visible edges"
        yield _images_finding(inspected, "blank-images", what, blank)


def _constant(inspected: InspectedDataset) -> np.ndarray:
    """Indices of images whose pixels are all equal."""
    flat = inspected.dataset.images.reshape(len(inspected.dataset), -1)
    return np.flatnonzero(flat.max(axis=1) == flat.min(axis=1))


def _blank(inspected: InspectedDataset) -> np.ndarray:
    """Indices of images that a smooth surface fits, without those of `_constant`.

    The surface is a cubic polynomial of the pixel's position, fitted by least squares. An image is
    blank if the root mean square of what remains is below 5 grey levels. It is 7.7 for a face in
    the dark (grey values 0 to 48).
    """
    images = inspected.dataset.images
    step = [max(1, side // _SMOOTH_PX) for side in images.shape[1:]]
    small = images[:, :: step[0], :: step[1]]
    v, u = (np.linspace(-1, 1, n) for n in small.shape[1:])
    terms = [np.outer(v**i, u**j).ravel() for i in range(4) for j in range(4 - i)]
    basis = np.linalg.qr(np.stack(terms, axis=1))[0].astype(np.float32)
    found = []
    for start in range(0, len(small), 4096):
        flat = small[start : start + 4096].reshape(-1, basis.shape[0]).astype(np.float32)
        rest = flat - (flat @ basis) @ basis.T
        found.append(np.sqrt((rest * rest).mean(axis=1)))
    return np.setdiff1d(
        np.flatnonzero(np.concatenate(found) < _SMOOTH_RESIDUAL), _constant(inspected)
    )


def duplicates(inspected: InspectedDataset, progress: Progress | None = None) -> Iterator[Finding]:
    """Images that occur more than once, exactly or nearly.

    Exact copies in different splits, with different labels and in one split are separate findings.
    """
    split, labels = inspected.dataset.split, inspected.dataset.known_labels
    across, other_labels, same_split = [], [], []
    n_across = n_repeats = 0
    for group in exact_groups(inspected.hashes):
        n_splits = 1
        if split is not None:
            n_splits = len(set(split[group]))
            if n_splits > 1:
                across.append(group)
                n_across += int((split[group] != "train").sum())
        if labels is not None and len(set(labels[group])) > 1:
            other_labels.append(group)
        if n_splits < len(group):
            same_split.append(group)
            n_repeats += len(group) - n_splits
    if across:
        what = (
            f"{_count(n_across, 'image')} outside the training split {_are(n_across)} also in "
            "another split, pixel for pixel"
        )
        yield _groups_finding(inspected, "duplicates-across-splits", what, across, n_across)
    if other_labels:
        what = f"{_count(len(other_labels), 'image')} repeated with different labels"
        yield _groups_finding(inspected, "duplicates-with-other-labels", what, other_labels)
    if same_split:
        where = " in the same split" if split is not None else ""
        what = f"{_count(n_repeats, 'image')} repeated{where}, pixel for pixel"
        yield _groups_finding(inspected, "duplicates", what, same_split, n_repeats)
    yield from _near_duplicates(inspected, progress)


def _near_duplicates(inspected: InspectedDataset, progress: Progress | None) -> Iterator[Finding]:
    """Pairs from different splits, or from anywhere if there is only one split.

    Of images that are exactly equal only the first is compared.
    """
    dataset = inspected.dataset
    split = dataset.split
    if split is not None and len(set(split.tolist())) < 2:
        split = None
    once = np.sort(np.unique(inspected.hashes, return_index=True)[1])
    report = None
    if progress is not None:
        report = lambda done, total: progress("comparing", done, total)
    pairs, complete = near_pairs(
        dataset.images[once],
        None if split is None else split[once],
        None if dataset.subjects is None else dataset.subjects[once],
        report,
    )
    if not pairs:
        return
    kind, what = "near-duplicates", "seem to show the same picture"
    if split is not None:
        kind, what = "near-duplicates-across-splits", f"from different splits {what}"
    count = f"{'' if complete else 'more than '}{_count(len(pairs), 'pair')} of images"
    groups = [once[[pair.first, pair.second]] for pair in pairs]
    yield _groups_finding(inspected, kind, f"{count} {what}", groups)


# ---- what is known about them ----------------------------------------------------------------


def published_counts(inspected: InspectedDataset) -> Iterator[Finding]:
    """Counts that are not those of a complete copy."""
    differ = [
        f"{what}: {inspected.counts.get(what, 0):,} instead of {n:,}"
        for what, n in inspected.published.items()
        if inspected.counts.get(what, 0) != n
    ]
    if differ:
        message = f"the counts are not the published ones: {'; '.join(differ)}"
        yield Finding("unexpected-counts", message, len(differ))


def empty_classes(inspected: InspectedDataset) -> Iterator[Finding]:
    """Classes of the label space without images, in the data set or in one split."""
    dataset = inspected.dataset
    labels = dataset.known_labels
    if labels is None:
        return
    split = dataset.split
    splits = [] if split is None else np.unique(split).tolist()
    for name in ["", *splits]:
        part = labels[split == name] if name else labels
        n = np.bincount(part[part >= 0], minlength=len(dataset.classes))
        empty = [c for c, k in zip(dataset.classes, n) if not k]
        if empty:
            where = f" in split {name!r}" if name else ""
            message = f"no image of {', '.join(empty)}{where}"
            yield Finding("empty-classes", message, len(empty))
            if not name:
                return


def subjects_on_both_sides(inspected: InspectedDataset) -> Iterator[Finding]:
    """People who are in more than one split."""
    names = shared_subjects(inspected.dataset)
    if names:
        shown = ", ".join(names[:_N_NAMED]) + (", ..." if len(names) > _N_NAMED else "")
        what = f"{_count(len(names), 'subject')} {_are(len(names))} in more than one split"
        message = f"{what}: {shown}"
        yield Finding("shared-subjects", message, len(names), tuple((name,) for name in names))


# ---- votes -----------------------------------------------------------------------------------


def odd_votes(inspected: InspectedDataset) -> Iterator[Finding]:
    """Votes of FER+ that cannot be right, or do not fit the images."""
    if inspected.votes_error:
        yield Finding("votes-do-not-fit", f"votes: {inspected.votes_error}", 1)
    votes, dataset = inspected.votes, inspected.dataset
    if votes is None:
        return
    total = votes.sum(axis=1, dtype=np.int64)
    odd = np.flatnonzero(total != N_TAGGERS)
    if odd.size:
        counts = ", ".join(str(n) for n in np.unique(total[odd]))
        what = f"with {counts} votes instead of {N_TAGGERS}"
        yield _images_finding(inspected, "odd-number-of-votes", what, odd)
    empty = np.union1d(_constant(inspected), _blank(inspected))
    emotion = votes[:, : len(FERPLUS8)].sum(axis=1, dtype=np.int64)
    voted = empty[emotion[empty] > N_TAGGERS // 2]
    if voted.size:
        what = "almost blank, yet most of the votes name an emotion (another row's votes?)"
        yield _images_finding(inspected, "votes-on-blank-images", what, voted)
    unlike = [
        group
        for group in exact_groups(inspected.hashes)
        if (np.abs(votes[group].astype(np.int64) - votes[group[0]]).sum(axis=1) > N_TAGGERS).any()
    ]
    if unlike:
        what = f"{_count(len(unlike), 'image')} repeated with mostly different votes"
        yield _groups_finding(inspected, "duplicates-with-other-votes", what, unlike)
    if dataset.label_space == FER2013 and dataset.labels is not None:
        mapped = label_map(FERPLUS8, FER2013, allow_lossy=True)
        labels, known = plurality(votes)
        table = np.array([-1 if i is None else i for i in mapped.indices])
        found = agreement(dataset.labels, np.where(known, table[labels], -1), len(FER2013))
        yield from disagreement("votes", "votes", "the csv's labels", found, FER2013.classes)


def disagreement(
    prefix: str, who: str, others: str, found: Agreement | None, classes: Sequence[str]
) -> Iterator[Finding]:
    """What is wrong if two opinions on the same images do not agree.

    prefix   "votes" or "teacher": how the finding's kind begins
    who      whose opinion is checked, for the message
    others   what it is compared with, for the message
    found    the result of `agreement`, None if there were too few images
    classes  class names in label order
    """
    if found is None:
        return
    if found.shift:
        kind = "shifted"
        what = (
            f", but {100 * found.shifted_accuracy:.1f} % when moved by {found.shift:+d} rows: is a "
            "row missing or doubled?"
        )
    elif found.swapped:
        kind = "misnamed"
        names = [f"{classes[i]} is called {classes[j]}" for i, j in found.swapped.items()]
        what = (
            f", but {100 * found.swapped_accuracy:.1f} % if {', '.join(names)}: are the classes in "
            "another order?"
        )
    elif found.by_chance:
        kind = "by-chance"
        what = f", {100 * found.mean_recall:.1f} % per class on average: no better than guessing"
    else:
        return
    agrees = f"{who}: {100 * found.accuracy:.1f} % agreement with {others} on {found.n:,} images"
    yield Finding(f"{prefix}-{kind}", agrees + what, found.n)


# ---- used by the checks ----------------------------------------------------------------------


def _images_finding(
    inspected: InspectedDataset, kind: str, what: str, which: np.ndarray
) -> Finding:
    """A finding about single images. which: their indices."""
    what = f"{_count(len(which), 'image')} {what}"
    return _groups_finding(inspected, kind, what, [which[i : i + 1] for i in range(len(which))])


def _groups_finding(
    inspected: InspectedDataset,
    kind: str,
    what: str,
    groups: Sequence[np.ndarray],
    n: int | None = None,
) -> Finding:
    """A finding about groups of images that belong together; its message names the first few.

    n  its count; None: the number of groups
    """
    ids = inspected.dataset.ids
    named = tuple(tuple(ids[group].tolist()) for group in groups)
    shown = [" = ".join(group[:_N_NAMED]) for group in named[:_N_NAMED]]
    message = f"{what}: {', '.join(shown)}{', ...' if len(named) > _N_NAMED else ''}"
    indices = tuple(tuple(int(i) for i in group) for group in groups)
    return Finding(kind, message, len(groups) if n is None else n, named, indices)


def _count(n: int, what: str) -> str:
    """ "1 image", "2 images"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
