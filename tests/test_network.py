"""Network: its methods, what it refuses, and that its results depend only on the data."""

import copy
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import SMALL_NETWORKS, small_batch, small_network

from tinycnn import (
    Adam,
    Conv2D,
    CrossEntropy,
    Dense,
    DepthwiseConv2D,
    Distillation,
    Flatten,
    GlobalAveragePool2D,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    models,
)
from tinycnn.testing import gradient_error, logit_error

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
EVERY_NETWORK = pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
EPS32 = 2.0**-23


def pixels(n_images, size_px=84, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n_images, size_px, size_px), dtype=np.uint8)


def small(backend="auto", dtype=np.float32, **options):
    """12x12 pictures, two convolutions, five classes: quick, and every kernel is used."""
    layers = [Conv2D(6, 3), ReLU(), MaxPool2D(2), Conv2D(7, 3, stride=2), ReLU()]
    layers += [Flatten(), Dense(9), ReLU(), Dense(5)]
    spec = InputSpec(12, 12, scaling=options.pop("scaling", "unit"))
    return Network(layers, spec, backend=backend, dtype=dtype, **options)


# ---- construction ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(backend="cuda"), ValueError, "backend is 'cuda'; expected one of auto, numba, numpy"),
        (dict(backend=None), ValueError, "backend is None"),
        (dict(dtype=np.float16), ValueError, "dtype is float16; expected float32 or float64"),
        (dict(dtype=np.int32), ValueError, "dtype is int32"),
        (dict(dtype=">f4"), ValueError, "dtype is >f4"),
        (dict(n_threads=0), ValueError, "n_threads is 0"),
        (dict(n_threads=2.0), ValueError, "n_threads is 2.0"),
        (dict(n_threads=True), ValueError, "n_threads is True"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        small(**{"backend": "numpy", **options})


@pytest.mark.parametrize(
    "layers, spec, error, message",
    [
        ([Dense(3)], InputSpec(4, 4), ValueError, "layer dense1.*put Flatten"),
        ([Conv2D(3, 3)], InputSpec(4, 4), ValueError, r"ends in a vector .* \(4, 4, 3\)"),
        ([], InputSpec(4, 4), ValueError, "ends in a vector"),
        (
            [Flatten(), Dense(3)],
            InputSpec(4, 4, classes=("happy", "sad")),
            ValueError,
            "2 class names for 3 logits: happy, sad",
        ),
        ([Flatten, Dense(3)], InputSpec(4, 4), TypeError, "layer 1 is .*Flatten.*expected a layer"),
        ([Flatten(), Dense(3)], (4, 4, 1), TypeError, "input_spec is .*expected an InputSpec"),
    ],
)
def test_layers_and_spec_that_do_not_fit_are_refused(layers, spec, error, message):
    with pytest.raises(error, match=message):
        Network(layers, spec, backend="numpy")


def test_an_unknown_initializer_is_refused():
    with pytest.raises(ValueError, match="weights is 'orthogonal'; expected one of .*he_normal"):
        small("numpy").initialise(np.random.default_rng(0), weights="orthogonal")


def test_depthwise_weights_are_drawn_as_those_of_convolutions_of_one_channel():
    layers = [DepthwiseConv2D((3, 2), depth_multiplier=4), GlobalAveragePool2D()]
    w = Network(layers, InputSpec(8, 8, 50), backend="numpy").parameters["depthwise1.w"]
    limit = np.sqrt(6 / (3 * 2 + 3 * 2 * 4))  # Xavier
    assert 0.98 * limit < np.abs(w).max() <= limit
    assert np.abs(w).reshape(6, 50, 4).max(axis=(0, 2)).min() > 0.6 * limit


def test_unnamed_classes_are_numbered():
    assert small("numpy").classes == ("0", "1", "2", "3", "4")
    layers = [Flatten(), Dense(2)]
    assert Network(layers, InputSpec(4, 4, classes=["a", "b"])).classes == ("a", "b")


def test_parameters_are_views_of_one_vector():
    network = small("numpy")
    assert list(network.parameters) == [
        *("conv1.w", "conv1.b", "conv2.w", "conv2.b"),
        *("dense1.w", "dense1.b", "dense2.w", "dense2.b"),
    ]
    shapes = {name: p.shape for name, p in network.parameters.items()}
    assert shapes["conv1.w"] == (3, 3, 1, 6) and shapes["dense1.w"] == (3 * 3 * 7, 9)
    counted = 9 * 6 + 6 + 9 * 6 * 7 + 7 + 63 * 9 + 9 + 9 * 5 + 5
    assert network.n_parameters == counted == sum(p.size for p in network.parameters.values())
    network.parameter_vector[:] = 7
    assert all((p == 7).all() for p in network.parameters.values())
    network.gradient_vector[:] = 3
    assert all((g == 3).all() for g in network.gradients.values())
    with pytest.raises(TypeError):
        network.parameters["conv1.w"] = np.zeros((3, 3, 1, 6))


def test_first_weights():
    """Weights: uniform within sqrt(6 / (fan_in + fan_out)) (Xavier).  Biases: 0, or N(0, 0.5)."""
    network = models.microexpnet(backend="numpy", seed=3)
    w = network.parameters["dense1.w"]
    limit = (6 / (1152 + 48)) ** 0.5
    assert 0.99 * limit < np.abs(w).max() <= limit
    assert w.std() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert 0.3 < network.parameters["dense1.b"].std() < 0.7  # 48 draws of the paper's N(0, 0.5)
    assert not small("numpy").parameters["dense1.b"].any()


def test_repr_says_what_it_is():
    text = repr(models.microexpnet(backend="numpy"))
    assert "84x84x1" in text and "65,000 parameters" in text and "MaxPool2D" in text


# ---- what forward takes ----------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize(
    "x, error, message",
    [
        (np.zeros((2, 12, 12, 1), np.uint8), TypeError, "x has dtype uint8.*go to predict_proba"),
        (np.zeros((2, 12, 12, 1), np.int64), TypeError, "x has dtype int64; expected floats"),
        (np.zeros((2, 12, 12, 1), complex), TypeError, "x has dtype complex128"),
        (np.zeros((2, 12, 12, 1), object), TypeError, "x has dtype object"),
        ([[0.0]], TypeError, "x is a list; expected a NumPy array"),
        (None, TypeError, "x is a NoneType"),
        (np.zeros((2, 12, 12)), ValueError, r"shape \(2, 12, 12\); expected \(N, 12, 12, 1\)"),
        (np.zeros((12, 12, 1)), ValueError, "expected .N, 12, 12, 1"),
        (np.zeros((2, 12, 11, 1)), ValueError, "expected .N, 12, 12, 1"),
        (np.zeros((2, 12, 12, 3)), ValueError, "expected .N, 12, 12, 1"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_forward_refuses(backend, x, error, message, training):
    with pytest.raises(error, match=message):
        small(backend).forward(x, training=training)


def foreign_arrays(x):
    """The same values in arrays of other layouts, byte orders and dtypes."""
    spread = np.zeros((2 * len(x), 12, 24, 1), x.dtype)[::2, :, ::2]
    spread[:] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    return {
        "fortran": np.asfortranarray(x),
        "big_endian": x.astype(x.dtype.newbyteorder(">")),
        "strided": spread,
        "reversed": x[::-1].copy()[::-1],
        "read_only": frozen,
        "unaligned": unaligned,
        "transposed": np.ascontiguousarray(x.transpose(2, 1, 0, 3)).transpose(2, 1, 0, 3),
    }


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [False, True])
def test_arrays_of_every_layout_give_the_same_logits(backend, dtype, training):
    network = small(backend, dtype)
    x = np.random.default_rng(0).standard_normal((3, 12, 12, 1)).astype(dtype)
    expected = network.forward(x, training=training)
    assert expected.dtype == dtype and expected.shape == (3, 5)
    for make, foreign in foreign_arrays(x).items():
        before = foreign.copy()
        logits = network.forward(foreign, training=training)
        np.testing.assert_array_equal(logits, expected, err_msg=make)
        np.testing.assert_array_equal(foreign, before, err_msg=make)


@BACKENDS
def test_other_precisions_are_converted(backend):
    network = small(backend)
    x = np.random.default_rng(0).standard_normal((3, 12, 12, 1))
    for given_dtype in (np.float16, np.float64, np.longdouble):
        array = x.astype(given_dtype)
        logits = network.forward(array)
        assert logits.dtype == np.float32
        np.testing.assert_array_equal(logits, network.forward(array.astype(np.float32)))


# ---- what backward takes ---------------------------------------------------------------------


@BACKENDS
def test_backward_needs_a_forward_in_training(backend):
    network, dlogits = small(backend), np.ones((2, 5), np.float32)
    x = np.ones((2, 12, 12, 1), np.float32)
    message = r"backward needs a forward\(x, training=True\) before it"
    with pytest.raises(RuntimeError, match=message):
        network.backward(dlogits)
    network.forward(x)
    with pytest.raises(RuntimeError, match=message):
        network.backward(dlogits)
    network.forward(x, training=True)
    network.backward(dlogits)
    with pytest.raises(RuntimeError, match=message):
        network.backward(dlogits)


@BACKENDS
@pytest.mark.parametrize(
    "dlogits, error, message",
    [
        (np.zeros((3, 5)), ValueError, r"dlogits has shape \(3, 5\); expected \(2, 5\)"),
        (np.zeros((2, 4)), ValueError, "expected .2, 5"),
        (np.zeros(10), ValueError, "expected .2, 5"),
        (np.zeros((2, 5), np.int64), TypeError, "dlogits has dtype int64; expected floats"),
        ([[0.0] * 5] * 2, TypeError, "dlogits is a list"),
        (None, TypeError, "dlogits is a NoneType"),
    ],
)
def test_backward_can_be_called_again_after_an_error(backend, dlogits, error, message):
    network = small(backend)
    network.forward(np.ones((2, 12, 12, 1), np.float32), training=True)
    with pytest.raises(error, match=message):
        network.backward(dlogits)
    assert network.backward(np.zeros((2, 5), np.float32)) is None


@BACKENDS
def test_dlogits_of_every_layout_give_the_same_gradients(backend):
    network = small(backend)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 12, 12, 1)).astype(np.float32)
    dlogits = rng.standard_normal((4, 5)).astype(np.float32)
    frozen = dlogits.copy()
    frozen.flags.writeable = False
    found = []
    for array in (dlogits, np.asfortranarray(dlogits), dlogits.astype(">f4"), frozen):
        network.forward(x, training=True)
        dx = network.backward(array, input_gradient=True)
        assert dx.shape == x.shape and dx.dtype == np.float32
        found.append((network.gradient_vector.copy(), dx))
    for gradients, dx in found[1:]:
        np.testing.assert_array_equal(gradients, found[0][0])
        np.testing.assert_array_equal(dx, found[0][1])


