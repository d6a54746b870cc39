"""The C program of a quantised network: no compiler warning, and the network's own bits."""

import numpy as np
import pytest
from small_networks import ENGINE_NETWORKS
from test_c_file import SANITIZERS, answers, library, need
from test_quantized import network_and_images, with_own_layer

import tinycnn
from tinycnn.export import c_compiler, c_file
from tinycnn.formats.agreement import ExportError
from tinycnn.layers import UnknownLayerError

SMALL = ("miniature", "depthwise_multiplier_first", "average_pools", "prelu", "global_average_last")


@pytest.mark.parametrize("name", [*SMALL, "residuals_with_batch_norms", "scale_and_shift"])
@pytest.mark.parametrize("compiler, flags", [("gcc", ["-O3"]), ("gcc", SANITIZERS)])
def test_the_same_bits(tmp_path, monkeypatch, name, compiler, flags):
    need(compiler)
    network, images = network_and_images(name, backend="numpy")
    quantized = network.quantized(images)
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    c_file.write(quantized, tmp_path, "net")
    command = [flag for flag in flags if flag != SANITIZERS[0]]
    command += ["-fsanitize=undefined"] if SANITIZERS[0] in flags else []
    loaded = library(compiler, tmp_path, "net", *command)
    logits, probs = answers(loaded, "net", quantized, images)
    np.testing.assert_array_equal(logits, quantized.predict_logits(images))
    np.testing.assert_allclose(probs, quantized.predict_proba(images), atol=2e-5)


def test_it_is_checked_before_it_is_written(tmp_path, monkeypatch):
    need("gcc")
    network, images = network_and_images("miniature", backend="numpy")
    quantized = network.quantized(images)
    assert c_file.write(quantized, tmp_path / "net.c").n_static_bytes < 2000
    run = c_compiler.run
    monkeypatch.setattr(
        c_compiler, "run", lambda *given: (np.nextafter(run(*given)[0], np.inf), run(*given)[1])
    )
    with pytest.raises(ExportError, match="its integers are not the network's"):
        c_file.write(quantized, tmp_path / "other.c")
    assert not (tmp_path / "other.c").exists()


def test_an_operation_in_float_is_refused(tmp_path):
    from test_quantized import Square

    network = with_own_layer(Square(), tinycnn.Flatten(), tinycnn.Dense(2))
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
    with pytest.raises(UnknownLayerError, match=r"square1 \(Square\) is computed in float32"):
        c_file.write(network.quantized(images), tmp_path)


def test_all_networks_are_listed():
    assert set(SMALL) < set(ENGINE_NETWORKS)
