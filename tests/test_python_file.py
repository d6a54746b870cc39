"""The exported Python file: only NumPy, under 400 kB, the network's results, clear errors."""

import io
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from exported import SCALINGS, SIXTEEN, awkward, candidate, expected_probs, images_for, in_colour
from PIL import Image
from small_networks import SMALL_NETWORKS

from tinycnn import Dense, Flatten, InputSpec, Network, models
from tinycnn.export import python_file, python_program
from tinycnn.formats import agreement
from tinycnn.formats.agreement import ExportError
from tinycnn.testing import logit_error

# The images that a program is checked with include one of one value everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*images show nothing")

ONLY_NUMPY = """
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top != "numpy" and top not in {programs!r}:
            raise ImportError(f"a program imports {{name}}")
sys.meta_path.insert(0, Wall())
"""


def run(code, folder, *arguments):
    """Run code in a new interpreter, in the folder."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def answers_of(folder, programs, images):
    """{program: (logits, probabilities)} of programs in the folder; they can import only
    NumPy.  images: {program: images}."""
    np.savez(folder / "images.npz", **images)
    code = ONLY_NUMPY.format(programs=set(programs)) + (
        "import numpy as np\nout = {}\nimages = np.load('images.npz')\n"
        f"for name in {list(programs)!r}:\n"
        "    program = __import__(name)\n"
        "    out[name + '/z'] = program.logits(images[name])\n"
        "    out[name + '/p'] = program.predict(images[name])\n"
        "np.savez('answers.npz', **out)\n"
    )
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answers.npz", allow_pickle=False) as answers:
        return {name: (answers[name + "/z"], answers[name + "/p"]) for name in programs}


def agree(folder, networks):
    images = {name: images_for(network) for name, network in networks.items()}
    for name, network in networks.items():
        (folder / f"{name}.py").write_text(python_file.source_of(network), encoding="utf-8")
    answers = answers_of(folder, list(networks), images)
    for name, network in networks.items():
        logits, probs = answers[name]
        assert logits.dtype == np.float32
        assert logit_error(logits, network.predict_logits(images[name])) <= 1e-5, name
        np.testing.assert_allclose(probs, expected_probs(network, images[name]), atol=2e-5)
        np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)


def test_the_sixteen_networks(tmp_path):
    agree(tmp_path, {f"net_{v}_{s}": candidate(v, s) for v, s in SIXTEEN})


def test_unusual_networks_and_every_scaling(tmp_path):
    networks = {f"{n}_{s}": awkward(n, s) for n in SMALL_NETWORKS for s in SCALINGS}
    agree(tmp_path, networks | in_colour())


def test_the_published_size(tmp_path):
    """Written and checked, under 400 kB, calibrated; also for a network on the kernels."""
    network = models.microexpnet(framing="fer2013", seed=3)
    network.calibration_temperature = 2.5
    path = tmp_path / "microexpnet.py"
    python_file.write(network, path)
    assert path.stat().st_size < 400_000
    images = images_for(network)[..., 0]
    logits, probs = answers_of(tmp_path, ["microexpnet"], {"microexpnet": images})["microexpnet"]
    assert logit_error(logits, network.predict_logits(images)) <= 1e-5
    np.testing.assert_allclose(probs, expected_probs(network, images), atol=2e-5)
    text = path.read_text(encoding="ascii")
    assert "python microexpnet.py face.png" in text and 'FRAMING = "fer2013"' in text
    assert "PROGRAM" not in text and max(map(len, text.splitlines())) <= 100


def test_more_images_than_a_batch(tmp_path):
    network = awkward("miniature")
    (tmp_path / "p.py").write_text(python_file.source_of(network))
    images = images_for(network, n_images=2 * python_program.BATCH + 3)
    logits, _ = answers_of(tmp_path, ["p"], {"p": images})["p"]
    assert logit_error(logits, network.predict_logits(images)) <= 1e-5
    none, _ = answers_of(tmp_path, ["p"], {"p": images[:0]})["p"]
    assert none.shape == (0, 4)


NAMES = ("größe", "it's", 'a "quote"', "new\nline", "\\", "😀", '"""')


def test_names_of_every_kind(tmp_path):
    spec = InputSpec(2, 2, classes=NAMES, framing='a \'""" b')
    network = Network([Flatten(), Dense(len(NAMES))], spec, backend="numpy")
    python_file.write(network, tmp_path / "it is 'so'.py")
    content = (tmp_path / "it is 'so'.py").read_bytes()
    assert content.isascii()
    (tmp_path / "p.py").write_bytes(content)
    code = "import p, sys; sys.stdout.buffer.write(repr((p.CLASSES, p.FRAMING)).encode())"
    assert run(code, tmp_path).stdout == repr((NAMES, 'a \'""" b'))


