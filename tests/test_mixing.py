"""Mixup and CutMix: images, targets and the teacher's answers are mixed with the same share."""

import math

import numpy as np
import pytest

from ferdata.augment import Augmentation
from ferdata.batches import Batches
from ferdata.dataset import FaceDataset
from ferdata.labels import FERPLUS8
from ferdata.mixing import Mixing

N, K = 13, 8


def batch(height=11, width=7):
    """All pixels of image i are 10 * i, its target is class i % K, its soft labels are random."""
    images = (
        np.full((N, height, width), 1, np.uint8)
        * (10 * np.arange(N, dtype=np.uint8))[:, None, None]
    )
    soft = np.random.default_rng(1).normal(0, 5, (N, K)).astype(np.float32)
    return images, np.eye(K, dtype=np.float32)[np.arange(N) % K], soft


def identity(n=N):
    """Targets in which each image is a class: mixed ones show which images were combined."""
    return np.eye(n, dtype=np.float32)


def shares(targets):
    """(own share, partner) of each row, from mixed `identity` targets."""
    found = []
    for i, row in enumerate(targets):
        others = np.flatnonzero(np.delete(row, i))
        assert len(others) <= 1
        partner = next((j for j in np.flatnonzero(row) if j != i), i)
        found.append((float(row[i]) if partner != i else None, partner))
    return found


def one_share(targets):
    """The share of the batch, and the partner of each row."""
    found = shares(targets)
    known = [share for share, _ in found if share is not None]
    assert known and np.ptp(known) < 1e-6
    return known[0], [partner for _, partner in found]


def softmax(row):
    exponentials = [math.exp(float(v) - max(map(float, row))) for v in row]
    return [e / math.fsum(exponentials) for e in exponentials]


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.7), Mixing(cutmix=1.0), Mixing(0.7, 1.0)])
def test_targets_and_teacher_are_mixed_by_one_share(mixing):
    for seed in range(20):
        images, _, soft = batch()
        _, targets, mixed = mixing(np.random.default_rng(seed), images, identity(), soft)
        share, partners = one_share(targets)
        assert sorted(partners) == list(range(N)) and targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        assert mixed.dtype == np.float32 and np.isfinite(mixed).all()
        for i, j in enumerate(partners):
            first, second = softmax(soft[i]), softmax(soft[j])
            expected = [share * p + (1 - share) * q for p, q in zip(first, second)]
            np.testing.assert_allclose(softmax(mixed[i]), expected, atol=2e-6)


def test_mixup_blends_every_pixel():
    images, _, _ = batch()
    for seed in range(10):
        mixed, targets, soft = Mixing(mixup=1.0)(
            np.random.default_rng(seed), images, identity(), None
        )
        share, partners = one_share(targets)
        assert soft is None and mixed.dtype == np.uint8
        for i, j in enumerate(partners):
            expected = share * 10 * i + (1 - share) * 10 * j
            assert np.ptp(mixed[i]) == 0 and abs(float(mixed[i, 0, 0]) - expected) <= 0.501


def test_cutmix_puts_in_a_box_and_counts_its_pixels():
    images, _, _ = batch()
    sizes = set()
    for seed in range(40):
        mixed, targets, _ = Mixing(cutmix=1.0)(
            np.random.default_rng(seed), images, identity(), None
        )
        share, partners = one_share(targets) if (targets != identity()).any() else (1.0, range(N))
        other = next(i for i, j in enumerate(partners) if i != j) if share < 1 else 0
        box = mixed[other] == 10 * partners[other]
        if share == 1:
            assert (mixed == images).all()
            continue
        rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
        assert box.sum() == len(rows) * len(columns) and np.ptp(rows) + 1 == len(rows)
        assert math.isclose(share, 1 - box.mean(), abs_tol=1e-6)
        for i, j in enumerate(partners):
            assert (mixed[i] == np.where(box, 10 * j, 10 * i)).all()
        sizes.add(int(box.sum()))
    assert len(sizes) > 10


