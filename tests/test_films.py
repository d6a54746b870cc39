"""`tinycnn predict` on films and cameras; reading and writing films. The films are made here, of
drawn faces."""

import csv
import io
import json
import signal
import types
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import ferdata
import tinycnn
from ferdata import DataError
from ferdata.films import film_writer, frames
from ferdata.films.frames import Camera, film_format, read_film
from tinycnn import cli
from tinycnn.cli import predict as program
from tinycnn.models import CLASSES

av = pytest.importorskip("av", reason='films need PyAV: pip install "tinycnn[video]"')

N, RATE = 12, 25


def pictures():
    """N frames of 320x240: a drawn face moves to the right; frame k has a patch of grey 16 k."""
    face = ferdata.render_faces(1, 1, seed=1, size_px=120).images[5]
    for k in range(N):
        picture = np.full((240, 320, 3), 110, np.uint8)
        picture[60:180, 60 + 4 * k : 180 + 4 * k] = face[..., None]
        picture[:40, :40] = 16 * k
        yield picture


def write_film(path, shots, format="mp4", codec="mpeg4", ticks=RATE, times=None):
    """With PyAV alone; times in ticks."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=ticks)
        stream.pix_fmt, stream.bit_rate, stream.gop_size = "yuv420p", 4_000_000, 4
        for k, shot in enumerate(shots):
            if k == 0:
                stream.height, stream.width = shot.shape[:2]
            frame = av.VideoFrame.from_ndarray(shot, format="rgb24")
            frame.pts, frame.time_base = (k if times is None else times[k]), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", pictures())


def run(*argv):
    return cli.main(["predict", *(str(word) for word in argv)])


# ---- reading ---------------------------------------------------------------------------------


def test_frames_come_with_numbers_times_and_pixels(film):
    read = list(read_film(film))
    assert [frame.number for frame in read] == list(range(N))
    np.testing.assert_allclose([frame.time_s for frame in read], np.arange(N) / RATE, atol=1e-6)
    for frame, picture in zip(read, pictures()):
        assert frame.pixels.shape == (240, 320, 3) and frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels[4:36, 4:36].mean() - picture[0, 0, 0]) < 4
        assert np.abs(frame.pixels.astype(int) - picture).mean() < 5


def test_frames_have_their_own_times(tmp_path):
    times = [0, 1, 5, 6, 30]
    path = write_film(tmp_path / "a.mkv", list(pictures())[:5], "matroska", times=times)
    np.testing.assert_allclose(
        [frame.time_s for frame in read_film(path)], np.array(times) / RATE, atol=1.1e-3
    )


@pytest.mark.parametrize(
    "format, known",
    [("mp4", "mov"), ("matroska", "matroska"), ("avi", "avi")] + [("mpegts", "mpegts")],
)
def test_films_are_recognised_by_content(tmp_path, format, known):
    codec = "mpeg2video" if format == "mpegts" else "mpeg4"
    path = write_film(tmp_path / "no suffix", list(pictures())[:3], format, codec)
    assert film_format(path) == known
    assert len(list(read_film(path))) == 3


def test_pictures_and_other_files_are_no_films(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "film.mp4", "PNG")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n/etc/passwd\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for path in tmp_path.iterdir():
        assert film_format(path) is None, path
        with pytest.raises(DataError, match="not a film; expected one of mov, matroska"):
            list(read_film(path))
    assert film_format(tmp_path) is None and film_format(tmp_path / "none") is None
    with pytest.raises(DataError, match="none.mp4: no such file"):
        list(read_film(tmp_path / "none.mp4"))


def test_a_film_that_is_cut_off_or_has_sound_alone(film, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:600])
    with pytest.raises(DataError, match="cut.mp4: cannot be read as a film"):
        list(read_film(cut))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for _ in range(4):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 44100
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="sound.mp4: a film without pictures"):
        list(read_film(tmp_path / "sound.mp4"))


@pytest.mark.parametrize("rotation, quarters", [(0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2)])
def test_a_film_of_a_phone_is_turned_upright(rotation, quarters):
    """PyAV says by how many degrees a frame is to be turned counterclockwise."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    decoded = types.SimpleNamespace(
        width=3, height=2, rotation=rotation, to_ndarray=lambda format: pixels
    )
    turned = frames._upright_pixels(decoded, "a.mp4")
    for _ in range(quarters):  # counterclockwise: the last column becomes the first row
        pixels = pixels.swapaxes(0, 1)[::-1]
    assert np.array_equal(turned, pixels)