def test_wrong_images_are_an_error(tmp_path):
    (tmp_path / "p.py").write_text(python_file.source_of(candidate()))
    for images in ("np.zeros((1, 84, 84))", "np.zeros((1, 48, 48), np.uint8)", "[1]"):
        done = run(f"import p, numpy as np\np.predict({images})", tmp_path)
        assert "expected uint8 of shape (N, 84, 84, 1)" in done.stderr.splitlines()[-1]


# ---- as a program ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """(path of the program, its network)."""
    network = candidate(scaling="standardized", framing="paper", seed=8)
    path = tmp_path_factory.mktemp("program") / "microexpnet.py"
    path.write_text(python_file.source_of(network))
    return path, network


def started(path, *arguments):
    command = [sys.executable, "-W", "error", str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_prints_the_expression_and_all_probabilities(program, tmp_path):
    path, network = program
    image = images_for(network)[0]
    Image.fromarray(image[..., 0]).save(tmp_path / "face.png")
    done = started(path, tmp_path / "face.png")
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    probs = network.predict_proba(image[None])[0]
    assert first == f"{tmp_path / 'face.png'}: {network.classes[probs.argmax()]}"
    printed = {line.split()[1]: float(line.split()[0].rstrip("%")) / 100 for line in lines}
    assert list(printed.values()) == sorted(printed.values(), reverse=True)
    for name, p in zip(network.classes, probs):
        assert printed[name] == pytest.approx(p, abs=6e-5)


def test_a_bad_file_is_reported_in_one_line_and_the_others_are_read(program, tmp_path):
    path, _ = program
    Image.new("L", (84, 84), 100).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:-20])
    Image.new("L", (640, 480)).save(tmp_path / "photo.png")
    bad = [tmp_path / "bad.png", tmp_path / "photo.png", tmp_path / "none.png"]
    done = started(path, *bad, tmp_path / "good.png")
    assert done.returncode == 1 and "good.png: " in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(str(b) in line for b, line in zip(bad, lines))
    assert "damaged PNG" in lines[0] and "No such file" in lines[2]
    assert "640x480 px; expected one face, cut out with framing 'paper', of 84x84" in lines[1]


def test_help(program):
    done = started(program[0], "--help")
    assert done.returncode == 0 and "python microexpnet.py face.png" in done.stdout
    assert started(program[0]).returncode == 2


# ---- the template itself, in this process ----------------------------------------------------


@pytest.fixture
def template_with(monkeypatch):
    """A function that gives the template, as a module, what the program of a network has."""

    def template_with(network):
        found = dict(vars(python_program))
        exec("\n".join(python_file.parts_of(network).values()), found)
        for key, value in found.items():
            monkeypatch.setitem(vars(python_program), key, value)
        found["TENSORS"] = python_program.unpack()
        return python_program

    return template_with


def test_the_template_computes_the_network(template_with):
    networks = {f"{name}_{s}": awkward(name, s) for name in SMALL_NETWORKS for s in SCALINGS}
    for name, network in (networks | in_colour()).items():
        images, program = images_for(network), template_with(network)
        expected = network.predict_logits(images)
        assert logit_error(program.logits(images), expected) <= 1e-5, name
        np.testing.assert_allclose(
            program.predict(images), expected_probs(network, images), atol=2e-5
        )


def test_the_template_prints_as_a_program_does(template_with, program, tmp_path, capsys):
    path, network = program
    image = tmp_path / "face.png"
    Image.fromarray(images_for(network)[0, ..., 0]).save(image)
    paths = [str(tmp_path / "none.png"), str(image)]
    done = started(path, *paths)
    assert template_with(network).main(paths) == done.returncode == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (done.stdout, done.stderr)
    assert python_program.main([]) == 2 and python_program.main(["-h"]) == 0
    assert "python PROGRAM.py face.png" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(N, 84, 84, 1\)"):
        python_program.predict(np.zeros((1, 84, 84)))


# ---- checked when written --------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("x @ w + b", "x @ w", "differ from the network's by"),
        ("axes=((4, 5, 3)", "axes=((5, 4, 3)", "differ from the network's by"),
        ("z - z.max(axis=1, keepdims=True)", "z / 2", "its probabilities differ"),
        ("import zlib", "import zlip", "the program does not run: ModuleNotFoundError"),
        ("base64", "base64", None),
    ],
)
def test_a_program_that_disagrees_is_not_written(tmp_path, monkeypatch, before, after, message):
    template = (python_file.Path(python_file.__file__).with_name("python_program.py")).read_text()
    monkeypatch.setattr(
        python_file.Path, "read_text", lambda *a, **k: template.replace(before, after)
    )
    if message is None:  # the unchanged template passes, so the others fail because of the change
        python_file.write(awkward("miniature"), tmp_path / "p.py")
        return
    with pytest.raises(ExportError, match=message):
        python_file.write(awkward("miniature"), tmp_path / "p.py")
    assert list(tmp_path.iterdir()) == []