def test_with_both_each_batch_uses_one_of_them():
    images, _, _ = batch()
    mixing = Mixing(mixup=1.0, cutmix=1.0)
    blended = [
        np.ptp(mixing(np.random.default_rng(seed), images, identity(), None)[0][0]) == 0
        for seed in range(60)
    ]
    assert 15 < sum(blended) < 50


class Drawn:
    """A random generator that draws this share, and the next row as the partner."""

    def __init__(self, share):
        self.share = share

    def beta(self, a, b):
        return self.share

    def permutation(self, n):
        return np.roll(np.arange(n), 1)


@pytest.mark.parametrize("share, shift", [(1.0, 0), (0.0, 1)])
def test_shares_of_zero_and_one_give_finite_soft_labels(share, shift):
    images, targets, soft = batch()
    mixed, new_targets, teacher = Mixing(mixup=0.1)(Drawn(share), images, targets, soft)
    which = np.roll(np.arange(N), shift)
    np.testing.assert_array_equal(mixed, images[which])
    np.testing.assert_array_equal(new_targets, targets[which])
    np.testing.assert_array_equal(teacher, soft[which])


def test_a_mean_of_logits_would_say_something_else():
    """Two confident answers, mixed by 0.7 and 0.3, give probabilities of 0.7 and 0.3."""
    images, targets, soft = (part[:2] for part in batch())
    soft = np.zeros((2, K), np.float32)
    soft[0, 2] = soft[1, 5] = 30
    _, _, mixed = Mixing(mixup=1.0)(Drawn(0.7), images, targets, soft)
    np.testing.assert_allclose(softmax(mixed[0])[2], 0.7, atol=1e-6)
    np.testing.assert_allclose(softmax(mixed[0])[5], 0.3, atol=1e-6)


def test_the_inputs_are_not_changed():
    given = batch()
    before = [part.copy() for part in given]
    for mixing in (Mixing(mixup=1.0), Mixing(cutmix=1.0)):
        mixing(np.random.default_rng(0), *given)
    for part, copy in zip(given, before):
        np.testing.assert_array_equal(part, copy)


@pytest.mark.parametrize("options", [dict(mixup=-1), dict(cutmix=101), dict(mixup=float("nan"))])
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match="expected 0 to 100"):
        Mixing(**options)


# ---- in batches ------------------------------------------------------------------------------


def faces():
    rng = np.random.default_rng(0)
    return FaceDataset(
        images=rng.integers(0, 256, (23, 12, 12), dtype=np.uint8),
        ids=np.array([str(i) for i in range(23)]),
        label_space=FERPLUS8,
        labels=np.arange(23) % 8,
        soft_labels=rng.normal(0, 1, (23, 8)).astype(np.float32),
    )


def contents(batches):
    return [[part.tobytes() for part in batch] for batch in batches]


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(0.4, 1.0)])
def test_an_epoch_depends_only_on_seed_and_epoch(mixing):
    settings = dict(batch_size=5, size_px=20, augment=Augmentation(), mix=mixing, seed=5)
    used = Batches(faces(), **settings, n_threads=3)
    list(used(0))
    next(used(1))
    assert contents(used(1)) == contents(Batches(faces(), **settings)(1))
    assert contents(used(1)) != contents(used(2))
    still = dict(batch_size=5, shuffle=False, mix=mixing)
    first = contents(Batches(faces(), **still, seed=5)(1))
    assert first != contents(Batches(faces(), **still, seed=5)(2))
    assert first != contents(Batches(faces(), **still, seed=6)(1))
    unmixed = Batches(faces(), **settings | dict(mix=None))
    assert contents(used(1)) != contents(unmixed(1))


def test_labels_become_distributions_and_no_mixing_changes_nothing():
    _, targets, _ = next(Batches(faces(), mix=Mixing(mixup=1.0))(0))
    assert targets.shape == (23, 8) and targets.dtype == np.float32
    assert contents(Batches(faces(), mix=Mixing())(0)) == contents(Batches(faces())(0))