def test_pixels_that_are_not_square_and_too_many():
    def decoded(**more):
        flat = np.zeros((6, 4, 3), np.uint8)
        return types.SimpleNamespace(
            **{"width": 4, "height": 6, "to_ndarray": lambda format: flat, **more}
        )

    assert frames._upright_pixels(decoded(sample_aspect_ratio=Fraction(3, 2)), "a").shape == (
        6,
        6,
        3,
    )
    with pytest.raises(DataError, match="a: 60000 x 60000 px is more than 50,000,000"):
        frames._upright_pixels(decoded(width=60_000, height=60_000), "a")


# ---- writing ---------------------------------------------------------------------------------


def test_a_written_film_has_its_frames_and_times(tmp_path):
    times = [0.0, 0.04, 0.3, 0.3, 1.0]
    writer = film_writer.FilmWriter(tmp_path / "a.mp4", RATE)
    shots = [shot[:239, :319] for shot in pictures()][:5]  # odd sizes
    for shot, time_s in zip(shots, times):
        writer.write(shot, time_s)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    writer.close()
    (path,) = tmp_path.iterdir()
    read = list(read_film(path))
    assert path.name == "a.mp4" and read[0].pixels.shape == (240, 320, 3)
    np.testing.assert_allclose([frame.time_s for frame in read], times, atol=1e-4)
    for frame, shot in zip(read, shots):
        assert np.abs(frame.pixels[:239, :319].astype(int) - shot).mean() < 6


def test_a_film_without_frames_leaves_no_file(tmp_path):
    film_writer.FilmWriter(tmp_path / "a.mp4", RATE).close()
    film_writer.FilmWriter(tmp_path / "b.mp4", RATE).discard()
    assert list(tmp_path.iterdir()) == []


# ---- tinycnn predict -------------------------------------------------------------------------


def test_a_row_per_frame_and_face(film, tmp_path, capsys):
    assert run("--csv", "--annotate", tmp_path / "out", film) == 0
    out, error = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    box = ["x", "y", "width", "height"]
    when = ["frame", "time_s", "face"]
    assert list(rows[0]) == ["file", *when, *box, "expression", *CLASSES, "score"]
    assert [int(row["frame"]) for row in rows] == list(range(N))
    assert [float(row["time_s"]) for row in rows] == pytest.approx(np.arange(N) / RATE, abs=1e-6)
    assert {row["face"] for row in rows} == {"1"} and {row["file"] for row in rows} == {str(film)}
    for k, row in enumerate(rows):
        x, width = int(row["x"]), int(row["width"])
        assert abs(x + width / 2 - (120 + 4 * k)) < 15
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert error == f"{N} frames, {N} faces, 0 frames without a face\n"
    (copy,) = (tmp_path / "out").iterdir()
    marked = list(read_film(copy))
    assert copy.name == "film.mp4" and len(marked) == N
    np.testing.assert_allclose([one.time_s for one in marked], np.arange(N) / RATE, atol=1e-4)
    x, y = int(rows[0]["x"]), int(rows[0]["y"])
    green = marked[0].pixels[y : y + 100, x : x + 100].astype(int)
    assert (green[..., 1] - green[..., 0] > 80).sum() > 50


def test_without_smoothing_each_frame_has_its_own_answer(film, capsys):
    assert run("--json", "--smoothing", 0, film) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["frame"], row["faces"][0]["face"]) for row in rows] == [(k, 1) for k in range(N)]
    network = tinycnn.load_pretrained("residual48")
    tracker = ferdata.FaceTracker(size_px=48)
    for row, frame in zip(rows, read_film(film)):
        assert row["time_s"] == pytest.approx(frame.time_s)
        faces = tracker.find(frame.pixels, frame.time_s).faces
        (answer,) = network.classify(faces)
        expected = {name: pytest.approx(p, abs=1e-6) for name, p in answer.probs.items()}
        assert row["faces"][0]["probabilities"] == expected
    assert run("--json", film) == 0
    smoothed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def changes(some):
        probs = [list(row["faces"][0]["probabilities"].values()) for row in some]
        return np.abs(np.diff(probs, axis=0)).sum()

    assert changes(smoothed) < 0.7 * changes(rows)


