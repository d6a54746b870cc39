"""ferdata without Numba or with one that fails, and with a damaged cache of compiled code."""

import os
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ferdata import jit, warp
from ferdata.photos import detect as detection
from ferdata.photos import detect_arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 29, 40), dtype=np.uint8)
CROWD = np.asarray(Image.fromarray(data.astronaut()).convert("L").resize((160, 160)))
MATRICES = np.random.default_rng(3).uniform(-1, 1, (2, 2, 3))
COMPILED = pytest.mark.jit("nothing is compiled")


def use():
    """The results of both modules with compiled loops: warped images, faces of a picture."""
    return warp.warp_images(IMAGES, MATRICES, 11), detection.detect(CROWD).boxes


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a new process: nothing is compiled, no warning was given, the cache is empty."""
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_warned", False)
    monkeypatch.delitem(sys.modules, "ferdata.photos.detect_loops", raising=False)
    forget()
    yield monkeypatch
    forget()


def forget():
    warp._kernel.cache_clear()
    detection._arithmetic.cache_clear()


@pytest.fixture(scope="module")
def expected():
    return use()


def assert_as_numpy(expected, reason):
    with pytest.warns(RuntimeWarning, match=rf"with NumPy.*Numba fails.*{reason}") as caught:
        found = use()
    assert len(caught) == 1
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert warp._kernel() is warp.warp_arrays and detection._arithmetic() is detect_arrays


def test_numba_missing(fresh, expected):
    fresh.setitem(sys.modules, "numba", None)
    assert_as_numpy(expected, "import of numba halted")


@pytest.mark.parametrize("problem", ["ImportError('Numba needs NumPy 1.0')", "SystemError('ABI')"])
def test_numba_that_does_not_fit_this_numpy(fresh, expected, problem, tmp_path):
    (tmp_path / "numba.py").write_text(f"raise {problem}")
    fresh.delitem(sys.modules, "numba", raising=False)
    fresh.syspath_prepend(tmp_path)
    name, _, message = problem.partition("('")
    assert_as_numpy(expected, f"{name}: {message[:-2]}")


@pytest.mark.kernels
def test_numba_that_cannot_compile(fresh, expected):
    from numba.core import compiler
    from numba.core.errors import LoweringError

    def refuse(self, func):
        raise LoweringError("out of registers")

    fresh.setattr(compiler.CompilerBase, "compile_extra", refuse)
    assert_as_numpy(expected, "LoweringError: .*out of registers")


def indices(tmp_path):
    return sorted((tmp_path / "cache/kernels").glob("*.nbi"))


def compiled_anew(monkeypatch):
    """A list that gets the name of each function compiled from now on."""
    from numba.core import compiler

    real, names = compiler.CompilerBase.compile_extra, []

    def compile_extra(self, func):
        names.append(func.__name__)
        return real(self, func)

    monkeypatch.setattr(compiler.CompilerBase, "compile_extra", compile_extra)
    return names


@pytest.mark.kernels
@COMPILED
def test_a_damaged_cache_costs_one_compilation(fresh, expected, tmp_path):
    """Compiled code is kept only in the cache folder."""
    names = compiled_anew(fresh)
    for is_compiled in (True, False, True, False):
        if names:
            names.clear()
        elif indices(tmp_path):  # nothing was compiled the second time; now damage the cache
            (index,) = indices(tmp_path)
            index.write_bytes(index.read_bytes()[:20])
        forget()
        found = warp.warp_images(IMAGES, MATRICES, 11)
        np.testing.assert_array_equal(found, expected[0])
        assert ("warp_loops" in names) == is_compiled
        assert len(indices(tmp_path)) == 1


@pytest.mark.kernels
def test_an_unwritable_cache_only_costs_a_compilation(fresh, expected, tmp_path):
    (tmp_path / "cache").write_text("a file stands where the folder should be")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(warp.warp_images(IMAGES, MATRICES, 11), expected[0])
    assert warp._kernel() is not warp.warp_arrays
    assert (tmp_path / "cache").read_text() == "a file stands where the folder should be"


@pytest.mark.kernels
@COMPILED
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners and permissions here")
def test_code_in_a_folder_that_others_may_write_to_is_not_run(fresh, expected, tmp_path, caplog):
    use_warp(expected)
    folder = tmp_path / "cache" / "kernels"
    assert folder.parent.stat().st_mode & 0o777 == 0o700  # it will have faces
    assert folder.stat().st_mode & 0o777 == 0o700 and len(indices(tmp_path)) == 1
    folder.chmod(0o777)
    names = compiled_anew(fresh)
    use_warp(expected)
    assert "warp_loops" in names and "chmod go-w" in caplog.text


def use_warp(expected):
    forget()
    np.testing.assert_array_equal(warp.warp_images(IMAGES, MATRICES, 11), expected[0])


@pytest.mark.kernels
@COMPILED
def test_numpy_searches_the_first_photos(expected, monkeypatch):
    """A photo is searched to its end by what began; the faces are the same."""
    forget()
    for loops in (jit.WARP, jit.PHOTOS):
        monkeypatch.setattr(loops, "takes", lambda seconds: seconds < 1)
    monkeypatch.setitem(sys.modules, "ferdata.photos.detect_loops", None)  # cannot be imported
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warped, faces = use()
    np.testing.assert_array_equal(warped, expected[0])
    np.testing.assert_array_equal(faces, expected[1])
    assert warp._kernel.cache_info().currsize == detection._arithmetic.cache_info().currsize == 0
    monkeypatch.undo()
    np.testing.assert_array_equal(use()[1], expected[1])
    assert warp._kernel() is not warp.warp_arrays


@pytest.mark.kernels
@COMPILED
def test_training_does_not_compile_what_photos_need(fresh, tmp_path):
    warp.compile_warp()
    assert [path.name.split("-")[0] for path in indices(tmp_path)] == ["warp.warp_loops"]
    assert jit.WARP.code.is_kept() and not jit.PHOTOS.code.is_kept()
