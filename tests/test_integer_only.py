"""Networks in integers alone: the arithmetic by hand, against floats, and the C program's bits."""

import csv
import ctypes
import gzip
import itertools
import math
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import ENGINE_NETWORKS
from test_c_file import SANITIZERS, WARNINGS, library, need
from test_quantized import Square, network_and_images

import ferdata
import tinycnn
from tinycnn import Conv2D, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU
from tinycnn.export import c_compiler, c_file
from tinycnn.layers import UnknownLayerError
from tinycnn.quantized.integer_only import (
    IntegerProgram,
    factors_of,
    logit_scale,
    rescaled,
    standardized_tables,
    weight_factors,
)
from tinycnn.quantized.quantization import Quantization
from tinycnn.testing import logit_error

# ---- the arithmetic ----------------------------------------------------------------------------


def test_factors_are_those_of_tensorflow_lite():
    """quantization_util_test.cc of TensorFlow Lite: QuantizeMultiplier gives (2**30, -1) for 0.25,
    (2**30, 0) for 0.5 and (2**30, 1) for 1 - 5e-12; its shift is 31 less ours."""
    numerators, shifts = factors_of(np.array([0.25, 0.5, 1 - 5e-12]))
    assert numerators.tolist() == [1 << 30] * 3
    assert (31 - shifts).tolist() == [-1, 0, 1]


@given(st.floats(2.0**-31, 2.0**29), st.integers(-(2**31), 2**31 - 1))
def test_a_product_is_rounded_once(m, total):
    """The nearest integer of total M / 2**s, a half upwards; M / 2**s is near m."""
    factors = factors_of(np.array(m))
    ratio = Fraction(int(factors.numerators), 2 ** int(factors.shifts))
    assert abs(ratio / Fraction(m) - 1) <= Fraction(1, 2**31)
    assert int(factors.numerators) < 2**31
    expected = math.floor(total * ratio + Fraction(1, 2))
    assert int(rescaled(np.array(total), factors)) == expected


def test_factors_beyond_the_range():
    """A product with a huge factor is beyond every limit, one with a tiny factor is 0."""
    huge, tiny = factors_of(np.array([1e30, 1e-30]))[0:2], factors_of(np.array(1e-30))
    assert huge[0][0] == 2**31 - 1 and huge[1][0] == 1
    assert int(rescaled(np.array(-(2**31)), tiny)) == 0


def by_hand(operation, q, x, factors):
    """One output picture by equations (2) and (6), in Python's integers."""
    KH, KW, SH, SW, PT, PL, _, _ = operation.step.window
    OH, OW, F = operation.shape
    w, b = operation.arrays["w"], operation.arrays["b"]
    low, high = operation.limits
    y = np.zeros((OH, OW, F), int)
    for i, j, f in itertools.product(range(OH), range(OW), range(F)):
        total = int(b[f])
        for a, e, c in itertools.product(range(KH), range(KW), range(q.shape[2])):
            h, v = i * SH - PT + a, j * SW - PL + e
            if 0 <= h < q.shape[0] and 0 <= v < q.shape[1]:
                total += (int(q[h, v, c]) - x.zero_point) * int(w[a, e, c, f])
        exact = Fraction(total * int(factors.numerators[f]), 2 ** int(factors.shifts[f]))
        y[i, j, f] = min(
            max(math.floor(exact + Fraction(1, 2)) + operation.output.zero_point, low), high
        )
    return y


def test_a_convolution_in_plain_integers():
    layers = [Conv2D(3, (3, 2), stride=(2, 1)), ReLU(0.6), Flatten(), Dense(2)]
    network = Network(layers, InputSpec(6, 5, 2, scaling="standardized"), backend="numpy")
    network.parameters["conv1.b"][:] = [-0.3, 0.1, 0.4]
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 2), dtype=np.uint8)
    program = network.quantized(images).program
    q = program.input.quantized(network.scale(images))
    found = IntegerProgram(program, network.input_spec).outputs(q)[0]
    factors = weight_factors(program, program.operations[0])
    expected = [by_hand(program.operations[0], one, program.input, factors) for one in q]
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 20


