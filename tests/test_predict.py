"""`tinycnn predict` and examples/predict.py: rows, annotated pictures and exit status."""

import csv
import io
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from example_programs import EXAMPLES, load_example
from PIL import Image
from skimage import data

import tinycnn
from ferdata.photos.faces import Faces, find_faces
from ferdata.photos.photo import read_photo
from ferdata.photos.preprocess import load_faces
from tinycnn import cli, models
from tinycnn.cli import predict as program
from tinycnn.cli.annotated_photo import FRAME_COLOUR, annotated

ROOT, EXAMPLE = EXAMPLES.parent, EXAMPLES / "predict.py"
example = load_example("predict")
CLASSES = models.CLASSES


def run(*argv):
    return cli.main(["predict", *(str(word) for word in argv)])


def faces_in(photo, framing="fer2013", *, size_px=84, **options):
    """Replaces the face search: one face for every 100 px of width, none in narrower photos."""
    photo = photo if isinstance(photo, np.ndarray) else read_photo(photo)
    n = photo.shape[1] // 100
    boxes = np.array([[100 * k + 20, 30, 60, 50] for k in range(n)], np.int64).reshape(n, 4)
    shape = (n, size_px, size_px)
    images = np.random.default_rng(photo.shape[1]).integers(0, 256, shape, dtype=np.uint8)
    return Faces(images, boxes)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(program, "find_faces", faces_in)


