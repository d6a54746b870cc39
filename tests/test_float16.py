"""Weights stored as float16: half the size, rounded once, float32 again when loaded."""

import os

import numpy as np
import pytest
from exported import candidate, images_for

import tinycnn
from tinycnn.formats import safetensors as model_file
from tinycnn.formats.safetensors import ModelFileError
from tinycnn.testing import logit_error


def test_half_the_size_and_the_nearest_numbers(tmp_path):
    network = candidate()
    network.calibration_temperature, network.training_summary = 1.5, {"epoch": 3}
    tinycnn.save(network, tmp_path / "single")
    tinycnn.save(network, tmp_path / "half", dtype="float16")
    single, half = (os.path.getsize(tmp_path / name) for name in ("single", "half"))
    assert single - half == 2 * network.n_parameters
    assert half < 135_000
    again = tinycnn.load(tmp_path / "half", backend="numpy")
    assert again.dtype == np.float32 and again.layers == network.layers
    assert again.input_spec == network.input_spec and again.training_summary == {"epoch": 3}
    assert again.calibration_temperature == 1.5
    for name, parameter in network.parameters.items():
        step = np.spacing(np.abs(parameter).astype(np.float16)).astype(np.float32)
        assert np.all(np.abs(again.parameters[name] - parameter) <= step / 2 * 1.001), name
        assert np.any(again.parameters[name] != parameter), name
    images = images_for(network)
    error = logit_error(again.predict_logits(images), network.predict_logits(images))
    assert 0 < error < 5e-3


def test_saving_again_as_float16_changes_nothing(tmp_path):
    tinycnn.save(candidate(), tmp_path / "half", dtype=np.float16)
    again = tinycnn.load(tmp_path / "half", backend="numpy")
    assert model_file.to_bytes(again, dtype="float16") == (tmp_path / "half").read_bytes()


def test_infinity_and_nan_are_kept(tmp_path):
    network = candidate()
    network.parameters["dense2.b"][:3] = [np.inf, -np.inf, np.nan]
    tinycnn.save(network, tmp_path / "half", dtype="float16")
    found = tinycnn.load(tmp_path / "half", backend="numpy").parameters["dense2.b"][:3]
    np.testing.assert_array_equal(found, np.float32([np.inf, -np.inf, np.nan]))


def test_a_weight_too_large_for_float16_is_named_and_nothing_is_written(tmp_path):
    network = candidate()
    network.parameters["conv2.w"][1, 2, 3, 4] = -70_000
    with pytest.raises(ValueError, match="conv2.w holds 70000; the largest float16 is 65504"):
        tinycnn.save(network, tmp_path / "half", dtype="float16")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dtype", ["int8", "float128", "complex64", "bfloat16"])
def test_other_dtypes(tmp_path, dtype):
    with pytest.raises((ValueError, TypeError), match="dtype|data type"):
        tinycnn.save(candidate(), tmp_path / "m", dtype=dtype)
    assert os.listdir(tmp_path) == []


def test_float64_as_float32(tmp_path):
    network = candidate(dtype=np.float64)
    tinycnn.save(network, tmp_path / "m", dtype="float32")
    again = tinycnn.load(tmp_path / "m", backend="numpy")
    assert again.dtype == np.float32
    for name, parameter in network.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], parameter.astype(np.float32))


# ---- the checksum ----------------------------------------------------------------------------


def test_every_changed_bit_of_the_weights_is_found(tmp_path):
    content = bytearray(model_file.to_bytes(candidate("p12"), dtype="float16"))
    begin = 8 + int.from_bytes(content[:8], "little")
    for at in np.random.default_rng(0).integers(begin, len(content), 20):
        content[at] ^= 1 << at % 8
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(ModelFileError, match="m: its checksum does not match: it is damaged"):
            tinycnn.load(tmp_path / "m", backend="numpy")
        content[at] ^= 1 << at % 8
    (tmp_path / "m").write_bytes(content)
    assert tinycnn.load(tmp_path / "m", backend="numpy").n_parameters == 65_000


@pytest.mark.parametrize(
    "before, after", [(b"happy", b"hoppy"), (b'\\"stride\\": 2', b'\\"stride\\": 1')]
)
def test_a_changed_description_is_found(tmp_path, before, after):
    """Another class name, or another stride of the last pooling, would still fit the tensors."""
    network = candidate("v")
    content = model_file.to_bytes(network)
    assert before in content
    at = content.rindex(before)
    (tmp_path / "m").write_bytes(content[:at] + after + content[at + len(before) :])
    with pytest.raises(ModelFileError, match="checksum|tensors do not fit"):
        tinycnn.load(tmp_path / "m", backend="numpy")


def test_the_checksum_does_not_cover_extra_metadata_and_tensors(tmp_path):
    from safetensors.numpy import save

    (tmp_path / "m").write_bytes(model_file.to_bytes(candidate()))
    tensors, metadata = model_file.read(tmp_path / "m")
    tensors["optimizer/m"] = np.ones(3)
    (tmp_path / "m").write_bytes(save(tensors, {**metadata, "note": "by another program"}))
    assert tinycnn.load(tmp_path / "m", backend="numpy").n_parameters == 65_000