@BACKENDS
def test_prediction_between_forward_and_backward_changes_nothing(backend):
    network = small(backend)
    rng = np.random.default_rng(0)
    x, others = rng.standard_normal((2, 6, 12, 12, 1)).astype(np.float32)
    dlogits = rng.standard_normal((6, 5)).astype(np.float32)
    network.forward(x, training=True)
    network.backward(dlogits)
    expected = network.gradient_vector.copy()
    network.forward(x, training=True)
    network.forward(others)
    network.predict_proba(pixels(20, 12))
    network.backward(dlogits)
    np.testing.assert_array_equal(network.gradient_vector, expected)


@BACKENDS
def test_gradients_are_overwritten_not_added_to(backend):
    """Nor does anything of an earlier, larger batch remain in the workspaces."""
    network = small(backend)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 12, 12, 1)).astype(np.float32)
    dlogits = rng.standard_normal((30, 5)).astype(np.float32)

    def gradients(n_images):
        network.forward(x[:n_images], training=True)
        network.backward(dlogits[:n_images])
        return network.gradient_vector.copy()

    first = {n: gradients(n) for n in (1, 7, 9)}
    for gradient in network.gradients.values():
        gradient[:] = np.nan
    gradients(30)
    for n in (9, 1, 7):
        np.testing.assert_array_equal(gradients(n), first[n])