def write_photo(path, width=100, height=100, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return path


def expected_answers(width, **options):
    faces = faces_in(np.zeros((100, width), np.uint8), size_px=48)
    return faces, tinycnn.load_pretrained("residual48").classify(faces.images, **options)


def json_rows(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    from skimage import data

    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


# ---- with the real face search and network ---------------------------------------------------


def test_the_astronaut_is_happy(astronaut, capsys):
    assert run("--json", astronaut) == 0
    (row,) = json_rows(capsys.readouterr().out)
    assert row["file"] == str(astronaut)
    (face,) = row["faces"]
    x, y, width, height = face["box"]
    assert x < 205 < x + width and x < 245 < x + width  # the box contains her eyes
    assert y < 105 < y + height and y < 145 < y + height  # the box contains eyes and mouth
    assert face["expression"] == "happy" and face["probabilities"]["happy"] > 0.7


def test_the_search_can_be_set(astronaut, capsys):
    """Her suit looks like a face of 26 px to the cascade, with a score below 1."""
    assert run("--csv", "--least-score", 0.5, astronaut) == 0
    face, other = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert float(face["score"]) >= 1 > float(other["score"]) >= 0.5 and int(other["width"]) < 30
    assert run("--csv", "--least-score", 0.5, "--smallest-px", 60, astronaut) == 0
    assert list(csv.DictReader(io.StringIO(capsys.readouterr().out))) == [face]


def test_a_colour_jpeg_is_read_as_for_training(tmp_path, capsys, monkeypatch):
    """The stored luma is used, not one computed again from RGB."""
    from skimage import data

    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "a.jpg"
    tinted = np.minimum(data.astronaut() * np.array([1.8, 1.2, 0.5]), 255).astype(np.uint8)
    Image.fromarray(tinted).save(path, quality=60)
    trained_on = load_faces([path], framing="fer2013", cache_key="a", size_px=48)
    again = find_faces(read_photo(path), size_px=48)
    assert not np.array_equal(again.images[:1], trained_on)
    assert run("--json", path) == 0
    (row,) = json_rows(capsys.readouterr().out)
    (answer,) = tinycnn.load_pretrained("residual48").classify(trained_on)
    assert row["faces"][0]["probabilities"] == {k: round(p, 6) for k, p in answer.probs.items()}


def test_it_runs_as_a_program(astronaut):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), "--csv", str(astronaut)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TINYCNN_WAIT_FOR_KERNELS": "0"},
        timeout=300,
    )
    assert done.returncode == 0 and done.stderr == ""  # NumPy answers: nothing is compiled
    assert [row["expression"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["happy"]


def test_the_example_has_the_options_of_the_command(capsys):
    """The same options, with the same help."""
    texts = []
    for show in (lambda: cli.main(["predict", "--help"]), lambda: example.main(["--help"])):
        with pytest.raises(SystemExit):
            show()
        texts.append(capsys.readouterr().out.partition("positional arguments:")[2].split())
    assert texts[0] == texts[1] and "--unsure-below" in texts[0]


def test_the_example_prints_what_the_command_prints(quick, tmp_path, capsys):
    photos = [write_photo(tmp_path / name, 230) for name in ("a.png", "b.png")]
    (tmp_path / "c.png").write_bytes(b"no picture")
    printed = []
    for main in (cli.main, example.main):
        words = [] if main is example.main else ["predict"]
        assert main([*words, "--csv", *map(str, photos), str(tmp_path / "c.png")]) == 1
        printed.append(capsys.readouterr())
    assert printed[0] == printed[1] and printed[0].out.count("\n") == 5


@pytest.mark.parametrize("module", ["tinycnn", "tinycnn.cli"])
def test_the_command_runs_as_a_module(module, astronaut):
    done = subprocess.run(
        [sys.executable, "-m", module, "predict", str(astronaut), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TINYCNN_WAIT_FOR_KERNELS": "0"},
        timeout=300,
    )
    assert done.returncode == 0 and done.stderr == ""  # NumPy answers: nothing is compiled
    assert json.loads(done.stdout)["faces"][0]["expression"] == "happy"


def test_photos_may_stand_between_the_options(quick, tmp_path, capsys):
    first, last = write_photo(tmp_path / "a.png"), write_photo(tmp_path / "b.png")
    assert run(first, "--json", last, "--unsure-below", 0.5) == 0
    rows = json_rows(capsys.readouterr().out)
    assert [row["file"] for row in rows] == [str(first), str(last)]


def test_the_published_checkpoint_as_the_model(shared, quick, tmp_path, capsys):
    """A TensorFlow checkpoint is taken under each of its names, as `tinycnn info` takes it."""
    prefix = shared / "data" / "microexpnet_ck" / "MicroExpNet_CK"
    photo = write_photo(tmp_path / "a.png")
    answers = []
    for name in (prefix, f"{prefix}.index"):
        assert run("--json", "--model", name, photo) == 0
        answers.append(json_rows(capsys.readouterr().out))
    expected = tinycnn.load(prefix).classify(faces_in(photo, "paper").images)
    (face,) = answers[0][0]["faces"]
    assert answers[0] == answers[1]
    assert face["probabilities"] == {k: round(p, 6) for k, p in expected[0].probs.items()}


def test_a_closed_pipe_is_not_an_error(quick, tmp_path):
    photo = write_photo(tmp_path / "a.png")
    command = f'"{sys.executable}" "{EXAMPLE}" --csv "{photo}" "{photo}" | head -n 0'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, timeout=300
    )
    assert not any(word in done.stderr for word in ("rror", "Traceback", "ignored"))


# ---- rows ------------------------------------------------------------------------------------


def test_json_rows_hold_every_face(quick, tmp_path, capsys):
    wide, narrow = write_photo(tmp_path / "wide.png", 230), write_photo(tmp_path / "b.png", 60)
    assert run("--json", wide, narrow) == 0
    faces, answers = expected_answers(230)
    rows = json_rows(capsys.readouterr().out)
    assert [row["file"] for row in rows] == [str(wide), str(narrow)]
    assert rows[1] == {"file": str(narrow), "faces": []}
    assert len(rows[0]["faces"]) == 2
    for found, box, answer in zip(rows[0]["faces"], faces.boxes, answers):
        assert list(found) == ["box", "expression", "probabilities", "score"]
        assert found["box"] == box.tolist() and found["expression"] == answer.label
        assert list(found["probabilities"]) == list(CLASSES)
        for name in CLASSES:
            assert found["probabilities"][name] == pytest.approx(answer.probs[name], abs=1e-6)


def test_csv_rows_hold_the_same(quick, tmp_path, capsys):
    wide = write_photo(tmp_path / 'a, "b".png', 330)
    narrow = write_photo(tmp_path / "narrow.png", 50)
    assert run("--csv", wide, narrow) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["file", "x", "y", "width", "height", "expression", *CLASSES, "score"]
    faces, answers = expected_answers(330)
    assert len(rows) == 3
    for row, box, answer in zip(rows, faces.boxes, answers):
        assert row["file"] == str(wide) and row["expression"] == answer.label
        assert [int(row[k]) for k in ("x", "y", "width", "height")] == box.tolist()
        assert [float(row[k]) for k in CLASSES] == pytest.approx(
            list(answer.probs.values()), abs=1e-6
        )


def test_the_table_shows_the_same(quick, tmp_path, capsys):
    wide, narrow = write_photo(tmp_path / "wide.png", 230), write_photo(tmp_path / "b.png", 60)
    assert run(wide, narrow) == 0
    out, error = capsys.readouterr()
    header, first, second, none = out.splitlines()
    assert header.split() == ["expression", *CLASSES, "x", "y", "width", "height", "file"]
    faces, answers = expected_answers(230)
    for line, box, answer in zip((first, second), faces.boxes, answers):
        percents = [f"{100 * p:.0f}" for p in answer.probs.values()]
        assert line.split() == [answer.label, *percents, *map(str, box.tolist()), str(wide)]
        assert line.index(str(wide)) == header.index("file")
    assert none.split() == ["(no", "face)", str(narrow)]
    assert error == "2 photos, 2 faces, 1 photo without a face\n"


def test_unsure_is_printed(quick, tmp_path, capsys):
    photo = write_photo(tmp_path / "a.png", 530)
    _, answers = expected_answers(530)
    confidences = sorted(answer.confidence for answer in answers)
    between = sum(confidences[1:3]) / 2
    assert confidences[1] < between < confidences[2]
    assert run("--json", "--unsure-below", between, photo) == 0
    (row,) = json_rows(capsys.readouterr().out)
    said = [face["expression"] for face in row["faces"]]
    assert said == [a.label if a.confidence >= between else "unsure" for a in answers]
    assert said.count("unsure") == 2


def test_names_that_the_terminal_cannot_show(quick, tmp_path, capsys):
    name = os.fsdecode(b"\xff.png")
    try:
        photo = write_photo(tmp_path / "a.png").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes no such name")
    for option in ((), ("--json",), ("--csv",)):
        assert run(*option, photo) == 0
        shown = "udcff.png" if option else "\ufffd.png"  # data, and text for people
        assert shown in capsys.readouterr().out


# ---- folders ---------------------------------------------------------------------------------


def tree(folder):
    """Pictures and other files, created in another order than that of their names."""
    for name in ("z.png", "b/2.JPG", "b/10.jpg", "b/a/x.png", "a.gif", ".hidden.png", ".g/y.png"):
        write_photo(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty").mkdir()
    return [str(folder / n) for n in ("a.gif", "b/10.jpg", "b/2.JPG", "b/a/x.png", "z.png")]


def test_a_folder_is_walked_in_the_order_of_names(quick, tmp_path, capsys):
    expected = tree(tmp_path / "t")
    other = write_photo(tmp_path / "first.png")
    assert run("--json", other, tmp_path / "t") == 0
    out, error = capsys.readouterr()
    assert [row["file"] for row in json_rows(out)] == [str(other), *expected]
    assert error == "6 photos, 6 faces; 1 file is no picture: .txt\n"


def test_photos_are_freed(monkeypatch, tmp_path, capsys):
    """A folder of photos takes the memory of one: before the next is read, the last is freed."""
    for k in range(12):
        write_photo(tmp_path / f"{k:02}.png", 100 + k)
    alive, read = weakref.WeakSet(), program.read_photo
    most = 0

    class Photo(np.ndarray):
        """An array that supports weak references."""

    def reading(path):
        nonlocal most
        most = max(most, len(alive))
        photo = read(path).view(Photo)
        alive.add(photo)
        return photo

    monkeypatch.setattr(Photo, "__hash__", lambda self: id(self))
    monkeypatch.setattr(program, "read_photo", reading)
    monkeypatch.setattr(
        program, "find_faces", lambda path, framing, **options: faces_in(reading(path), **options)
    )
    assert run("--json", "--annotate", tmp_path / "marked", tmp_path) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12
    assert most <= 1


def test_progress_is_shown_on_a_terminal_and_rows_stay_clean(quick, tmp_path, monkeypatch, capsys):
    tree(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("--json", tmp_path) == 0
    out, error = capsys.readouterr()
    assert "5/5" in error and "photo" in error
    assert len(json_rows(out.replace("\r", "\n").strip())) == 5


# ---- what goes wrong -------------------------------------------------------------------------


def test_a_bad_file_is_reported_and_skipped(quick, tmp_path, capsys):
    good = [write_photo(tmp_path / "t" / name) for name in ("a.png", "c.png")]
    bad = tmp_path / "t" / "b.png"
    bad.write_bytes(good[0].read_bytes()[:60])
    assert run("--json", tmp_path / "t") == 1
    out, error = capsys.readouterr()
    assert [row["file"] for row in json_rows(out)] == [str(path) for path in good]
    told, summary = error.splitlines()
    assert told.startswith("error: ") and str(bad) in told
    assert summary == "2 photos, 2 faces, 1 file not read"


def test_missing_files_and_empty_folders_are_reported(quick, tmp_path, capsys):
    good = write_photo(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    assert run("--json", good, tmp_path / "empty", tmp_path / "nothing.png") == 1
    out, error = capsys.readouterr()
    assert len(json_rows(out)) == 1
    first, second, _ = error.splitlines()
    assert first == f"error: {tmp_path / 'empty'}: no pictures in this folder"
    assert second == f"error: {tmp_path / 'nothing.png'}: no such file"


@pytest.mark.parametrize("make", [None, Path.mkdir, lambda path: path.write_bytes(b"no picture")])
def test_if_nothing_can_be_read_the_status_is_2(quick, tmp_path, capsys, make):
    path = tmp_path / "a.png"
    if make:
        make(path)
    assert run("--json", path) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith(f"error: {path}") and error.count("\n") == 1


def test_ctrl_c_stops_between_rows(tmp_path, monkeypatch, capsys):
    tree(tmp_path)
    calls = []

    def interrupted(photo, framing, **options):
        calls.append(photo)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return faces_in(photo, framing, **options)

    monkeypatch.setattr(program, "find_faces", interrupted)
    assert run("--json", tmp_path) == 130
    out, error = capsys.readouterr()
    assert len(json_rows(out)) == 2
    assert error == "stopped: 2 photos, 2 faces; 1 file is no picture: .txt\n"


def save_model(path, size_px=84, framing=None, classes=("no", "yes"), b=(0, 5), width_px=None):
    layers = [tinycnn.Flatten(), tinycnn.Dense(len(classes))]
    spec = tinycnn.InputSpec(
        size_px, width_px or size_px, scaling="unit", classes=classes, framing=framing
    )
    network = tinycnn.Network(layers, spec, backend="numpy")
    network.parameter_vector[:] = 0
    network.parameters["dense1.b"][:] = b
    tinycnn.save(network, path)
    return path


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "the following arguments are required: PHOTO_OR_FOLDER"),
        (["--model", "{tmp}/none.safetensors"], "no such file"),
        (["--model", "{tmp}/a.png"], "not a safetensors file"),
        (["--model", "microexpnet-p1-S"], "has random weights; expected a network that was"),
        (["--model", "{tmp}/wide"], "takes 48x84x1 images; faces are square and have 1 channel"),
        (["--model", "{tmp}/unframed"], "does not say how its faces were cut; give --framing"),
        (["--model", "{tmp}/odd"], "its framing is thermal; known are paper, fer2013"),
        (["--model", "{tmp}/framed", "--framing", "fer2013"], "from framing paper, not fer2013"),
        (["--framing", "paper"], "the shipped model: learned from framing fer2013, not paper"),
        (["--framing", "odd"], "invalid choice"),
        (["--unsure-below", "1.5"], "'1.5': expected a number from 0 to 1"),
        (["--unsure-below", "nan"], "expected a number from 0 to 1"),
        (["--smallest-px", "23"], "'23': expected a number of 24 or more"),
        (["--least-score", "0"], "'0': expected a number above 0"),
        (["--smoothing", "-1"], "'-1': expected a number of 0 or more"),
        (["--threads", "0"], "'0': expected a whole number of 1 or more"),
        (["--json", "--csv"], "not allowed with"),
        (["--annotate", "{tmp}"], "would be overwritten; choose another"),
        (["--annotate", "{tmp}/a.png"], "a file; expected a folder"),
        (["--annotate", "{tmp}/new", "{tmp}/other/a.png"], "two of the given photos are called"),
        (["--surprise"], "--help explains the options"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(quick, tmp_path, capsys, argv, message):
    write_photo(tmp_path / "a.png")
    write_photo(tmp_path / "other" / "a.png")
    save_model(tmp_path / "wide", 48, "fer2013", width_px=84)
    save_model(tmp_path / "unframed")
    save_model(tmp_path / "odd", framing="thermal")
    save_model(tmp_path / "framed", framing="paper")
    photos = [tmp_path / "a.png"] if argv else []
    assert run(*photos, *(word.format(tmp=tmp_path) for word in argv)) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("size_px", [48, 84, 100])
def test_faces_have_the_size_that_the_model_takes(tmp_path, monkeypatch, capsys, size_px):
    """A real search and crop; the model refuses images of any other size."""
    photo, model = tmp_path / "a.png", save_model(tmp_path / "m", size_px, "fer2013")
    Image.fromarray(data.astronaut()).save(photo)
    assert run("--json", photo, "--model", model) == 0
    (row,) = json_rows(capsys.readouterr().out)
    assert [face["expression"] for face in row["faces"]] == ["yes"]


@pytest.mark.parametrize("own, option", [("paper", None), (None, "paper"), ("fer2013", "fer2013")])
def test_faces_are_cut_with_the_framing_of_the_model(tmp_path, monkeypatch, capsys, own, option):
    asked = []

    def find(photo, framing, **options):
        asked.append(framing)
        return faces_in(photo, **options)

    monkeypatch.setattr(program, "find_faces", find)
    model = save_model(tmp_path / "m", framing=own)
    options = ["--framing", option] if option else []
    assert run("--json", "--model", model, *options, write_photo(tmp_path / "a.png")) == 0
    assert asked == [own or option]
    (row,) = json_rows(capsys.readouterr().out)
    assert row["faces"][0]["expression"] == "yes"
    assert list(row["faces"][0]["probabilities"]) == ["no", "yes"]


# ---- marked pictures -------------------------------------------------------------------------


def test_annotated_pictures_only_change_at_the_box_and_label(quick, tmp_path, capsys):
    photo = write_photo(tmp_path / "in" / "a.png", 230, 140)
    before = photo.read_bytes()
    assert run("--annotate", tmp_path / "out", tmp_path / "in") == 0
    picture = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert picture.shape == (140, 230, 3)
    changed = (picture != 90).any(axis=2)
    for x in (20, 120):
        frame = np.zeros_like(changed)
        frame[30:80, x : x + 60] = True
        frame[31:79, x + 1 : x + 59] = False
        assert changed[frame].all()
        assert not changed[31:79, x + 1 : x + 59].any()  # the inside of the box is not changed
        assert (picture[frame] == FRAME_COLOUR).all()
        assert changed[:30, x : x + 30].any()  # the label is above it
    assert not changed[81:].any() and photo.read_bytes() == before
    capsys.readouterr()


def test_labels_stay_in_the_picture():
    """Faces in the middle, in every corner and beyond the edge: the label is always complete."""
    _, answers = expected_answers(100)
    n_dark = set()
    for x, y in ((50, 50), (0, 0), (100, 0), (0, 80), (100, 80), (-8, -8), (110, 90)):
        photo = np.full((100, 120), 90, np.uint8)
        faces = Faces(np.zeros((1, 84, 84), np.uint8), np.array([(x, y, 20, 20)]))
        picture = np.asarray(annotated(photo, faces, answers))
        assert picture.shape == (100, 120, 3)
        dark = (picture[..., 0] == 0) & (picture[..., 1] < 150)  # black on green, smoothed
        n_dark.add(int(dark.sum()))
    assert len(n_dark) == 1 and n_dark.pop() > 50
    faces = Faces(np.zeros((1, 84, 84), np.uint8), np.array([(0, 0, 120, 100)]))
    picture = np.asarray(annotated(photo, faces, answers))  # no room above or below
    assert ((picture[..., 0] == 0) & (picture[..., 1] < 150)).sum() > 50


def test_names_of_annotated_pictures_follow_the_folders(quick, tmp_path, capsys):
    tree(tmp_path / "t")
    out = tmp_path / "t" / "marked"
    for _ in range(2):  # the second time, annotated pictures exist and must not be read as photos
        assert run("--annotate", out, tmp_path / "t") == 0
        written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
        assert written == ["a.gif.png", "b/10.jpg", "b/2.JPG", "b/a/x.png", "z.png"]
        assert "5 photos" in capsys.readouterr().err
    with Image.open(out / "b" / "2.JPG") as picture:
        assert picture.format == "JPEG"


def test_annotated_pictures_of_several_folders_do_not_collide(quick, tmp_path, capsys):
    for folder in ("a", "b"):
        write_photo(tmp_path / folder / "x.png")
    out = tmp_path / "out"
    assert run("--annotate", out, tmp_path / "a", tmp_path / "b") == 0
    assert (out / "a" / "x.png").is_file() and (out / "b" / "x.png").is_file()


def test_an_annotated_picture_that_cannot_be_written_is_reported(quick, tmp_path, capsys):
    write_photo(tmp_path / "in" / "a.png")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    assert run("--json", "--annotate", tmp_path / "out", tmp_path / "in") == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "a.png"]