@pytest.mark.parametrize("kind", ["noise", "faint", "one value", "one bright pixel"])
def test_standardized_pixels_are_those_of_the_float_arithmetic(kind):
    """At most one apart: floats are rounded twice before the last rounding."""
    rng = np.random.default_rng(0)
    image = {
        "noise": rng.integers(0, 256, (1, 84, 84, 1)),
        "faint": rng.integers(100, 103, (1, 84, 84, 1)),
        "one value": np.full((1, 84, 84, 1), 77),
        "one bright pixel": np.pad([[[[255]]]], ((0, 0), (0, 83), (0, 83), (0, 0))),
    }[kind].astype(np.uint8)
    x = Quantization(np.float32(0.0231), 120)
    values = (image - image.mean()) / max(image.std(), 1 / 84)
    expected = x.quantized(values)
    found = standardized_tables(image, x)[0][image]
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found == expected).mean() > 0.99


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_logits_are_near_those_with_float_rounding(name):
    """A value that is rounded to the neighbour changes a logit by about a hundredth."""
    network, images = network_and_images(name, backend="numpy")
    quantized = network.quantized(images)
    logits = quantized.predict_integer_logits(images)
    assert logits.values.dtype == np.int32 and logits.scale == logit_scale(quantized.program)
    assert logit_error(logits.values * logits.scale, quantized.predict_logits(images)) < 0.03


def test_grey_images_without_a_channel_axis():
    network, images = network_and_images("miniature", backend="numpy")
    quantized = network.quantized(images)
    found = [quantized.predict_integer_logits(x).values for x in (images, images[..., 0])]
    np.testing.assert_array_equal(*found)
    assert quantized.predict_integer_logits(images[:0]).values.shape == (0, 4)


# ---- the C program -----------------------------------------------------------------------------

SANITIZED = ("miniature", "average_pools", "depthwise_multiplier_first", "global_average_last")


def integer_answers(loaded, name, network, images):
    """(logits (N, K) int32, number of the likeliest class (N,))"""
    out = np.full((len(images), len(network.classes)), -99, np.int32)
    classes = []
    for image, row in zip(np.ascontiguousarray(images), out):
        logits, likeliest = (getattr(loaded, f"{name}_{what}") for what in ("logits", "class"))
        logits.restype = None
        logits(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(row.ctypes.data))
        classes.append(likeliest(ctypes.c_void_p(image.ctypes.data)))
    return out, np.array(classes)


def written(quantized, folder, monkeypatch, name="net"):
    with monkeypatch.context() as patch:
        patch.setattr(c_compiler, "compiler", lambda: None)
        return c_file.write(quantized, folder, name, integer_only=True)


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_the_c_program_computes_the_same_integers(tmp_path, monkeypatch, name):
    need("gcc")
    network, images = network_and_images(name, backend="numpy")
    images[-1] = 200  # standardized, it has no deviation
    quantized = network.quantized(images)
    written(quantized, tmp_path, monkeypatch)
    undefined = ["-fsanitize=undefined", SANITIZERS[1]] if name in SANITIZED else []
    loaded = library("gcc", tmp_path, "net", "-O1", *undefined)
    logits, classes = integer_answers(loaded, "net", quantized, images)
    expected = quantized.predict_integer_logits(images).values
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(classes, expected.argmax(1))


@pytest.mark.parametrize("pool", [(2, 2), (3, 2), ((2, 3), (3, 1))])
@pytest.mark.parametrize("F", [1, 5])
def test_poolings_after_a_convolution(tmp_path, monkeypatch, pool, F):
    """Windows that share rows, and windows that leave rows out."""
    need("gcc")
    layers = [Conv2D(F, 3), ReLU(), MaxPool2D(*pool), Flatten(), Dense(3)]
    network = Network(layers, InputSpec(11, 7, 2), backend="numpy", seed=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 11, 7, 2), dtype=np.uint8)
    quantized = network.quantized(images)
    written(quantized, tmp_path, monkeypatch)
    logits, _ = integer_answers(library("gcc", tmp_path, "net"), "net", quantized, images)
    np.testing.assert_array_equal(logits, quantized.predict_integer_logits(images).values)
    whole = "convolution(&conv1" in (tmp_path / "net.c").read_text()
    assert whole == (pool == (3, 2))