@BACKENDS
def test_an_empty_batch(backend):
    """No images: no logits, gradients of 0, no error."""
    network = small(backend)
    nothing = np.zeros((0, 12, 12, 1), np.float32)
    assert network.forward(nothing).shape == (0, 5)
    network.forward(np.ones((3, 12, 12, 1), np.float32), training=True)
    network.backward(np.ones((3, 5), np.float32))
    assert network.gradient_vector.any()
    logits = network.forward(nothing, training=True)
    assert logits.shape == (0, 5)
    dx = network.backward(np.zeros((0, 5), np.float32), input_gradient=True)
    assert dx.shape == nothing.shape and not network.gradient_vector.any()
    assert network.predict_proba(np.zeros((0, 12, 12), np.uint8)).shape == (0, 5)


@BACKENDS
@EVERY_NETWORK
def test_a_batch_gradient_is_the_sum_of_its_images(name, backend):
    """And without dropout, an image has the logits that it has alone."""
    network = small_network(name, backend)
    x = small_batch(name, 11)
    rng = np.random.default_rng(2)
    dlogits = rng.standard_normal((11, len(network.classes)))
    masks = network.dropout_generator.bit_generator.state
    logits = network.forward(x, training=True)
    dx = network.backward(dlogits, input_gradient=True)
    whole = network.gradient_vector.copy()
    total = np.zeros_like(whole)
    if not any("Dropout" in repr(layer) for layer in network.layers):
        for n in range(11):
            alone = network.forward(x[n : n + 1], training=True)
            np.testing.assert_allclose(alone[0], logits[n], rtol=1e-12, atol=1e-13)
            dx_alone = network.backward(dlogits[n : n + 1], input_gradient=True)
            np.testing.assert_allclose(dx_alone[0], dx[n], rtol=1e-12, atol=1e-13)
            total += network.gradient_vector
        assert gradient_error(total, whole) < 1e-13
    else:  # masks are drawn for the whole batch; the same random state repeats the pass
        network.dropout_generator.bit_generator.state = masks
        np.testing.assert_array_equal(network.forward(x, training=True), logits)
        network.backward(dlogits)
        np.testing.assert_array_equal(network.gradient_vector, whole)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 64 * EPS32)])
