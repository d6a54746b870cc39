"""Photos to one array: the same for any number of threads, cached; errors name the photo."""

import os
import threading
import time

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ferdata.errors import DataError
from ferdata.photos import preprocess
from ferdata.photos.faces import find_faces, frame_face
from ferdata.photos.photo import read_grey
from ferdata.photos.preprocess import frame_photos, load_faces
from ferdata.warp import resize_images

HEAD = Image.fromarray(data.astronaut()[20:240, 110:330])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    """Twelve photos with the face at different places and brightness, as PNG and JPEG."""
    paths = []
    for i in range(12):
        canvas = Image.new("RGB", (320, 240 + i), (100, 110 + i, 120))
        canvas.paste(HEAD.resize((180, 180)).point(lambda v, i=i: v * (20 - i) // 20), (10 * i, 30))
        paths.append(tmp_path / f"{i:02d}.{'png' if i % 2 else 'jpg'}")
        canvas.save(paths[-1])
    return paths


def load(paths, framing=None, key="key", **options):
    return load_faces(paths, framing=framing, cache_key=key, **options)


@pytest.fixture
def reads(monkeypatch):
    """A list to which decoded files are added."""
    seen = []

    def read(path):
        seen.append(path)
        return read_grey(path)

    monkeypatch.setattr(preprocess, "read_grey", read)
    return seen


@pytest.mark.parametrize("framing", ["paper", "fer2013"])
def test_the_largest_face_of_each_in_order(photos, framing):
    images = load(photos, framing)
    assert images.shape == (12, 84, 84) and images.dtype == np.uint8
    for image, path in zip(images, photos):
        (box,) = find_faces(path).boxes[:1]
        assert np.array_equal(image, frame_face(read_grey(path), box, framing))
    several = Image.new("L", (700, 300), 110)
    several.paste(HEAD.resize((110, 110)), (20, 100))
    several.paste(HEAD.resize((220, 220)), (300, 40))
    several.save(photos[0].with_name("several.png"))
    boxes = find_faces(photos[0].with_name("several.png")).boxes
    assert len(boxes) == 2 and boxes[0, 0] > 300  # the larger head
    image = load([photos[0].with_name("several.png")], framing)[0]
    assert np.array_equal(image, frame_face(np.asarray(several), boxes[0], framing))


def test_any_number_of_workers_gives_the_same(photos):
    one = load(photos, "fer2013", "one", n_workers=1)
    for n in (2, 5):
        assert np.array_equal(load(photos, "fer2013", f"{n}", n_workers=n), one)


def test_without_framing_the_whole_photo_is_resized(tmp_path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (48, 48), dtype=np.uint8)
    plane = np.add.outer(np.arange(300), np.arange(200) * 0.5)
    large = (plane * 255 / plane.max()).astype(np.uint8)
    for name, pixels in (("small", small), ("large", large)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "small.png", tmp_path / "large.png"]
    images = load(paths)
    assert np.array_equal(images[0], resize_images(small[None], 84)[0])  # as in training
    assert np.abs(images[1].astype(int) - resize_images(large[None], 84)[0]).max() <= 2
    assert np.array_equal(load(paths[:1], key="48", size_px=48)[0], small)


def test_boxes_of_the_caller(photos):
    boxes = np.tile([30, 40, 120, 120], (12, 1))
    images = load(photos, "paper", boxes=boxes)
    for image, path in zip(images, photos):
        assert np.array_equal(image, frame_face(read_grey(path), [30, 40, 120, 120], "paper"))
    boxes[3] = [20, 30, 130, 130]
    assert not np.array_equal(load(photos, "paper", boxes=boxes)[3], images[3])  # not cached
    boxes[7] = [310, 0, 120, 120]
    with pytest.raises(DataError, match="07.png: box 0 .* does not lie in the photo of 320 x 247"):
        load(photos, "paper", boxes=boxes)
    with pytest.raises(
        DataError, match=r"boxes: expected \(12, 4\) and a framing, found \(11, 4\)"
    ):
        load(photos, "paper", boxes=boxes[:11])


def test_a_photo_without_a_face_is_named(photos, reads):
    Image.new("L", (200, 100), 90).save(photos[4])
    Image.new("L", (100, 200), 90).save(photos[9])
    with pytest.raises(DataError, match="04.jpg: no face found, as in 2 of 12 photos; leave them"):
        load(photos, "paper")
    assert len(reads) == 12
    images = load(photos, "paper", on_missing="whole")
    assert len(reads) == 12  # from the cache
    assert np.array_equal(images[4], frame_face(read_grey(photos[4]), [0, 0, 200, 100], "paper"))
    found = frame_photos(photos, framing="paper", cache_key="key").found
    assert np.flatnonzero(~found).tolist() == [4, 9]
    assert load(photos, None).shape == (12, 84, 84)  # without a framing no face is searched for


def test_the_first_bad_photo_is_named_and_nothing_is_kept(photos, cache):
    for i in (5, 8):
        photos[i].write_bytes(photos[i].read_bytes()[:500])
    for n_workers in (1, 4):
        with pytest.raises(DataError, match="05.png: "):
            load(photos, n_workers=n_workers)
    assert not cache.exists()
    with pytest.raises(DataError, match="none.png: no such file"):
        load([*photos[:3], photos[0].with_name("none.png")])
    with pytest.raises(DataError, match="cannot be read|a folder"):
        load([photos[0].parent])


def test_settings_out_of_range(photos):
    for message, options in (
        ("framing: expected one of paper, fer2013", {"framing": "tight"}),
        ("size_px", {"size_px": 0}),
        ("n_workers: expected a whole number of 1 or more", {"n_workers": 0}),
        ("on_missing: expected one of error, whole", {"on_missing": "skip"}),
    ):
        with pytest.raises(ValueError, match=message):
            load(photos, **options)


def test_no_photos():
    assert load([]).shape == (0, 84, 84)


def test_progress_counts_to_the_end(photos):
    calls = []
    load(photos, progress=lambda *call: calls.append(call))
    assert calls == [(i, 12) for i in range(1, 13)]
    load(photos, progress=lambda *call: calls.append(call))
    assert len(calls) == 12  # the cache answered


# The cache


def test_the_second_run_decodes_nothing(photos, reads, cache):
    first = load(photos, "fer2013", "ck+/last three")
    assert len(reads) == 12
    assert np.array_equal(load(photos, "fer2013", "ck+/last three"), first) and len(reads) == 12
    (entry,) = cache.iterdir()
    assert entry.name.startswith("ck__last_three-") and entry.suffix == ".npz"


@pytest.mark.parametrize(
    "other",
    [
        lambda p: {"framing": "paper"},
        lambda p: {"key": "another"},
        lambda p: {"size_px": 48},
        lambda p: {"paths": p[::-1]},
        lambda p: {"paths": p[:-1]},
    ],
    ids=["framing", "key", "size", "order", "fewer"],
)
def test_other_settings_are_another_entry(photos, reads, cache, other):
    load(photos)
    options = {"paths": photos, **other(photos)}
    images = load(**options)
    assert len(reads) == 12 + len(options["paths"]) and len(list(cache.iterdir())) == 2
    assert len(images) == len(options["paths"])


def test_a_changed_photo_is_noticed(photos, reads):
    before = load(photos)
    Image.new("L", (320, 243), 9).save(photos[3])
    after = load(photos)
    assert len(reads) == 24 and (after[3] == 9).all() and not (before[3] == 9).all()
    stat = photos[5].stat()
    os.utime(photos[5], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(photos)
    assert len(reads) == 36


def test_a_changed_photo_that_is_not_hashed_is_noticed_by_size_and_time(photos, reads, monkeypatch):
    monkeypatch.setattr(preprocess, "_N_SAMPLED", 1)
    load(photos)
    stat = photos[5].stat()
    os.utime(photos[5], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(photos)
    assert len(reads) == 24
    stat = photos[7].stat()
    photos[7].write_bytes(photos[7].read_bytes() + b" ")
    os.utime(photos[7], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    load(photos)
    assert len(reads) == 36


def test_same_size_and_time_but_other_bytes_is_noticed(photos, reads):
    paths = [path.with_suffix(".bmp") for path in photos]
    for path in paths:
        Image.new("L", (90, 90), 10).save(path)
    load(paths)
    stat = paths[6].stat()
    Image.new("L", (90, 90), 11).save(paths[6])
    os.utime(paths[6], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert paths[6].stat().st_size == stat.st_size
    assert (load(paths)[6] == 11).all()


def test_another_version_of_the_preprocessing_is_noticed(photos, reads, monkeypatch, cache):
    load(photos)
    monkeypatch.setattr(preprocess, "_VERSION", preprocess._VERSION + 1)
    load(photos)
    assert len(reads) == 24 and len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"no zip", "half", "bit"])
def test_a_damaged_entry_is_rebuilt(photos, reads, cache, damage):
    first = load(photos)
    (entry,) = cache.iterdir()
    stored = bytearray(entry.read_bytes())
    if damage == "bit":
        stored[len(stored) // 2] ^= 1
    entry.write_bytes({"half": stored[: len(stored) // 2], "bit": stored}.get(damage, damage))
    assert np.array_equal(load(photos), first) and len(reads) == 24
    assert np.array_equal(load(photos), first) and len(reads) == 24


def test_an_unwritable_folder_only_costs_time(photos, reads, tmp_path, monkeypatch):
    (tmp_path / "in the way").write_text("")
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "in the way" / "cache"))
    assert np.array_equal(load(photos), load(photos)) and len(reads) == 24


def test_ctrl_c_leaves_no_entry_and_no_running_work(photos, cache, monkeypatch):
    started = []

    def slow(path):
        started.append(path)
        time.sleep(0.02)
        return read_grey(path)

    def interrupt(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess, "read_grey", slow)
    with pytest.raises(KeyboardInterrupt):
        load(photos, n_workers=2, progress=interrupt)
    n_started = len(started)
    time.sleep(0.1)
    assert len(started) == n_started < 12 and not cache.exists()


def test_ctrl_c_while_the_entry_is_written(photos, cache, monkeypatch):
    def interrupt(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(photos)
    assert list(cache.iterdir()) == []


def test_two_builders_at_once(photos, cache):
    results = []
    threads = [threading.Thread(target=lambda: results.append(load(photos))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, results[0]) for result in results) and len(results) == 4
    assert len(list(cache.iterdir())) == 1
