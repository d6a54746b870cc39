"""Initial values: fan-in and fan-out by hand, mean and variance, one seed gives one network."""

import functools
import math

import numpy as np
import pytest

from tinycnn import init

SHAPES = {(8, 8, 1, 16): (64, 1024), (4, 4, 16, 32): (256, 512), (1152, 48): (1152, 48)}
VARIANCES = {
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_fans_of_microexpnet(shape):
    assert init.fans(shape) == SHAPES[shape]


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("shape", [(4, 4, 16, 32), (1152, 48), (3, 5, 2, 700)])
def test_mean_and_variance(name, shape):
    """The standard error of the mean of n values is sqrt(variance/n); that of the variance is
    sqrt(2/n) of it (normal distribution; less for uniform).  Five standard errors are allowed."""
    fan_in, fan_out = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
    variance = VARIANCES[name](fan_in, fan_out)
    w = getattr(init, name)(np.random.default_rng(1), shape, np.float64)
    assert w.shape == shape
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)
    assert abs(w.var() / variance - 1) < 5 * math.sqrt(2 / w.size)
    limit = math.sqrt(3 * variance)
    if name.endswith("uniform"):
        assert 0.99 * limit < abs(w).max() <= limit
    else:
        assert abs(w).max() > 1.5 * limit


@pytest.mark.parametrize("name", VARIANCES)
def test_one_seed_gives_the_same_network_in_both_dtypes(name):
    initializer = getattr(init, name)
    double = initializer(np.random.default_rng(3), (4, 4, 2, 3), np.float64)
    single = initializer(np.random.default_rng(3), (4, 4, 2, 3))
    other = initializer(np.random.default_rng(4), (4, 4, 2, 3))
    assert double.dtype == np.float64 and single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert (single != other).all()


def test_normal_biases():
    b = init.normal(np.random.default_rng(5), (10_000,), 0.5)
    assert b.dtype == np.float32 and b.shape == (10_000,)
    assert abs(b.mean()) < 5 * 0.5 / 100
    assert abs(b.std() / 0.5 - 1) < 5 / math.sqrt(2 * 10_000)
    np.testing.assert_array_equal(init.normal(np.random.default_rng(5), (3,), 0.0), [0, 0, 0])


def test_all_initializers_have_the_same_signature():
    """initializer(rng, shape, dtype=...), `normal` once its std is set."""
    for initializer in (init.zeros, init.he_normal, functools.partial(init.normal, std=0.5)):
        w = initializer(np.random.default_rng(0), (6, 7), dtype=np.float64)
        assert w.shape == (6, 7) and w.dtype == np.float64 and w.flags.writeable
    rng = np.random.default_rng(0)
    assert not init.zeros(rng, (5,)).any()
    assert rng.random() == np.random.default_rng(0).random()  # zeros uses no random numbers


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 5), (3, 3, 0, 4)])
@pytest.mark.parametrize("name", VARIANCES)
def test_shapes_without_fan_in_and_fan_out(name, shape):
    with pytest.raises(ValueError, match="expected .fan_in, units. or .KH, KW, C, F."):
        getattr(init, name)(np.random.default_rng(0), shape)


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_std_out_of_range(std):
    with pytest.raises(ValueError, match="std="):
        init.normal(np.random.default_rng(0), (3,), std)