@EVERY_NETWORK
def test_both_backends_agree_on_small_networks(name, dtype, tolerance):
    """64 eps: a few layers of sums of at most a hundred terms, added in another order."""
    found = []
    x = small_batch(name, 5, dtype=dtype)
    dlogits = np.random.default_rng(2).standard_normal((5, 8)).astype(dtype)
    for backend in ("numba", "numpy"):
        network = small_network(name, backend, dtype)
        K = len(network.classes)
        logits = network.forward(x, training=True)
        dx = network.backward(dlogits[:, :K], input_gradient=True)
        found.append((network.forward(x), logits, dx, dict(network.gradients)))
    kernels, reference = found
    assert logit_error(kernels[0], reference[0]) <= tolerance
    assert logit_error(kernels[1], reference[1]) <= tolerance
    assert gradient_error(kernels[2], reference[2]) <= tolerance
    for parameter in reference[3]:
        error = gradient_error(kernels[3][parameter], reference[3][parameter])
        assert error <= tolerance, parameter


# ---- prediction ------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("method", ["predict_proba", "predict_logits", "scale"])
@pytest.mark.parametrize(
    "images, error, message",
    [
        (
            np.zeros((2, 12, 12)),
            TypeError,
            "images has dtype float64, values 0 to 0; expected uint8",
        ),
        (
            np.zeros((2, 12, 12), np.uint16),
            TypeError,
            "images has dtype uint16, values 0 to 0; exp",
        ),
        (np.zeros((2, 12, 12), np.int8), TypeError, "images has dtype int8"),
        (np.zeros((2, 12, 12), bool), TypeError, "images has dtype bool"),
        (np.zeros((300, 12, 12)), TypeError, "images has dtype float64"),
        ([np.zeros((12, 12), np.uint8)], TypeError, "images is a list; expected a NumPy array"),
        (None, TypeError, "images is None, which is no picture"),
        (np.zeros((), np.uint8), ValueError, r"images has shape \(\)"),
        (np.zeros((12, 12), np.uint8), ValueError, r"\(12, 12\); expected \(N, 12, 12\): pass a"),
        (np.zeros((2, 12, 13), np.uint8), ValueError, "expected .N, 12, 12"),
        (np.zeros((2, 12, 12, 3), np.uint8), ValueError, "expected .N, 12, 12.: 3 channels"),
        (np.zeros((300, 12, 13), np.uint8), ValueError, "expected .N, 12, 12"),
    ],
)
def test_prediction_refuses(backend, method, images, error, message):
    with pytest.raises(error, match=message):
        getattr(small(backend), method)(images)


@BACKENDS
def test_colour_pictures_have_a_channel_axis(backend):
    network = Network([Flatten(), Dense(3)], InputSpec(4, 5, 3), backend=backend)
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    by_hand = images.reshape(2, 60) @ network.parameters["dense1.w"].astype(np.float64)
    np.testing.assert_allclose(network.predict_logits(images), by_hand, rtol=1e-5, atol=1e-3)
    with pytest.raises(ValueError, match="expected .N, 4, 5, 3"):
        network.predict_proba(images[..., 0])