def test_probabilities_are_compared_with_the_softmax_of_the_programs_own_logits():
    """Of large logits: an error of 3e-6, which is allowed, changes the probabilities by 0.07."""
    of_network = np.array([[1e5, 1e5 - 1, 0]], np.float32)
    of_program = of_network + np.array([[0.3, 0, 0]], np.float32)
    agreement.check_agreement("p.py", of_program, of_network)
    probs = np.exp(of_program - of_program.max()) / np.exp(of_program - of_program.max()).sum()
    agreement.check_probabilities("p.py", probs, of_program, 1.0)
    with pytest.raises(ExportError, match="its probabilities differ"):
        agreement.check_probabilities("p.py", probs, of_network, 1.0)
    with pytest.raises(ExportError, match="its probabilities differ"):
        agreement.check_probabilities("p.py", np.full((1, 3), np.nan), of_program, 1.0)


def test_weights_that_are_not_finite(tmp_path):
    network = awkward("miniature")
    network.parameters["dense1.w"][2, 3] = np.inf
    with pytest.raises(ValueError, match="dense1.w holds NaN or infinity"):
        python_file.write(network, tmp_path / "p.py")
    assert list(tmp_path.iterdir()) == []


# ---- its PNG reader, against Pillow ----------------------------------------------------------


