"""The exported C program: no compiler warning, no access out of bounds, the network's results."""

import ctypes
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from exported import SCALINGS, awkward, candidate, expected_probs, images_for, in_colour
from small_networks import SMALL_NETWORKS

from tinycnn import Dense, Flatten, InputSpec, Network, models
from tinycnn.export import c_compiler, c_file
from tinycnn.formats.agreement import ExportError
from tinycnn.models import VARIANTS
from tinycnn.testing import logit_error

# The images that a program is checked with include one of one value everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*images show nothing")

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]


def need(compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")


def unchecked(network, folder, name, monkeypatch):
    """Write the program without the exporter's own check, because these tests check it."""
    with monkeypatch.context() as patch:
        patch.setattr(c_compiler, "compiler", lambda: None)
        return c_file.write(network, folder, name)


def library(compiler, folder, name, *flags):
    """The program as a shared library, compiled with warnings as errors."""
    command = [compiler, *WARNINGS, *flags, "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / f"{name}.so"))


def answers(loaded, name, network, images):
    """(logits, probabilities) of images (N, H, W, C)."""
    out = np.full((2, len(images), len(network.classes)), np.nan, np.float32)
    for k, image in enumerate(np.ascontiguousarray(images)):
        for row, function in zip(out[:, k], ("logits", "probabilities")):
            call = getattr(loaded, f"{name}_{function}")
            call.restype = None
            call(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(row.ctypes.data))
    return out[0], out[1]


def agrees(network, loaded, name, images=None):
    images = images_for(network) if images is None else images
    logits, probs = answers(loaded, name, network, images)
    assert logit_error(logits, network.predict_logits(images)) <= 1e-5
    np.testing.assert_allclose(probs, expected_probs(network, images), atol=2e-5)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    again, _ = answers(loaded, name, network, images)
    np.testing.assert_array_equal(again, logits)  # no state is left from the image before


# ---- the paper's networks --------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", ["-O3", "-O1 -DNET_PLAIN", "-O2 -march=native"])
def test_microexpnet(tmp_path, monkeypatch, compiler, flags):
    """All ways to compile it: for any processor, in plain C, and for this processor."""
    need(compiler)
    network = candidate("p12", "XXS", framing="fer2013")
    network.calibration_temperature = 2.25
    unchecked(network, tmp_path, "net", monkeypatch)
    agrees(network, library(compiler, tmp_path, "net", *flags.split()), "net")


@pytest.mark.parametrize("variant, size", list(zip(VARIANTS, ("XXS", "XS", "XS", "S"))))
def test_each_variant(tmp_path, monkeypatch, variant, size):
    """One size is enough: it changes only the dense layers, and larger ones compile slowly."""
    need("gcc")
    network = candidate(variant, size)
    unchecked(network, tmp_path, "net", monkeypatch)
    agrees(network, library("gcc", tmp_path, "net", "-O1"), "net")


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling(tmp_path, monkeypatch, scaling):
    need("gcc")
    network = candidate("p2", scaling=scaling)
    unchecked(network, tmp_path, "net", monkeypatch)
    images = images_for(network, 6)
    images[3], images[4] = 0, 255
    images[5], images[5, 40, 40] = 9, 10  # standard deviation below the lower bound
    agrees(network, library("gcc", tmp_path, "net", "-O1"), "net", images)


@pytest.mark.parametrize("name", ["imagenet", "shifted", "divided"])
def test_means_and_deviations_of_channels(tmp_path, monkeypatch, name):
    need("gcc")
    network = in_colour()[name]
    unchecked(network, tmp_path, "net", monkeypatch)
    agrees(network, library("gcc", tmp_path, "net", "-O1"), "net")


# ---- unusual networks ------------------------------------------------------------------------


FEW = ("miniature", "overlapping_pool", "window_beyond_picture", "convolutions_alone")


@pytest.mark.parametrize(
    "compiler, flags, names",
    [
        ("gcc", ["-march=native", *SANITIZERS], SMALL_NETWORKS),
        ("clang", ["PLAIN", *SANITIZERS], SMALL_NETWORKS),
        ("gcc", ["-O1"], FEW),
        ("clang", ["-O1"], FEW),
    ],
)
def test_unusual_networks_access_only_their_memory(tmp_path, monkeypatch, compiler, flags, names):
    """All networks in one program, so their names must not clash.  It is compiled with sanitizers
    (bounds, overflow, alignment, undefined behaviour), or without them for any processor."""
    need(compiler)
    networks, files, calls = {}, [], []
    for k, name in enumerate(names):
        networks[name] = awkward(name, SCALINGS[(k + len(flags)) % 3])
        unchecked(networks[name], tmp_path, name, monkeypatch)
        files.append(f"{name}.c")
        K = len(networks[name].classes)
        calls.append(f"ask({name}_logits, {K}); ask({name}_probabilities, {K});")
    # each image is a block of exactly its size, so reading one byte more is noticed
    main = "".join(f'#include "{name}.h"\n' for name in networks) + (
        "#include <stdio.h>\n#include <stdlib.h>\nstatic uint8_t *image;\n"
        "static void ask(void (*f)(const uint8_t *, float *), size_t n)\n{\n"
        "    float *answer = malloc(n * sizeof *answer);\n    f(image, answer);\n"
        "    fwrite(answer, sizeof *answer, n, stdout);\n    free(answer);\n}\n"
        "int main(void)\n{\n    size_t n = 0;\n"
    )
    for name, call in zip(networks, calls):
        n = int(np.prod(networks[name].input_spec.shape))
        main += f"    n = {n};\n    image = malloc(n);\n"
        main += "    if (fread(image, 1, n, stdin) != n) return 1;\n"
        main += f"    {call}\n    free(image);\n"
    (tmp_path / "main.c").write_text(main + "    return 0;\n}\n")
    if "PLAIN" in flags:
        flags = flags[1:] + [f"-D{name.upper()}_PLAIN" for name in networks]
    command = [compiler, *WARNINGS, *flags, *files, "main.c", "-o", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    images = {name: images_for(network, 1) for name, network in networks.items()}
    given = b"".join(image.tobytes() for image in images.values())
    done = subprocess.run([str(tmp_path / "all")], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found, at = np.frombuffer(done.stdout, np.float32), 0
    for name, network in networks.items():
        K = len(network.classes)
        logits, probs = found[at : at + K], found[at + K : at + 2 * K]
        at += 2 * K
        assert logit_error(logits, network.predict_logits(images[name])[0]) <= 1e-5, name
        np.testing.assert_allclose(probs, expected_probs(network, images[name])[0], atol=2e-5)
    assert at == found.size


# ---- content of the files --------------------------------------------------------------------


def test_no_library_is_needed_and_no_memory_allocated(tmp_path, monkeypatch):
    need("gcc")
    unchecked(candidate("p2", scaling="standardized"), tmp_path, "net", monkeypatch)
    included = re.findall(r"#include (.*)", (tmp_path / "net.c").read_text())
    assert included == ['"net.h"']
    assert re.findall(r"#include (.*)", (tmp_path / "net.h").read_text()) == ["<stdint.h>"]
    command = ["gcc", "-std=c99", "-O3", "-DNET_PLAIN", "-ffreestanding", "-c", "net.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    needed = subprocess.run(["nm", "-u", "net.o"], cwd=tmp_path, capture_output=True, text=True)
    symbols = {line.split()[-1] for line in needed.stdout.splitlines()}
    # functions that any C compiler may call by itself
    assert symbols <= {"memset", "memcpy", "memmove", "_GLOBAL_OFFSET_TABLE_"}


def test_the_stated_sizes_are_right(tmp_path, monkeypatch):
    """Compared with the sizes that the compiler reports."""
    need("gcc")
    written = unchecked(candidate(), tmp_path, "net", monkeypatch)
    for path in (written.source, written.header):
        comment = path.read_text().split("*/")[0]
        assert f"{written.n_static_bytes:,} bytes of static memory" in comment
        assert f"{written.n_constant_bytes:,} bytes of constants" in comment
    command = ["gcc", "-std=c99", "-O1", "-DNET_PLAIN", "-c", "net.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "-S", "net.o"], cwd=tmp_path, capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines() if len(line.split()) == 4]
    sizes = {kind: sum(int(s, 16) for _, s, k, _ in rows if k == kind) for kind in "bBrR"}
    assert sizes["b"] + sizes["B"] == written.n_static_bytes
    weights = sum(int(s, 16) for _, s, k, name in rows if k in "rR" and name[-2:] in ("_w", "_b"))
    assert weights == written.n_constant_bytes


def test_the_header(tmp_path, monkeypatch):
    need("gcc")
    classes = ('a "quote"', "größe", "back\\slash", "??/", "*/ end", "new\nline", "1")
    spec = InputSpec(3, 2, 3, classes=classes, framing="x*/\"y'")
    network = Network([Flatten(), Dense(7)], spec, backend="numpy")
    unchecked(network, tmp_path, "Face_2", monkeypatch)
    loaded = library("gcc", tmp_path, "Face_2")
    names = (ctypes.c_char_p * 7).in_dll(loaded, "Face_2_classes")
    assert [name.decode("utf-8") for name in names] == list(classes)
    main = (
        '#include "Face_2.h"\n#include "Face_2.h"\n#include <stdio.h>\nint main(void) {'
        'printf("%d %d %d %d %s", FACE_2_HEIGHT_PX, FACE_2_WIDTH_PX, FACE_2_CHANNELS, '
        "FACE_2_N_CLASSES, FACE_2_FRAMING); return 0; }\n"
    )
    (tmp_path / "main.c").write_text(main)
    subprocess.run(["gcc", *WARNINGS, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True)
    assert done.stdout == "3 2 3 7 x*/\"y'"


def test_weights_are_exact(tmp_path, monkeypatch):
    """Largest, smallest and subnormal weights: hexadecimal literals keep every bit."""
    need("gcc")
    network = Network(
        [Flatten(), Dense(6)], InputSpec(1, 1, classes=tuple("abcdef")), backend="numpy"
    )
    values = np.float32([3.4028235e38, 1e-45, -1.1754944e-38, -0.0, 0.1, 1])
    network.parameters["dense1.b"][:] = values
    network.parameters["dense1.w"][:] = 0
    unchecked(network, tmp_path, "net", monkeypatch)
    logits, _ = answers(
        library("gcc", tmp_path, "net"), "net", network, np.zeros((1, 1, 1, 1), np.uint8)
    )
    np.testing.assert_array_equal(
        logits[0].view(np.uint32) & 0x7FFFFFFF, values.view(np.uint32) & 0x7FFFFFFF
    )


def test_probabilities_of_logits_far_apart(tmp_path, monkeypatch):
    need("gcc")
    network = Network(
        [Flatten(), Dense(5)], InputSpec(1, 1, classes=tuple("abcde")), backend="numpy"
    )
    network.parameters["dense1.w"][:] = 0
    network.parameters["dense1.b"][:] = [1000, 999.5, 990, 0, -3e38]
    network.calibration_temperature = 0.5
    unchecked(network, tmp_path, "net", monkeypatch)
    _, probs = answers(
        library("gcc", tmp_path, "net"), "net", network, np.zeros((1, 1, 1, 1), np.uint8)
    )
    z = np.float64([1000, 999.5, 990, 0, -3e38]) / 0.5
    expected = np.exp(z - z[0]) / np.exp(z - z[0]).sum()
    np.testing.assert_allclose(probs[0], expected, rtol=2e-7, atol=1e-37)


# ---- writing ---------------------------------------------------------------------------------


def test_written_and_checked(tmp_path):
    if c_compiler.compiler() is None:
        pytest.skip("no C compiler is installed")
    network = awkward("miniature")
    written = c_file.write(network, tmp_path)
    assert written.checked_with == c_compiler.compiler()
    assert sorted(os.listdir(tmp_path)) == ["microexpnet.c", "microexpnet.h"]
    other = c_file.write(models.microexpnet(seed=3), tmp_path / "face.c")  # with the Numba kernels
    assert other.source == tmp_path / "face.c" and other.header == tmp_path / "face.h"
    assert "void face_logits(" in other.header.read_text()


def test_without_a_compiler_the_error_says_so(tmp_path, monkeypatch, caplog):
    caplog.set_level("WARNING", "tinycnn")  # the command line sets another level
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    written = c_file.write(awkward("miniature"), tmp_path)
    assert written.checked_with is None and written.source.is_file()
    assert "no C compiler" in caplog.text and "not checked" in caplog.text


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("x[c] > y[c]", "x[c] < y[c]", "differ from the network's by"),
        ("input->at + (i * SH - PT)", "input->at + (i * SH)", "differ from the network's by"),
        ("0.6931471805599453;", "0.69;", "its probabilities differ"),
        ("for (int i", "for (i", "does not compile it"),
        ("((", "((", None),
    ],
)
def test_a_program_that_disagrees_is_not_written(tmp_path, monkeypatch, before, after, message):
    if c_compiler.compiler() is None:
        pytest.skip("no C compiler is installed")
    template = (c_file.Path(c_file.__file__).with_name("c_program.c")).read_text()
    monkeypatch.setattr(c_file.Path, "read_text", lambda *a, **k: template.replace(before, after))
    network = candidate("v") if "PT" in before or "0.69" in before else awkward("miniature")
    if message is None:
        assert c_file.write(network, tmp_path).checked_with
        return
    with pytest.raises(ExportError, match=message) as raised:
        c_file.write(network, tmp_path)
    assert os.listdir(tmp_path) == [] and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "1net", "a-b", "a b", "größe", "../net"])
def test_a_name_that_is_not_valid_in_c(tmp_path, name):
    with pytest.raises(ValueError, match="expected letters, digits and _"):
        c_file.write(awkward("miniature"), tmp_path, name)
    assert os.listdir(tmp_path) == []


def test_weights_that_are_not_finite(tmp_path):
    network = awkward("miniature")
    network.parameters["dense1.b"][2] = np.nan
    with pytest.raises(ValueError, match="dense1.b holds NaN or infinity"):
        c_file.write(network, tmp_path)


# ---- speed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_at_most_three_times_slower_than_the_engine(tmp_path, monkeypatch, compiler):
    """Compiled with only -O3, one image, one thread, in turn with ours; measured: 1.2 to 1.7."""
    need(compiler)
    network = models.microexpnet(n_threads=1)
    unchecked(network, tmp_path, "net", monkeypatch)
    call = library(compiler, tmp_path, "net", "-O3").net_logits
    image, logits = images_for(network, 1), np.zeros(8, np.float32)
    arguments = ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(logits.ctypes.data)
    x = network.scale(image)
    ours = theirs = np.inf
    for _ in range(300):
        start = time.perf_counter()
        call(*arguments)
        middle = time.perf_counter()
        network.forward(x)
        ours, theirs = min(ours, middle - start), min(theirs, time.perf_counter() - middle)
    assert ours <= 3 * theirs