@BACKENDS
def test_probabilities_are_the_softmax_of_the_logits(backend):
    network = small(backend)
    images = pixels(9, 12)
    probs, logits = network.predict_proba(images), network.predict_logits(images)
    assert probs.dtype == np.float32 and probs.shape == (9, 5)
    exponentials = np.exp(logits.astype(np.float64))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probs, expected, rtol=8 * EPS32)
    np.testing.assert_array_equal(network.predict_proba(images[..., None]), probs)
    forward = network.forward((images[..., None] / 255).astype(np.float32))
    assert logit_error(logits, forward) <= 16 * EPS32  # one more rounding


@BACKENDS
@pytest.mark.parametrize("scaling", ["raw", "unit", "standardized"])
def test_scaling_by_its_definition(backend, scaling):
    network = small(backend, np.float64, scaling=scaling)
    images = pixels(4, 12)
    images[2] = 77  # a constant image: its deviation is 0
    p = images.astype(np.float64)[..., None]
    mean = p.mean(axis=(1, 2, 3), keepdims=True)
    std = np.sqrt(((p - mean) ** 2).mean(axis=(1, 2, 3), keepdims=True))
    expected = {"raw": p, "unit": p / 255, "standardized": (p - mean) / np.maximum(std, 1 / 12)}
    np.testing.assert_allclose(network.scale(images), expected[scaling], rtol=1e-12, atol=1e-12)


@BACKENDS
def test_images_of_every_layout_give_the_same_probabilities(backend, tmp_path):
    network, images = small(backend), pixels(300, 12)
    expected = network.predict_proba(images)
    np.save(tmp_path / "images.npy", images)
    frozen = images.copy()
    frozen.flags.writeable = False
    wide = np.zeros((300, 24, 24), np.uint8)
    wide[:, ::2, ::2] = images
    makes = {
        "fortran": np.asfortranarray(images),
        "read_only": frozen,
        "strided": wide[:, ::2, ::2],
        "mapped": np.load(tmp_path / "images.npy", mmap_mode="r"),
    }
    for make, array in makes.items():
        np.testing.assert_array_equal(network.predict_proba(array), expected, err_msg=make)


@pytest.mark.kernels
def test_an_images_logits_do_not_depend_on_the_batch():
    """The same bits alone, in any batch, in several prediction batches, and in training.  (Not on
    the NumPy backend: there the sums of BLAS depend on the number of rows.)"""
    network = models.microexpnet()
    images = pixels(600)
    whole = network.predict_logits(images)
    assert whole.shape == (600, 8)
    for part in (slice(0, 1), slice(0, 7), slice(5, 69), slice(250, 260), slice(256, 600)):
        np.testing.assert_array_equal(network.predict_logits(images[part]), whole[part])
    np.testing.assert_array_equal(
        network.predict_proba(images)[250:260], network.predict_proba(images[250:260])
    )
    x = network.scale(images[:69])
    np.testing.assert_array_equal(network.forward(x), whole[:69])
    for part in (slice(0, 1), slice(0, 7), slice(5, 69)):
        np.testing.assert_array_equal(network.forward(x[part], training=True), whole[part])
    order = np.random.default_rng(0).permutation(69)
    np.testing.assert_array_equal(network.predict_logits(images[order]), whole[order])


@pytest.mark.kernels
@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 2**32))
def test_any_batch_on_any_number_of_threads(n_images, n_threads, seed):
    """Compared with one image at a time on one thread."""
    images = pixels(n_images, 12, seed)
    alone = SINGLE.predict_logits
    expected = np.concatenate([np.zeros((0, 5), np.float32)] + [alone(i[None]) for i in images])
    network = small(n_threads=n_threads)
    np.testing.assert_array_equal(network.predict_logits(images), expected)


SINGLE = small(n_threads=1)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("n_images", [0, 127, 128, 200, 577])
def test_scaling_on_any_number_of_threads(n_images, n_threads):
    """Enough images for several threads, and remainders."""
    images = pixels(n_images, 12, n_threads)
    expected = images[..., None] / np.float32(255)
    np.testing.assert_allclose(small(n_threads=n_threads).scale(images), expected, rtol=1e-6)
    np.testing.assert_array_equal(small(n_threads=n_threads).scale(images), SINGLE.scale(images))