def test_photos_and_films_together(film, tmp_path, capsys):
    photo = tmp_path / "a.png"
    Image.fromarray(next(iter(pictures()))).save(photo)
    assert run("--csv", photo, film) == 0
    out, error = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (rows[0]["file"], rows[0]["frame"], rows[0]["face"]) == (str(photo), "", "")
    assert len(rows) == 1 + N and error.startswith(f"1 photo, {N} frames, {1 + N} faces")
    assert run(photo, film) == 0
    header, first, second, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[-7:] == ["x", "y", "width", "height", "time", "face", "file"]
    assert second.split()[-3:] == ["0.00", "1", str(film)]
    assert first.index(str(photo)) == second.index(str(film)) == header.index("file")


def test_a_film_in_a_folder_is_counted_and_the_message_says_how_it_is_read(film, tmp_path, capsys):
    Image.fromarray(next(iter(pictures()))).save(tmp_path / "a.png")
    (tmp_path / "film.mp4").write_bytes(film.read_bytes())
    assert run("--csv", tmp_path) == 1
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 2
    told = "1 photo, 1 face; 1 file is no picture: .mp4; name films themselves, not their folder\n"
    assert error == told


def test_a_damaged_film_is_reported(film, tmp_path, capsys):
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:600])
    assert run("--csv", tmp_path / "cut.mp4") == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"error: {tmp_path / 'cut.mp4'}: cannot be read as a film")
    assert run("--csv", film, tmp_path / "cut.mp4") == 1


# ---- cameras and Ctrl-C ----------------------------------------------------------------------


@pytest.fixture
def camera(monkeypatch):
    """Stands in for a camera: all frames, none dropped, then Ctrl-C."""

    class StandIn(Camera):
        def __iter__(self):
            for k, picture in enumerate(pictures()):
                yield frames.Frame(2 * k, 2 * k / RATE, picture, int(k > 0))
            raise KeyboardInterrupt

    opened = []

    def open_camera(name):
        opened.append(name)
        return StandIn(f"camera {name}", [], RATE)

    monkeypatch.setattr(program, "open_camera", open_camera)
    return opened


def test_ctrl_c_ends_a_camera_and_keeps_what_is_done(camera, tmp_path, capsys):
    assert run("--camera", 0, "--csv", "--annotate", tmp_path) == 130
    out, error = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert camera == ["0"] and {row["file"] for row in rows} == {"camera 0"}
    assert [int(row["frame"]) for row in rows] == list(range(0, 2 * N, 2))
    expected = f"stopped: {N} frames, {N} faces, 0 frames without a face, "
    assert error == expected + f"{N - 1} frames of the camera dropped\n"
    (copy,) = tmp_path.iterdir()
    assert copy.name.startswith("camera-0-20") and copy.suffix == ".mp4"
    assert [one.time_s for one in read_film(copy)] == pytest.approx(
        [2 * k / RATE for k in range(N)], abs=1e-4
    )


def test_ctrl_c_while_a_frame_is_written(film, tmp_path, capsys, monkeypatch):
    write, written = film_writer.FilmWriter.write, []

    def interrupted(self, pixels, time_s):
        written.append(time_s)
        if len(written) == 4:
            signal.raise_signal(signal.SIGINT)
        write(self, pixels, time_s)

    monkeypatch.setattr(film_writer.FilmWriter, "write", interrupted)
    assert run("--csv", "--annotate", tmp_path, film) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert len(list(read_film(tmp_path / "film.mp4"))) == 4
    assert "stopped: 3 frames" in capsys.readouterr().err


def test_without_the_extra_the_message_names_it(film, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    for words in ((film,), ("--camera", "0")):
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert 'films and cameras need PyAV: pip install "tinycnn[video]"' in error
