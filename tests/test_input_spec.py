"""InputSpec: what it accepts, and that it can be written and read back."""

import json

import numpy as np
import pytest

from tinycnn import InputSpec
from tinycnn.input_spec import SCALINGS


def test_defaults_are_the_papers():
    spec = InputSpec()
    assert spec.shape == (84, 84, 1) and spec.scaling == "raw"
    assert spec.classes == () and spec.framing is None


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(height_px=0), "height_px is 0; expected a whole number of 1 or more"),
        (dict(width_px=84.0), "width_px is 84.0"),
        (dict(channels=-1), "channels is -1"),
        (dict(scaling="RAW"), "scaling is 'RAW'; expected one of raw, unit, standardized"),
        (dict(scaling=None), "scaling is None"),
        (dict(classes=("happy", "sad", "happy")), "expected each name once"),
        (dict(classes=("happy", "")), "expected names"),
        (dict(classes=(1, 2)), "expected names"),
        (dict(classes="happy"), "expected"),
        (dict(classes="abc"), "expected"),
        (dict(framing=7), "framing is 7; expected a name or None"),
        (dict(mean=(1, 2)), r"mean is \(1, 2\); expected a number for each of 1 channels"),
        (dict(mean=0.5), "mean is 0.5; expected a number for each"),
        (dict(mean=("a",)), "mean is .*; expected a number for each"),
        (dict(channels=3, std=(1, 2, 0)), "std is .*; expected a number above 0 for each of 3"),
        (dict(std=(float("nan"),)), "std is .nan,.; expected"),
        (dict(mean=(float("inf"),)), "mean is .inf,.; expected"),
        (dict(std=(1,), scaling="standardized"), "std is given with scaling 'standardized'"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        InputSpec(**values)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_config_survives_json(scaling):
    spec = InputSpec(48, 40, 3, scaling=scaling, classes=["sad", "happy"], framing="fer2013")
    again = InputSpec(**json.loads(json.dumps(spec.config())))
    assert again == spec
    assert again.classes == ("sad", "happy") and again.shape == (48, 40, 3)


def test_sizes_may_be_numpy_integers():
    spec = InputSpec(np.int64(48), np.int32(40))
    assert spec == InputSpec(48, 40)
    assert json.dumps(spec.config()) == json.dumps(InputSpec(48, 40).config())


def test_equal_specs_compare_equal():
    with pytest.raises(AttributeError):
        InputSpec().scaling = "unit"
    assert len({InputSpec(classes=("a", "b")), InputSpec(classes=["a", "b"])}) == 1


def test_means_and_deviations_of_channels():
    spec = InputSpec(4, 4, 3, scaling="unit", mean=np.array([0.5, 0.25, 1], np.float32))
    assert spec.mean == (0.5, 0.25, 1.0) and spec.std == ()
    np.testing.assert_array_equal(spec.normalization(), [[0.5, 0.25, 1], [1, 1, 1]])
    only_std = InputSpec(4, 4, 2, std=(1, 2))
    np.testing.assert_array_equal(only_std.normalization(), [[0, 0], [1, 2]])
    for one in (spec, only_std):
        assert InputSpec(**json.loads(json.dumps(one.config()))) == one


def test_without_them_a_config_is_what_it_was_before_there_were_any():
    """So files are written as by releases that did not have them."""
    assert list(InputSpec().config()) == [
        *("height_px", "width_px", "channels", "scaling", "classes", "framing")
    ]
    assert InputSpec().normalization().shape == (2, 0)
