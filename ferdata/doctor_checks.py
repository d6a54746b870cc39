"""What can be wrong with a data set: each check takes a InspectedDataset and yields Findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ferdata.agreement import Agreement, agreement
from ferdata.duplicates import exact_groups, near_pairs
from ferdata.folds import shared_subjects
from ferdata.inspected_dataset import InspectedDataset, Progress
from ferdata.labels import FER2013, FERPLUS8, LabelSpace, label_map
from ferdata.sources.ferplus import N_TAGGERS, plurality

_N_NAMED = 3
_SMOOTH_PX = 48
_SMOOTH_RESIDUAL = 5.0  # grey levels


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    kind      a name for programs, such as "duplicates-across-splits"
    message   a sentence for people, with the first few ids
    n         how many images, pairs or entries it is about
    groups    ids that belong together, one tuple a picture or pair; () if it is about no image
    indices   the same as indices into the inspected's data set, for those that can be shown
    """

    kind: str
    message: str
    n: int
    groups: tuple[tuple[str, ...], ...] = ()
    indices: tuple[tuple[int, ...], ...] = ()


# ---- the images themselves -------------------------------------------------------------------


def unreadable_images(inspected: InspectedDataset) -> Iterator[Finding]:
    """Files that are no picture, or a damaged one."""
    bad = inspected.unreadable
    if bad:
        message = f"{_n(len(bad), 'image')} cannot be read; the first: {bad[0][1]}"
        yield Finding("unreadable-images", message, len(bad), tuple((name,) for name, _ in bad))


def constant_images(inspected: InspectedDataset) -> Iterator[Finding]:
    """Images of one grey, and images so smooth that nothing is drawn on them."""
    constant, blank = _constant(inspected), _blank(inspected)
    if constant.size:
        yield _about(inspected, "constant-images", "of one grey all over", constant)
    if blank.size:
        yield _about(inspected, "blank-images", "almost empty, no edges to speak of", blank)


def _constant(inspected: InspectedDataset) -> np.ndarray:
    flat = inspected.dataset.images.reshape(len(inspected.dataset), -1)
    return np.flatnonzero(flat.max(axis=1) == flat.min(axis=1))