# ---- NaN -------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("variant", ["v", "p12"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_in_an_image_does_not_affect_other_images(backend, variant, bad):
    network = models.microexpnet(variant, backend=backend)
    x = network.scale(pixels(20))
    clean, clean_training = network.forward(x), network.forward(x, training=True)
    x[5, 40, 40] = bad
    x[13] = bad
    neighbours = [n for n in range(20) if n not in (5, 13)]
    for training, expected in ((False, clean), (True, clean_training)):
        logits = network.forward(x, training=training)
        np.testing.assert_array_equal(logits[neighbours], expected[neighbours])
        if variant == "v":  # no pooling that could drop the NaN
            assert not np.isfinite(logits[[5, 13]]).any()
        assert not np.isfinite(logits[13]).any()
    # no NaN is left in the workspaces
    x = network.scale(pixels(20))
    np.testing.assert_array_equal(network.forward(x), clean)
    np.testing.assert_array_equal(network.forward(x, training=True), clean_training)
    network.backward(np.full((20, 8), 0.1, np.float32))
    assert np.isfinite(network.gradient_vector).all()


# ---- determinism -----------------------------------------------------------------------------


@BACKENDS
def test_one_seed_gives_one_network(backend):
    make = lambda seed, dtype: models.microexpnet(backend=backend, seed=seed, dtype=dtype)  # noqa
    same, again = make(3, np.float32), make(3, np.float32)
    np.testing.assert_array_equal(same.parameter_vector, again.parameter_vector)
    other = make(4, np.float32)
    for name, parameter in other.parameters.items():
        assert (parameter != same.parameters[name]).mean() > 0.99, name
    double = make(3, np.float64)
    for name, parameter in double.parameters.items():
        np.testing.assert_array_equal(parameter.astype(np.float32), same.parameters[name])


def test_no_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    network = models.microexpnet(dropout=0.5)
    network.forward(np.zeros((2, 84, 84, 1), np.float32), training=True)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_dropout_masks_do_not_depend_on_backend_or_precision():
    found = {}
    images = pixels(8)
    for backend in ("numba", "numpy"):
        for dtype in (np.float32, np.float64):
            network = models.microexpnet(
                scaling="standardized", dropout=0.5, backend=backend, dtype=dtype, seed=5
            )
            x = network.scale(images)
            found[backend, dtype] = [network.forward(x, training=True) for _ in range(3)]
            predicted = network.forward(x)
            assert all(logit_error(y, predicted) > 0.01 for y in found[backend, dtype])
    expected = found["numpy", np.float64]
    assert logit_error(expected[0], expected[1]) > 0.01  # every pass draws a new mask
    # The longest sum has 1152 terms: rounding errors grow like its square root, 34.
    tolerance = {np.float32: 16 * EPS32, np.float64: 1e-13}
    for (_, dtype), logits in found.items():
        for got, want in zip(logits, expected):
            assert logit_error(got, want) <= tolerance[dtype]


@BACKENDS
def test_dropout_keeps_the_mean_and_its_share(backend):
    from tinycnn import Dropout

    layers = [Flatten(), Dense(500), Dropout(0.3)]
    network = Network(layers, InputSpec(2, 2), backend=backend, dtype=np.float64)
    network.parameter_vector[:] = 0
    network.parameters["dense1.b"][:] = 1
    y = network.forward(np.zeros((40, 2, 2, 1)), training=True)
    assert set(np.unique(y.astype(np.float32))) == {0, np.float32(1 / 0.7)}
    # 20,000 draws of 0.3: three deviations are 0.0097
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.0097)
    assert len({row.tobytes() for row in y}) == 40
    np.testing.assert_array_equal(network.forward(np.zeros((40, 2, 2, 1))), 1)
    network.forward(np.zeros((40, 2, 2, 1)), training=True)
    dlogits = np.ones((40, 500))
    network.backward(dlogits)


def test_gradients_do_not_depend_on_the_number_of_threads():
    images = pixels(61)
    dlogits = np.random.default_rng(0).standard_normal((61, 8)).astype(np.float32)
    found = []
    for n_threads in (1, 2, 3, 8):
        network = models.microexpnet(n_threads=n_threads, dropout=0.2)
        logits = network.forward(network.scale(images), training=True)
        dx = network.backward(dlogits, input_gradient=True)
        found.append((logits, dx, network.gradient_vector))
    assert np.isfinite(found[0][2]).all() and found[0][2].any()
    for other in found[1:]:
        for mine, first in zip(other, found[0]):
            np.testing.assert_array_equal(mine, first)


