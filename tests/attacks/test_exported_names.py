"""What an export once wrote wrong, or could not say: names that its template has, NUL in a name,
weights beyond float32.  And softmax at a temperature that a division does not survive."""

import runpy

import numpy as np
import pytest

import tinycnn
from tinycnn import Dense, Flatten, InputSpec, Network, ReLU, losses
from tinycnn.export import c_file, python_file
from tinycnn.formats import onnx

NAMES = (
    "PROGRAM",
    "# <network>\nx",
    "# </weights>",
    '"""',
    "@NAME@",
    "import PROGRAM; PROGRAM.predict",
)


def network(classes=("a", "b", "c"), framing=None, dtype=np.float32, layers=()):
    spec = InputSpec(4, 4, classes=classes, framing=framing)
    return Network([Flatten(), *layers, Dense(len(classes))], spec, dtype=dtype, backend="numpy")


def test_names_of_classes_do_not_meet_the_places_of_the_template(tmp_path):
    one = network(NAMES, framing="PROGRAM # <weights>")
    path = tmp_path / "mine.py"
    path.write_text(python_file.source_of(one, "mine"))
    program = runpy.run_path(str(path))
    assert program["CLASSES"] == NAMES and program["FRAMING"] == "PROGRAM # <weights>"
    assert "mine.predict(images)" in path.read_text()
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    np.testing.assert_allclose(program["logits"](images), one.predict_logits(images), rtol=1e-4)


@pytest.mark.parametrize("given", [dict(classes=("a\0b", "c")), dict(framing="paper\0x")])
def test_nul_in_a_name_is_refused_in_c(tmp_path, given):
    with pytest.raises(ValueError, match="holds NUL, with which a text in C ends"):
        c_file.write(network(**given), tmp_path / "mine.c")
    assert not list(tmp_path.iterdir())


def test_half_of_a_letter_in_a_name_is_refused_in_c(tmp_path):
    """JSON can write one, so a model file can have one."""
    with pytest.raises(ValueError, match=r"'a.udcff' holds half of a letter .* another name"):
        c_file.write(network(("a\udcff", "b")), tmp_path / "mine.c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [1e39, -1e300])
@pytest.mark.parametrize("write", [python_file.write, c_file.write, onnx.save])
def test_weights_beyond_float32_are_refused(tmp_path, write, value):
    one = network(dtype=np.float64)
    one.parameters["dense1.w"][3, 1] = value
    with pytest.raises(ValueError, match=r"dense1.w holds 1e\+.* in size, which is beyond float32"):
        write(one, tmp_path / "mine.c")
    assert not list(tmp_path.iterdir())


def test_an_option_beyond_float32_is_refused(tmp_path):
    one = network(dtype=np.float64, layers=[ReLU(max_value=1e300)])
    with pytest.raises(ValueError, match="is inf in float32; it is not exported"):
        c_file.write(one, tmp_path / "mine.c")


LOGITS = np.array([[1.0, 3.0, -2.0], [5.0, 5.0, -1e30], [0.0, -0.0, 1e-30]], np.float32)


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-300, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_is_the_same_in_both_backends_at_every_temperature(temperature, dtype):
    for function in (tinycnn.softmax, tinycnn.log_softmax):
        found = [function(LOGITS.astype(dtype), temperature, backend=b) for b in ("auto", "numpy")]
        np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
        assert not np.isnan(found[1]).any()
    probs = losses.softmax(LOGITS, 1e-310, backend="numpy")
    np.testing.assert_array_equal(probs, [[0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]])


@pytest.mark.parametrize("temperature", [1e-300, 1e-30])
def test_distillation_is_the_same_in_both_backends_at_small_temperatures(temperature):
    loss = tinycnn.Distillation(temperature, 0.5)
    teacher, labels = LOGITS[:, ::-1].copy(), np.array([0, 1, 2])
    logits = LOGITS.clip(-10, 10)
    values = [loss(logits, labels, teacher.clip(-10, 10), backend=b)[0] for b in ("auto", "numpy")]
    assert values[1] == pytest.approx(values[0], rel=1e-6)