def _blank(inspected: InspectedDataset) -> np.ndarray:
    """Indices of images that a cubic surface describes to within 5 grey levels, on average.

    A face in the dark, min 0 and max 48, still leaves 7.7; constant images are not among them.
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
    """The same picture twice: across splits, under two labels, or merely twice; and nearly so."""
    dataset = inspected.dataset
    split, labels = dataset.split, own_labels(inspected)
    across, other_label, plain = [], [], []
    for group in exact_groups(inspected.hashes):
        if split is not None and len(set(split[group])) > 1:
            across.append(group)
        if labels is not None and len(set(labels[group])) > 1:
            other_label.append(group)
        if split is None or len(set(split[group])) < len(group):
            plain.append(group)
    if across:
        n = int(sum((split[group] != "train").sum() for group in across))
        yield _groups(
            inspected,
            "duplicates-across-splits",
            f"{_n(n, 'image')} outside the training split {_are(n)} also in another split, alike "
            "to the pixel",
            across,
            n,
        )
    if other_label:
        what = f"{_n(len(other_label), 'picture')} stand{_s(other_label)} there under two labels"
        yield _groups(inspected, "duplicates-with-other-labels", what, other_label)
    if plain:
        n = sum(len(g) - 1 for g in plain)
        n -= sum(len(set(split[g])) - 1 for g in plain) if split is not None else 0
        where = "within one split " if split is not None else ""
        what = f"{_n(n, 'image')} repeat{'' if n > 1 else 's'} another {where}to the pixel"
        yield _groups(inspected, "duplicates", what, plain, n)
    yield from _near_duplicates(inspected, progress)


def _near_duplicates(inspected: InspectedDataset, progress: Progress | None) -> Iterator[Finding]:
    """Across splits where there are two, else anywhere; one image for each picture is enough."""
    dataset = inspected.dataset
    split = dataset.split
    if split is not None and len(set(split.tolist())) < 2:
        split = None
    once = np.sort(np.unique(inspected.hashes, return_index=True)[1])
    told = None
    if progress is not None:
        told = lambda done, total: progress("comparing", done, total)  # noqa: E731
    pairs, complete = near_pairs(
        dataset.images[once],
        None if split is None else split[once],
        None if dataset.subjects is None else dataset.subjects[once],
        told,
    )
    if not pairs:
        return
    kind, what = "near-duplicates", "seem to show the same picture"
    if split is not None:
        kind, what = "near-duplicates-across-splits", f"of different splits {what}"
    count = f"{'' if complete else 'more than '}{_n(len(pairs), 'pair')} of images"
    groups = [once[[pair.first, pair.second]] for pair in pairs]
    yield _groups(inspected, kind, f"{count} {what}", groups)


# ---- what is known about them ----------------------------------------------------------------


def published_counts(inspected: InspectedDataset) -> Iterator[Finding]:
    """Counts that are not those of a complete copy."""
    differ = [
        f"{what}: {inspected.counts.get(what, 0):,} instead of {n:,}"
        for what, n in inspected.published.items()
        if inspected.counts.get(what, 0) != n
    ]
    if differ:
        message = f"not the published counts: {'; '.join(differ)}"
        yield Finding("unexpected-counts", message, len(differ))


def empty_classes(inspected: InspectedDataset) -> Iterator[Finding]:
    """Classes of the label space without an image, in all or in a split."""
    labels, dataset = own_labels(inspected), inspected.dataset
    if labels is None:
        return
    for name, mask in [("", np.ones(len(dataset), bool)), *_splits(inspected)]:
        n = np.bincount(labels[mask & (labels >= 0)], minlength=len(dataset.classes))
        empty = [c for c, k in zip(dataset.classes, n) if not k]
        if empty:
            where = f" in split {name!r}" if name else ""
            message = f"no image of {', '.join(empty)}{where}"
            yield Finding("empty-classes", message, len(empty))
            if not name:
                return


def subjects_on_both_sides(inspected: InspectedDataset) -> Iterator[Finding]:
    """People who stand in more than one split."""
    names = shared_subjects(inspected.dataset)
    if names:
        message = (
            f"{_n(len(names), 'subject')} stand{_s(names)} in more than one split: {_listed(names)}"
        )
        yield Finding("shared-subjects", message, len(names), tuple((name,) for name in names))


# ---- votes -----------------------------------------------------------------------------------


def odd_votes(inspected: InspectedDataset) -> Iterator[Finding]:
    """FER+'s votes that cannot be meant as they are."""
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
        yield _about(inspected, "odd-number-of-votes", what, odd)
    empty = np.union1d(_constant(inspected), _blank(inspected))
    emotion = votes[:, : len(FERPLUS8)].sum(axis=1, dtype=np.int64)
    voted = empty[emotion[empty] > N_TAGGERS // 2]
    if voted.size:
        what = "with nothing to see, yet voted to show an emotion (another row's votes?)"
        yield _about(inspected, "votes-on-blank-images", what, voted)
    unlike = [
        group
        for group in exact_groups(inspected.hashes)
        if (np.abs(votes[group].astype(np.int64) - votes[group[0]]).sum(axis=1) > N_TAGGERS).any()
    ]
    if unlike:
        what = f"{_n(len(unlike), 'picture')} repeated with mostly other votes"
        yield _groups(inspected, "duplicates-with-other-votes", what, unlike)
    if dataset.label_space == FER2013:
        mapped = label_map(FERPLUS8, FER2013, allow_lossy=True)
        labels, known = plurality(votes)
        table = np.array([-1 if i is None else i for i in mapped.indices])
        found = agreement(dataset.labels, np.where(known, table[labels], -1), len(FER2013))
        yield from disagreement("votes", "the csv's labels", found, FER2013)


def disagreement(
    who: str, whom: str, found: Agreement | None, space: LabelSpace
) -> Iterator[Finding]:
    """What `agreement` says of two opinions, if it is bad; `who` begins with one of them."""
    if found is None:
        return
    agrees = f"{who}: agree with {whom} on {100 * found.accuracy:.1f} % of {found.n:,} images"
    if found.shift:
        yield Finding(
            f"{who.split()[0]}-shifted",
            f"{agrees}, but on {100 * found.shifted_accuracy:.1f} % when moved by "
            f"{found.shift:+d} rows: is a row missing or doubled?",
            found.n,
        )
    elif found.swapped:
        names = ", ".join(
            f"{space.classes[i]} is called {space.classes[j]}" for i, j in found.swapped.items()
        )
        yield Finding(
            f"{who.split()[0]}-misnamed",
            f"{agrees}, but on {100 * found.swapped_accuracy:.1f} % if {names}: are the classes "
            "in another order?",
            found.n,
        )
    elif found.by_chance:
        yield Finding(
            f"{who.split()[0]}-by-chance",
            f"{agrees}, {100 * found.mean_recall:.1f} % of a class on average: no better than "
            "guessing",
            found.n,
        )


# ---- helpers of the checks -------------------------------------------------------------------


def own_labels(inspected: InspectedDataset) -> np.ndarray | None:
    """int64 (N,): labels, -1 where an image has none of its own; None without labels."""
    dataset = inspected.dataset
    if dataset.labels is None or dataset.has_label is None:
        return dataset.labels
    return np.where(dataset.has_label, dataset.labels, -1)


def _splits(inspected: InspectedDataset) -> list[tuple[str, np.ndarray]]:
    """(name, bool (N,)) of each split that has images."""
    split = inspected.dataset.split
    return [] if split is None else [(name, split == name) for name in np.unique(split).tolist()]


def _about(inspected: InspectedDataset, kind: str, what: str, which: np.ndarray) -> Finding:
    """A finding about single images."""
    return _groups(
        inspected,
        kind,
        f"{_n(len(which), 'image')} {what}",
        [which[i : i + 1] for i in range(len(which))],
    )


def _groups(
    inspected: InspectedDataset,
    kind: str,
    what: str,
    groups: Sequence[np.ndarray],
    n: int | None = None,
) -> Finding:
    """A finding about images that belong together; the first few are named."""
    ids = inspected.dataset.ids
    named = tuple(tuple(ids[group].tolist()) for group in groups)
    shown = [" = ".join(group[:_N_NAMED]) for group in named[:_N_NAMED]]
    message = f"{what}: {', '.join(shown)}{', ...' if len(named) > _N_NAMED else ''}"
    indices = tuple(tuple(int(i) for i in group) for group in groups)
    return Finding(kind, message, len(groups) if n is None else n, named, indices)


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _s(items: Sequence) -> str:
    """The verb's s for one thing."""
    return "s" if len(items) == 1 else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_N_NAMED]) + (", ..." if len(names) > _N_NAMED else "")
