"""What `fit` once trained on, or left untrained, without a word."""

import gc
import warnings

import numpy as np
import pytest

import ferdata
import tinycnn
from ferdata.photos.faces import FaceImages
from tinycnn import Callback, CrossEntropy, Dense, Flatten, InputSpec, Network, Validation

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 6, 6), dtype=np.uint8)
LABELS = np.arange(20) % 3


def network():
    return Network([Flatten(), Dense(3)], InputSpec(6, 6), backend="numpy")


class TwoBatches:
    """Two batches of ten images."""

    def __init__(self, n_batches=2, n_images=20):
        self.n_batches, self.n_images = n_batches, n_images

    def __call__(self, epoch):
        return iter([(IMAGES[:10], LABELS[:10], None), (IMAGES[10:], LABELS[10:], None)])


class OnlyOnce(TwoBatches):
    """The iterator of the first epoch is empty in the second."""

    def __init__(self):
        super().__init__()
        self.batches = super().__call__(0)

    def __call__(self, epoch):
        return self.batches


def untrained(one):
    return (one.parameter_vector == network().parameter_vector).all()


@pytest.mark.parametrize("data", [(IMAGES[:0], LABELS[:0]), Validation(IMAGES[:0], LABELS[:0])])
def test_validation_without_images_is_refused(data):
    """Its accuracy is NaN, and no epoch is better than that."""
    one = network()
    with pytest.raises(ValueError, match="no images"):
        tinycnn.fit(one, IMAGES, LABELS, validation_data=data)
    assert untrained(one)


def test_a_score_of_no_images_is_refused():
    with pytest.raises(ValueError, match="there are no images to score"):
        tinycnn.evaluate(network(), IMAGES[:0], LABELS[:0])


@pytest.mark.parametrize("once", [OnlyOnce(), lambda epoch, batches=OnlyOnce()(0): batches])
def test_batches_that_can_be_read_only_once_are_refused(once):
    with pytest.raises(ValueError, match="epoch 1 has no images: the batches gave none.  A gener"):
        tinycnn.fit(network(), once, epochs=3)


@pytest.mark.parametrize("callbacks", [(c for c in [Callback()]), iter([Callback()])])
@pytest.mark.parametrize("verbose", [False, True])
def test_callbacks_that_can_be_read_only_once_are_refused(callbacks, verbose):
    one = network()
    with pytest.raises(TypeError, match="callbacks is a .*; expected a list of callbacks"):
        tinycnn.fit(one, IMAGES, LABELS, callbacks=callbacks, verbose=verbose)
    assert untrained(one)


@pytest.mark.parametrize("promised", [(3, 20), (1, 20), (2, 21), (7, 100)])
def test_batches_that_give_other_numbers_than_they_say_are_refused(promised):
    message = f"epoch 0 had 2 batches with 20 images; .* are {promised[0]} and {promised[1]}: exp"
    with pytest.raises(ValueError, match=message):
        tinycnn.fit(network(), TwoBatches(*promised), epochs=2)


@pytest.mark.parametrize("n_batches", [-1, 2.5, None])
def test_a_number_of_batches_that_is_none_is_refused_before_training(n_batches):
    one = network()
    with pytest.raises(ValueError, match="batches.n_batches is .*; expected a whole number"):
        tinycnn.fit(one, TwoBatches(n_batches), epochs=2)
    assert untrained(one)


@pytest.mark.parametrize("which", range(3))
def test_masked_images_labels_and_soft_labels_are_refused(which):
    """Of the other arrays, see tests/test_array_arguments.py."""
    arrays = [IMAGES, LABELS, np.zeros((20, 3), np.float32)]
    arrays[which] = np.ma.masked_array(arrays[which], mask=arrays[which] == arrays[which].flat[0])
    one = network()
    with pytest.raises(TypeError, match="has masked values"):
        tinycnn.fit(one, *arrays[:2], soft_labels=arrays[2])
    assert untrained(one)


def test_a_training_that_nobody_iterates_over_warns():
    options = dict(loss=CrossEntropy(), optimizer=tinycnn.Adam(), n_epochs=2)
    with pytest.warns(RuntimeWarning, match="nothing was trained: iter_epochs trains while its"):
        tinycnn.iter_epochs(network(), TwoBatches(), **options)
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = tinycnn.iter_epochs(network(), TwoBatches(), **options)
        assert next(records).epoch == 0
        records.close()
        assert list(records) == []
        assert len(list(tinycnn.iter_epochs(network(), TwoBatches(), **options))) == 2
        del records
        gc.collect()


def framed(framing, n=2):
    images = np.full((n, 84, 84), 90, np.uint8).view(FaceImages)
    images[:, :40] = 30
    images.framing = framing
    return images


JOINS = [
    lambda parts: np.concatenate(parts),
    lambda parts: np.vstack(parts),
    lambda parts: np.append(*parts, axis=0),
    lambda parts: np.stack(parts)[0],
    lambda parts: np.concatenate([np.asarray(parts[0]), parts[1]]),
]


@pytest.mark.parametrize("join", JOINS)
def test_joined_faces_keep_their_framing(join):
    """The network that they are given to can refuse another one."""
    joined = join([framed("paper"), framed("paper")])
    assert joined.framing == "paper"
    other = Network([Flatten(), Dense(3)], InputSpec(84, 84, framing="fer2013"), backend="numpy")
    with pytest.raises(ValueError, match="cut with framing 'paper', but the network was trained"):
        other.classify(joined)


@pytest.mark.parametrize("join", JOINS[:4])
def test_faces_of_two_framings_cannot_be_joined(join):
    with pytest.raises(ValueError, match="cut with the framings fer2013 and paper: cut them again"):
        join([framed("paper"), framed("fer2013")])


def test_other_functions_of_numpy_work_on_faces():
    images = framed("paper")
    assert np.flip(images, axis=2).framing == images[1:].framing == "paper"
    assert np.mean(images) == np.mean(np.asarray(images))
    assert np.array_equal(images, np.asarray(images))
    assert ferdata.content_ids(images).shape == (2,)
