"""Every kind of picture file is read as documented; every broken one is a clear error."""

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from ferdata.errors import DataError
from ferdata.photos import photo
from ferdata.photos.photo import read_grey, read_photo, to_grey
from ferdata.photos.picture_formats import picture_format

# Three rows of four different pixels: every rotation and mirroring gives another array.
GREY = np.array([[0, 10, 20, 30], [100, 110, 120, 130], [200, 210, 220, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


@pytest.fixture
def save(tmp_path):
    def write(image, name, **options):
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif", "a.pgm"])
def test_grey_is_read_unchanged(save, name):
    found = read_photo(save(GREY, name))
    assert found.dtype == np.uint8
    if found.ndim == 3:  # a GIF has a palette
        assert (found == found[..., :1]).all()
        found = found[..., 0]
    assert np.array_equal(found, GREY)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"])
def test_colour_is_read_as_rgb(save, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    assert np.array_equal(read_photo(save(COLOUR, name, **options)), COLOUR)


def test_jpeg_grey_and_colour(save):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8) * 2
    assert np.abs(read_photo(save(smooth, "g.jpg", quality=95)).astype(int) - smooth).max() <= 4
    colour = np.stack([smooth, smooth // 2, 255 - smooth], axis=2)
    found = read_photo(save(colour, "c.jpg", quality=95, subsampling=0))
    assert found.shape == (64, 48, 3) and np.abs(found.astype(int) - colour).max() <= 12


# The eight EXIF orientations: on which sides the stored row 0 and column 0 are shown.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),  # row 0 is the right side
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_exif_rotation_is_applied(save, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(pixels, "a.png", exif=exif)
    assert np.array_equal(read_photo(path), TURNS[orientation](pixels))
    assert np.array_equal(
        read_grey(path), to_grey(np.ascontiguousarray(TURNS[orientation](pixels)))
    )


def test_broken_exif_is_ignored(save):
    for exif in (b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nonsense"):
        path = save(np.repeat(GREY, 8, 0).repeat(8, 1), "a.jpg", exif=exif)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF data
            assert read_photo(path).shape == (24, 32)
    exif = Image.Exif()
    exif[0x0112] = 9  # no such orientation
    assert np.array_equal(read_photo(save(GREY, "a.png", exif=exif)), GREY)


def test_transparent_pixels_are_put_on_white(save):
    alpha = np.array([[0, 128, 255, 51]] * 3, np.uint8)
    seen = np.round((COLOUR * (alpha / 255)[..., None]) + 255 * (1 - alpha / 255)[..., None])
    assert np.array_equal(read_photo(save(np.dstack([COLOUR, alpha]), "a.png")), seen)
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    seen = np.round(GREY * (alpha / 255) + 255 * (1 - alpha / 255))
    assert np.array_equal(read_photo(save(image, "la.png")), seen)


def test_a_transparent_colour_becomes_white(save):
    path = save(GREY, "a.png", transparency=110)
    assert np.array_equal(read_photo(path), np.where(GREY == 110, 255, GREY))
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    white, first, third = [255] * 3, [10, 20, 30], [70, 80, 90]
    for name in ("p.png", "p.gif"):
        found = read_photo(save(indexed, name, transparency=1))
        assert found.tolist() == [[first, white], [third, white]], name


def test_palette_becomes_rgb(save):
    indexed = Image.fromarray(np.array([[0, 1, 1]], np.uint8), "P")
    indexed.putpalette([1, 2, 3, 200, 100, 50])
    assert read_photo(save(indexed, "a.png")).tolist() == [
        [[1, 2, 3], [200, 100, 50], [200, 100, 50]]
    ]


def test_cmyk_becomes_rgb(save):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    for name in ("a.tif", "a.jpg"):
        found = read_photo(save(cmyk, name)).astype(int)
        assert found.shape == (16, 16, 3)
        assert np.abs(found - [255, 0, 0]).max() <= 3, name


def test_one_bit_is_black_and_white(save):
    image = Image.fromarray(GREY > 100)
    assert np.array_equal(read_photo(save(image, "a.png")), np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_not_clipped(save, name):
    deep = GREY.astype(np.uint16) * 256 + 77
    assert np.array_equal(read_photo(save(deep, name)), GREY)


def test_16_bit_rgb_is_scaled(tmp_path):
    deep = (COLOUR.astype(np.uint16) * 256 + 77).astype(">u2")

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert np.array_equal(read_photo(path), COLOUR)


def test_32_bit_integers_are_read_as_16_bit_or_refused(save):
    path = save(GREY.astype(np.int32) * 256, "a.tif")
    assert np.array_equal(read_photo(path), GREY)
    with pytest.raises(DataError, match=r"b.tif: int32 pixels from 0 to 65536; expected 0..65535"):
        read_photo(save(np.array([[0, 65536]], np.int32), "b.tif"))


def test_floats_must_be_0_to_1(save):
    path = save((GREY / 255).astype(np.float32), "a.tif")
    assert np.array_equal(read_photo(path), GREY)
    for bad in ([[0, 255]], [[-0.1, 1]], [[0, np.nan]], [[np.inf, 0]]):
        with pytest.raises(DataError, match="b.tif: float32 pixels from .* expected 0..1. Save"):
            read_photo(save(np.array(bad, np.float32), "b.tif"))


def test_the_first_frame_or_page_is_read(save):
    frames = [Image.fromarray(np.full((5, 7), v, np.uint8)) for v in (10, 200)]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        path = save(frames[0], name, save_all=True, append_images=frames[1:], **options)
        assert np.unique(read_photo(path)).tolist() == [10], name


NOISE = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.bmp", "a.tif", "a.webp", "a.ppm"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
def test_a_truncated_file_is_named(save, name, kept):
    path = save(NOISE, name)
    read_photo(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=f"^{path}: "):
        read_photo(path)


def test_changed_bytes_raise_only_the_documented_error(save):
    rng = np.random.default_rng(1)
    for name in ("a.jpg", "a.png", "a.gif", "a.bmp", "a.tif", "a.webp"):
        path = save(NOISE[:20, :20], name)
        whole = path.read_bytes()
        n_errors = 0
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 200), 3):
                data[at] = rng.integers(0, 256)
            path.write_bytes(data)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert read_photo(path).dtype == np.uint8
            except DataError as error:
                n_errors += 1
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        assert n_errors, name


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("size", [(7072, 7071), (9000, 9999), (20000, 20000), (2**31 - 1,) * 2])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, size, monkeypatch):
    """Pillow itself would warn only from 89 million pixels and refuse from 179 million."""
    path = tmp_path / "bomb.png"
    data = zlib.compress(bytes(10_000_000))
    body = b"IDAT" + data
    path.write_bytes(
        png_header(*size)
        + struct.pack(">I", len(data))
        + body
        + struct.pack(">I", zlib.crc32(body))
    )
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"{size[0]} x {size[1]} px is more than 50,000,000"):
            read_photo(path)


def test_a_huge_gif_is_refused(tmp_path):
    path = tmp_path / "bomb.gif"
    data = io.BytesIO()
    Image.fromarray(GREY).save(data, "GIF")
    raw = bytearray(data.getvalue())
    raw[6:10] = struct.pack("<HH", 65535, 65535)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="bomb.gif: 65535 x 65535 px is more than"):
        read_photo(path)


def test_files_that_are_not_pictures(tmp_path):
    for name, data, message in (
        ("empty.jpg", b"", r"an empty file \(0 bytes\)"),
        ("text.png", b"not a picture at all", "not a picture; expected one of JPEG, PNG"),
        ("zero.png", bytes(100), "not a picture"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "a damaged PNG file|cannot be decoded"),
        ("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: ({message})"):
            read_photo(path)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(DataError, match="none.png: no such file"):
        read_photo(tmp_path / "none.png")
    with pytest.raises(DataError, match="a folder; expected a picture file"):
        read_photo(tmp_path)
    with pytest.raises(DataError, match="not a file name"):
        read_photo(str(tmp_path / "a\0b.png"))
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match="loop.png: a link that leads in a circle"):
        read_photo(loop)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    answer = []

    def read():
        try:
            read_photo(tmp_path / "pipe.png")
        except DataError as error:
            answer.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert answer == [f"{tmp_path / 'pipe.png'}: not a regular file"]


def test_no_permission(save):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    path = save(GREY, "a.png")
    path.chmod(0)
    with pytest.raises(DataError, match="a.png: no permission to read it"):
        read_photo(path)


def test_no_permission_as_reported_by_the_system(save, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    path = save(GREY, "a.png")
    monkeypatch.setattr(photo, "open", refused, raising=False)
    with pytest.raises(DataError, match="a.png: no permission to read it"):
        read_photo(path)


def test_luma():
    primary = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3]], np.uint8)
    expected = np.round([0.299 * 255, 0.587 * 255, 0.114 * 255, 255])
    assert np.abs(to_grey(primary).astype(int) - expected).max() <= 1
    assert to_grey(GREY) is GREY


def test_grey_of_a_file_is_the_luma_of_its_photo(save):
    rng = np.random.default_rng(2)
    soft = np.kron(rng.integers(60, 190, (6, 5, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.tif"):
        path = save(soft, name)
        difference = read_grey(path).astype(int) - to_grey(read_photo(path))
        assert np.abs(difference).max() <= 2, name
    path = save(Image.fromarray(soft).convert("CMYK"), "b.jpg")
    assert np.array_equal(read_grey(path), to_grey(read_photo(path)))


def test_no_global_state_changes(save):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    read_photo(save(COLOUR, "a.png"))
    assert before == (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        list(warnings.filters),
    )


MEMORY = """
import sys
import numpy as np
from PIL import Image
from ferdata.photos import photo
photo.MAX_PIXELS = 4_000_000
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
Image.init()
before = peak()
pixels = photo.read_photo(sys.argv[1])
print((peak() - before) // (pixels.shape[0] * pixels.shape[1]), pixels.shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux tells it")
@pytest.mark.parametrize("mode, most", [("RGBA", 18), ("F", 16), ("RGB", 14)])
def test_memory_for_a_large_picture(tmp_path, mode, most):
    """Peak bytes per pixel.  Twenty bytes for each of 50,000,000 pixels would be a gigabyte."""
    path = tmp_path / ("a.tif" if mode == "F" else "a.png")
    Image.new(mode, (2000, 2000)).save(path)
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    per_pixel, shape = done.stdout.split(" ", 1)
    assert int(per_pixel) <= most and "2000, 2000" in shape


def webp(chunk, at, value):
    """The start of a WebP file with `value` at byte `at`, inside its first chunk."""
    content = bytearray(b"RIFF\x40\0\0\0WEBP" + chunk + bytes(60))
    content[at : at + len(value)] = value
    return bytes(content)


@pytest.mark.parametrize(
    "content, size",
    [
        (webp(b"VP8X", 24, b"\xff\xff\0\xff\xff\0"), "65536 x 65536"),
        (webp(b"VP8L", 20, b"\x2f\xff\xff\xff\x0f"), "16384 x 16384"),
        (webp(b"VP8 ", 23, b"\x9d\x01\x2a\xff\x3f\xff\x3f"), "16383 x 16383"),
    ],
    ids=["extended", "lossless", "lossy"],
)
def test_a_huge_webp_is_refused_before_memory_is_allocated(tmp_path, monkeypatch, content, size):
    path = tmp_path / "a.webp"
    path.write_bytes(content)
    Image.init()
    monkeypatch.setitem(Image.OPEN, "WEBP", (None, None))
    with pytest.raises(DataError, match=f"a.webp: {size} px is more than"):
        read_photo(path)


def test_a_length_that_is_only_claimed_takes_no_memory(tmp_path, save):
    """A PNG with a chunk that claims a gigabyte is refused, or read correctly if its pixels are
    complete."""
    pixels = np.arange(56, dtype=np.uint8).reshape(8, 7)
    path = save(pixels, "a.png")
    content = path.read_bytes()
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + (1 << 30).to_bytes(4, "big") + content[at + 4 :])
    tracemalloc.start()
    try:
        assert np.array_equal(read_photo(path), pixels)
    except DataError as error:
        assert "a.png: cannot be decoded" in str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10e6


# ---- HEIC and AVIF ---------------------------------------------------------------------------

SMOOTH = (2 * np.add.outer(np.arange(64), np.arange(48))).astype(np.uint8)
HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_is_read_with_the_extra(tmp_path):
    """A phone's picture, under any name, and upright."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    made = pillow_heif.from_pillow(Image.fromarray(SMOOTH).convert("RGB"))
    made.save(tmp_path / "IMG_1.jpg", quality=95)
    assert picture_format(tmp_path / "IMG_1.jpg") == "HEIC"
    found = read_grey(tmp_path / "IMG_1.jpg")
    assert found.shape == (64, 48) and np.abs(found.astype(int) - SMOOTH).max() <= 6
    turned = pillow_heif.from_pillow(Image.fromarray(SMOOTH).convert("RGB"))
    turned.save(tmp_path / "turned.heic", quality=95, exif=exif.tobytes())
    turned = read_grey(tmp_path / "turned.heic")
    assert turned.shape == (48, 64)
    assert np.abs(turned.astype(int) - TURNS[6](SMOOTH)).max() <= 6
    content = (tmp_path / "IMG_1.jpg").read_bytes()
    (tmp_path / "cut.heic").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cut.heic"):
        read_photo(tmp_path / "cut.heic")


def test_avif_is_read_where_pillow_can(tmp_path):
    from PIL import features

    if not features.check("avif"):
        pytest.skip("needs Pillow 11.3 or newer with AVIF, of the extra heif")
    Image.fromarray(SMOOTH).convert("RGB").save(tmp_path / "a.jpg", format="AVIF", quality=95)
    assert picture_format(tmp_path / "a.jpg") == "AVIF"
    assert np.abs(read_grey(tmp_path / "a.jpg").astype(int) - SMOOTH).max() <= 6


@pytest.mark.parametrize("brand, name", [(b"heic", "a HEIC"), (b"avif", "an AVIF")])
def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch, brand, name):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    monkeypatch.setattr(Image, "init", lambda: None)
    (tmp_path / "a.heic").write_bytes(HEIC_START.replace(b"heic", brand))
    with pytest.raises(DataError, match=rf'{name} picture, .* pip install "tinycnn\[heif\]"'):
        read_photo(tmp_path / "a.heic")


@pytest.mark.parametrize(
    "start, name",
    [
        *((HEIC_START, "HEIC"), (b"\0\0\0\x18ftypmif1\0\0\0\0avif", "AVIF")),
        *((b"\0\0\0\x18ftypmif1\0\0\0\0miaf", "HEIC"), (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "")),
        *(
            (b"BMW is a car, no picture", ""),
            (b"P5 is a paragraph", ""),
            (b"P5\n48 48\n255\n", "PPM"),
        ),
        *((b"RIFF\0\0\0\0WAVEfmt ", ""), (b"", ""), (b"\xff\xd8\xff\xe0", "JPEG")),
    ],
)
def test_formats_by_their_first_bytes(tmp_path, start, name):
    path = tmp_path / "file"
    path.write_bytes(start)
    assert picture_format(path) == name