def png(image, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def smooth(height, width, channels, seed=0):
    """Ramps with a little noise, for which Pillow uses every PNG filter."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [
        (y * (k + 1) + x * (3 - k) + rng.integers(0, 9, y.shape)) % 256 for k in range(channels)
    ]
    return np.stack(planes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(84, 84), (1, 1), (7, 13), (50, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_rgb(size, channels):
    pixels = smooth(*size, channels)
    pixels = pixels[..., 0] if channels == 1 else pixels
    for image in (pixels, np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)):
        for options in (dict(), dict(compress_level=0), dict(optimize=True)):
            content = png(Image.fromarray(image), **options)
            np.testing.assert_array_equal(python_program.read_png(content), image)


def written(pixels, kind_of_row, depth=8, colour=0):
    """A PNG with a given filter for each row, by the definitions of the standard."""
    height, width, n_channels = pixels.shape
    raw, before = b"", [0] * width * n_channels
    for k, row in enumerate(pixels.reshape(height, -1).tolist()):
        kind, out = kind_of_row(k), []
        for i, value in enumerate(row):
            a = row[i - n_channels] if i >= n_channels else 0
            b, c = before[i], before[i - n_channels] if i >= n_channels else 0
            p = a + b - c
            pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
            paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        raw, before = raw + bytes([kind, *out]), row
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return chunked((b"IHDR", size + bytes([depth, colour, 0, 0, 0])), (b"IDAT", zlib.compress(raw)))


def chunked(*chunks):
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in [*chunks, (b"IEND", b"")]:
        content += len(body).to_bytes(4, "big") + kind + body
        content += zlib.crc32(kind + body).to_bytes(4, "big")
    return content


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, "all"])
@pytest.mark.parametrize("colour, n_channels", [(0, 1), (2, 3)])
def test_every_filter(kind, colour, n_channels):
    pixels = np.random.default_rng(2).integers(0, 256, (11, 9, n_channels), np.uint8)
    content = written(pixels, lambda k: k % 5 if kind == "all" else kind, colour=colour)
    np.testing.assert_array_equal(Image.open(io.BytesIO(content)), pixels.squeeze())
    np.testing.assert_array_equal(python_program.read_png(content), pixels.squeeze())


def test_palettes_few_bits_and_one_bit():
    pixels = smooth(9, 21, 3)
    for n_colours in (2, 4, 16, 200):
        image = Image.fromarray(pixels).quantize(n_colours)
        found = python_program.read_png(png(image))
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    one_bit = Image.fromarray(pixels[..., 0]).convert("1")
    expected = np.asarray(one_bit.convert("L"))
    np.testing.assert_array_equal(python_program.read_png(png(one_bit)), expected)


def test_sixteen_bits_keep_the_high_byte():
    values = np.random.default_rng(0).integers(0, 65536, (5, 6)).astype(np.uint16)
    found = python_program.read_png(png(Image.fromarray(values)))
    np.testing.assert_array_equal(found, values // 256)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_pixels_are_put_on_white(mode):
    rgba = np.random.default_rng(3).integers(0, 256, (6, 7, 4), np.uint8)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    if mode == "P":
        image = Image.fromarray(rgba[..., :3]).quantize(8)
        image.info["transparency"] = bytes([0, 128, 255])
    else:
        image = Image.fromarray(rgba).convert(mode)
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    options = dict(transparency=image.info["transparency"]) if mode == "P" else {}
    found = python_program.read_png(png(image, **options))
    found = np.repeat(found[..., None], 3, axis=2) if found.ndim == 2 else found
    assert np.abs(found.astype(int) - expected).max() <= 1  # by rounding
    if mode != "P":
        assert (found[0] == 255).all()
        np.testing.assert_array_equal(found[1], expected[1])


def header(width=4, height=4, depth=8, colour=0, interlaced=0):
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return (b"IHDR", size + bytes([depth, colour, 0, 0, interlaced]))


PIXELS = (b"IDAT", zlib.compress(bytes(20)))

BAD_PNGS = {
    "interlaced": (chunked(header(interlaced=1), PIXELS), "interlaced"),
    "colour type": (chunked(header(colour=5), PIXELS), "colour type 5"),
    "depth": (chunked(header(depth=3), PIXELS), "depth 3"),
    "no width": (chunked(header(width=0), PIXELS), "0x4 px"),
    "huge": (chunked(header(2**31 - 1, 2**31 - 1), PIXELS), "2147483647x2147483647 px"),
    "too few pixels": (chunked(header(height=5), PIXELS), "pixels are missing"),
    "no zlib": (chunked(header(), (b"IDAT", b"nonsense")), "pixels are missing"),
    "no IDAT": (chunked(header()), "a part is missing"),
    "no IHDR": (chunked(PIXELS), "a part is missing"),
    "short IHDR": (chunked((b"IHDR", b"1234"), PIXELS), "a part is missing"),
    "filter": (chunked(header(1, 1), (b"IDAT", zlib.compress(b"\7\0"))), "unknown filter"),
    "palette": (chunked(header(colour=3), PIXELS), "not in its palette"),
    "colour key": (chunked(header(), (b"tRNS", b"\0\0"), PIXELS), "transparent colour"),
    "cut off": (chunked(header(), PIXELS)[:-15], "checksum"),
    "a changed bit": (chunked(header(), PIXELS).replace(b"IDAT", b"IDAS"), "checksum"),
    "a huge chunk": (b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIHDR" + bytes(30), "checksum"),
}


@pytest.mark.parametrize("what", BAD_PNGS)
def test_bad_pngs(what):
    content, message = BAD_PNGS[what]
    with pytest.raises(ValueError, match=message):
        python_program.read_png(content)


def test_pixels_that_unpack_to_far_more_take_no_memory():
    content = chunked(header(), (b"IDAT", zlib.compress(bytes(30_000_000))))
    tracemalloc.start()
    try:
        assert not python_program.read_png(content).any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_damaged_pngs_are_read_correctly_or_refused():
    pixels = smooth(12, 12, 3)
    content, rng, n_refused = png(Image.fromarray(pixels)), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(8, len(content))] ^= 1 << rng.integers(8)
        if rng.integers(3) == 0:
            damaged = damaged[: rng.integers(8, len(content))]
        try:
            np.testing.assert_array_equal(python_program.read_png(bytes(damaged)), pixels)
        except ValueError:
            n_refused += 1
    assert n_refused > 250


def test_pgm_and_ppm(tmp_path):
    for channels in (1, 3):
        pixels = smooth(5, 6, channels).squeeze()
        Image.fromarray(pixels).save(tmp_path / "p.ppm")
        np.testing.assert_array_equal(python_program.read_picture(tmp_path / "p.ppm"), pixels)
    (tmp_path / "c.pgm").write_bytes(b"P5 # made by hand\n2\t# wide\n1\n255\nab")
    np.testing.assert_array_equal(python_program.read_picture(tmp_path / "c.pgm"), [[97, 98]])
    bad = [b"P5", b"P5 1 1 256 a", b"P5 2 2 255 abc", b"P5 1 -1 255 a", b"P5 0 1 255 a"]
    for content in [*bad, b"P5 #", b"P5 1 1 255", b"P5 9999999 1 255 a", b"GIF89a", b""]:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ValueError, match="PGM|damaged"):
            python_program.read_picture(tmp_path / "bad")


def test_a_face_of_another_size_is_resized_as_pillow_does():
    for size in (48, 84, 100, 300):
        pixels = smooth(size, size, 1)[..., 0]
        expected = Image.fromarray(pixels).resize((84, 84), Image.Resampling.BILINEAR)
        found = python_program.to_input(pixels)
        assert found.shape == (84, 84, 1) and found.dtype == np.uint8
        assert np.abs(found[..., 0].astype(int) - np.asarray(expected)).max() <= 1


def test_colours_become_grey_as_in_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (84, 84, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(python_program.to_input(pixels)[..., 0], expected)