def test_microexpnet_fits_a_small_board(tmp_path, monkeypatch):
    """Less than 64 kB of memory and 80 kB of flash: code, weights and tables."""
    need("gcc")
    network = tinycnn.load_pretrained(backend="numpy")
    images = np.random.default_rng(0).integers(0, 256, (4, 84, 84), dtype=np.uint8)
    images[2:] //= np.arange(1, 85, dtype=np.uint8)
    quantized = network.quantized(images)
    program = written(quantized, tmp_path, monkeypatch)
    loaded = library("gcc", tmp_path, "net", "-O2")
    logits, _ = integer_answers(loaded, "net", quantized, images)
    np.testing.assert_array_equal(logits, quantized.predict_integer_logits(images).values)
    # the image in 8 bits, the first layers' output after its pooling, and a row before it
    assert program.n_static_bytes == 84 * 84 + 21 * 21 * 16 + 42 * 16
    assert f"NET_ARENA_BYTES {program.n_static_bytes} " in program.header.read_text()
    command = ["gcc", "-std=c99", "-Os", "-c", "net.c", "-o", "net.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    if shutil.which("size") is None:
        pytest.skip("size (binutils) is not installed")
    table = subprocess.run(["size", "net.o"], cwd=tmp_path, capture_output=True, text=True)
    text, data, bss = map(int, table.stdout.splitlines()[1].split()[:3])
    assert text + data < 80_000 and data + bss < 64_000


def test_there_is_no_float_in_the_program(tmp_path, monkeypatch):
    """gcc's -mgeneral-regs-only has no registers for floats: it refuses a program with any."""
    need("gcc")
    network, images = network_and_images("miniature", backend="numpy")
    quantized = network.quantized(images)
    c_file.write(quantized, tmp_path / "floats.c")
    written(quantized, tmp_path, monkeypatch)
    for name, refused in (("net", False), ("floats", True)):
        command = ["gcc", "-std=c99", "-O2", "-mgeneral-regs-only", "-c", f"{name}.c"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        if "unrecognized" in done.stderr:
            pytest.skip("this gcc has no -mgeneral-regs-only")
        assert (done.returncode != 0) == refused, done.stderr


def test_weights_can_be_given_an_attribute(tmp_path, monkeypatch):
    need("gcc")
    network, images = network_and_images("miniature", backend="numpy")
    written(network.quantized(images), tmp_path, monkeypatch)
    flag = '-DTINYCNN_FLASH=__attribute__((section(".weights")))'
    command = ["gcc", *WARNINGS, flag, "-c", "net.c", "-o", "net.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    if shutil.which("objdump") is None:
        pytest.skip("objdump (binutils) is not installed")
    done = subprocess.run(["objdump", "-h", "net.o"], cwd=tmp_path, capture_output=True, text=True)
    sizes = {
        row.split()[1]: int(row.split()[2], 16) for row in done.stdout.splitlines() if "2**" in row
    }
    assert sizes[".weights"] > 400


def test_it_is_checked_before_it_is_written(tmp_path, monkeypatch):
    need("gcc")
    network, images = network_and_images("miniature", backend="numpy")
    run = c_compiler.run
    monkeypatch.setattr(c_compiler, "run", lambda *given: (run(*given)[0] + 1, run(*given)[1]))
    with pytest.raises(tinycnn.formats.agreement.ExportError, match="are not the network's"):
        c_file.write(network.quantized(images), tmp_path / "net.c", integer_only=True)
    assert not (tmp_path / "net.c").exists()


# ---- what it refuses ---------------------------------------------------------------------------


def test_layers_without_a_form_in_integers_are_named(tmp_path):
    spec = InputSpec(6, 5, 1)
    network = Network([Square(), Flatten(), Dense(2)], spec, backend="numpy", seed=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
    quantized = network.quantized(images)
    with pytest.raises(ValueError, match=r"layer square1 \(Square\) is computed in float32"):
        quantized.predict_integer_logits(images)
    with pytest.raises((ValueError, UnknownLayerError), match=r"square1 \(Square\)"):
        c_file.write(quantized, tmp_path, integer_only=True)
    with pytest.raises(TypeError, match="needs a network in 8-bit integers"):
        c_file.write(network, tmp_path, integer_only=True)


def test_an_image_too_large_to_be_standardized():
    spec = InputSpec(1025, 1024, 1, scaling="standardized")
    network = Network([MaxPool2D(1024), Flatten(), Dense(2)], spec, backend="numpy")
    images = np.random.default_rng(0).integers(0, 256, (1, *spec.shape), dtype=np.uint8)
    with pytest.raises(ValueError, match="the input has 1,049,600 values.*at most 1,048,576"):
        network.quantized(images).predict_integer_logits(images)


# ---- real faces --------------------------------------------------------------------------------


def test_real_faces_keep_their_classes(shared):
    """128 images of FER2013.  docs/quantised.md has the accuracies on PublicTest: floats are better
    by 0.3 points at most, and every class was that of the rounding in float32."""
    with gzip.open(shared / "data" / "fer2013" / "fer2013.csv.gz", "rt") as file:
        rows = list(itertools.islice(csv.DictReader(file), 256))
    pixels = [np.array(row["pixels"].split(), np.uint8).reshape(48, 48) for row in rows]
    images = ferdata.resize_images(np.stack(pixels), 84)
    network = tinycnn.load_pretrained(backend="numpy")
    quantized = network.quantized(images[:128])
    integers = quantized.predict_integer_logits(images[128:]).values.argmax(1)
    assert (integers == quantized.predict_logits(images[128:]).argmax(1)).mean() > 0.98
    assert (integers == network.predict_logits(images[128:]).argmax(1)).mean() > 0.94