# ---- threads and processes -------------------------------------------------------------------


@BACKENDS
def test_threads_may_share_a_network_for_prediction(backend):
    network = small(backend, n_threads=2)
    sizes = [1, 3, 8, 17, 40, 300]
    batches = [pixels(n, 12, seed=n) for n in sizes]
    expected = [network.predict_proba(images) for images in batches]
    fresh = small(backend, n_threads=2)  # the first thread to arrive creates the backend
    barrier = threading.Barrier(6)

    def work(k):
        barrier.wait()
        for turn in range(15):
            which = (k + turn) % len(batches)
            got = fresh.predict_proba(batches[which])
            np.testing.assert_array_equal(got, expected[which])

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work, k) for k in range(6)]:
            future.result(timeout=60)


def test_networks_with_different_thread_counts_run_concurrently():
    """A larger thread pool replaces a smaller one that is in use."""
    images = pixels(64, 12)
    expected = SINGLE.predict_logits(images)

    def work(n_threads):
        network = small(n_threads=n_threads)
        for _ in range(20):
            np.testing.assert_array_equal(network.predict_logits(images), expected)

    from tinycnn import parallel

    parallel._forget_pool()
    with ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(work, n) for n in (2, 3, 4, 5, 6)]:
            future.result(timeout=60)


def test_a_pool_that_was_replaced_still_takes_work():
    """One thread holds the pool while another thread replaces it by a larger one."""
    from tinycnn import parallel

    parallel._forget_pool()
    held = parallel._executor(1)
    parallel._executor(2)
    assert held.submit(lambda: 7).result(timeout=10) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: fork with threads
def test_a_forked_child_predicts():
    network, images = small(n_threads=2), pixels(32, 12)
    expected = network.predict_logits(images)  # creates the thread pool before the fork
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if (network.predict_logits(images) == expected).all() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(network.predict_logits(images), expected)


# ---- training --------------------------------------------------------------------------------


@BACKENDS
def test_eight_images_are_memorised(backend):
    """Loss, gradients, optimizer and network together; the teacher agrees with the labels."""
    network = models.microexpnet(scaling="standardized", bias_std=0, backend=backend, seed=1)
    x, labels = network.scale(pixels(8)), np.arange(8)
    loss, optimizer = CrossEntropy(), Adam(4e-3, backend=backend)
    values = []
    for _ in range(60):
        value, dlogits = loss(network.forward(x, training=True), labels, backend=backend)
        values.append(value)
        network.backward(dlogits)
        optimizer.step(network.parameter_vector, network.gradient_vector)
    assert values[0] > 1.5 and values[-1] < 1e-4
    assert (network.predict_logits(pixels(8)).argmax(axis=1) == labels).all()


def test_eight_raw_images_are_memorised_from_a_teacher():
    """The paper's input and loss: the loss approaches the teacher's entropy, not zero."""
    network = models.microexpnet(seed=1)
    x, labels = network.scale(pixels(8)), np.arange(8)
    teacher = 8.0 * np.eye(8, dtype=np.float32)
    loss, optimizer = Distillation(temperature=4, soft_weight=0.5), Adam(1e-3)
    for _ in range(400):
        value, dlogits = loss(network.forward(x, training=True), labels, teacher)
        network.backward(dlogits)
        optimizer.step(network.parameter_vector, network.gradient_vector)
    # the loss of the teacher's own logits
    p = np.exp(2.0) / (np.exp(2.0) + 7), 1 / (np.exp(2.0) + 7)
    entropy = -p[0] * np.log(p[0]) - 7 * p[1] * np.log(p[1])
    best = 0.5 * np.log1p(7 * np.exp(-8.0)) + 0.5 * entropy
    assert 0 < value - best < 0.01
    assert (network.predict_logits(pixels(8)).argmax(axis=1) == labels).all()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copying_a_network_is_refused_with_advice(duplicate):
    network = models.microexpnet(backend="numpy")
    with pytest.raises(TypeError, match="use tinycnn.save, and tinycnn.load on the file"):
        duplicate(network)
