"""The command ferdata: its exit status, errors on one line, complete files or none."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from source_trees import ck_plus

import ferdata
from ferdata import cli
from ferdata.labels import LabelSpace
from ferdata.sources.packed import load_packed, save_packed
from ferdata.sources.rendered import render_faces
from ferdata.teachers.soft_labels import save_soft_labels
from tinycnn.ground._version import __version__


@pytest.fixture(scope="module")
def faces():
    return render_faces(n_subjects=6, n_per_class=1, size_px=40)


@pytest.fixture
def folder(tmp_path, faces, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    for i in range(24):
        place = tmp_path / "set" / faces.classes[faces.labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[i]).save(place / f"p{i:02d}.png")
    return tmp_path / "set"


def run(capsys, *argv):
    """(status, stdout, lines of stderr)."""
    status = cli.main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def test_clean(folder, capsys):
    status, out, err = run(capsys, "check", folder)
    assert status == 0 and err == [] and "nothing suspicious" in out
    assert "folders (folders named after classes" in out and "24 images of 40 x 40 px" in out


def test_findings(folder, capsys):
    shutil.copy(folder / "happy" / "p05.png", folder / "fear" / "again.png")
    status, out, err = run(capsys, "check", folder)
    assert status == 1 and err == []
    assert "- 1 image repeated with different labels: fear/again.png = happy/p05.png" in out


def test_json_and_html(folder, tmp_path, capsys):
    (folder / "happy" / "p05.png").write_bytes(b"")
    page = tmp_path / "page.html"
    status, out, err = run(capsys, "check", folder, "--json", "--html", page)
    content = json.loads(out)
    assert status == 1 and err == [] and content["n_unreadable"] == 1
    assert [f["kind"] for f in content["findings"]] == ["unreadable-images"]
    ElementTree.fromstring(page.read_text().split("\n", 1)[1])


def test_a_packed_data_set_and_teachers(faces, tmp_path, capsys):
    save_packed(faces, tmp_path / "faces.npz")
    good, bad = tmp_path / "good.npz", tmp_path / "bad.csv"
    logits = 5.0 * np.eye(8)[faces.labels]
    save_soft_labels(good, logits, "logits", faces.classes, ids=faces.ids)
    save_soft_labels(bad, logits[:9], "logits", faces.classes, ids=faces.ids[:9])
    command = ("check", tmp_path / "faces.npz", "--teacher", good)
    status, out, _ = run(capsys, *command)
    assert status == 0 and "good.npz: 48 entries by ids, logits; fits every image" in out
    status, out, _ = run(capsys, *command, "--teacher", bad)
    assert status == 1 and "bad.csv: no entry for 39 of 48 images" in out


@pytest.mark.parametrize(
    "argv, message",
    [
        (["check", "{tmp}/none"], "none"),
        (["check", "{tmp}/empty"], "no data set recognised"),
        (["check", "{tmp}/empty.csv"], "empty.csv"),
        (["check", "{set}", "--source", "nonsense"], "invalid choice: 'nonsense' (choose from"),
        (
            ["check", "{set}", "--protocol", "paper"],
            "--protocol: folders has no such argument; it has --classes NAME,NA",
        ),
        (["check", "{set}", "--votes", "v.csv"], "votes: belong to FER2013's csv"),
        (["check", "{set}", "--html", "{tmp}/none/p.html"], "there is no folder"),
        (["check", "{set}", "--html", "{tmp}"], "is a folder; expected the name of a file"),
        (["check"], "the following arguments are required: PATH"),
        (["check", "{set}", "--wrong"], "--wrong"),
        (["nothing"], "invalid choice: 'nothing'"),
        ([], "required: COMMAND"),
        (["show", "{set}", "{tmp}/x.gif"], "ends in .png or .html"),
        (
            ["show", "{set}", "{tmp}/x.png", "--columns", "0"],
            "expected a whole number of 1 or more",
        ),
        (["pack", "{set}", "{tmp}/x.zip"], "ends in .npz"),
        (["pack", "{set}", "{tmp}/x.npz", "--framing", "wide"], "framing"),
        (["pack", "{tmp}/none", "{tmp}/x.npz"], "none"),
    ],
)
def test_errors_have_one_line(folder, tmp_path, capsys, argv, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_bytes(b"")
    before = sorted(p.name for p in tmp_path.iterdir())
    status, out, err = run(capsys, *(a.format(tmp=tmp_path, set=folder) for a in argv))
    assert status == 2 and out == "" and len(err) == 1
    assert err[0].startswith("error: ") and message in err[0]
    assert {p.name for p in tmp_path.iterdir()} - {"cache"} == set(before)


def test_line_ends_in_a_path_do_not_break_the_line(tmp_path, capsys):
    status, _, err = run(capsys, "check", tmp_path / "no\nsuch\x1b[31m\udcff")
    assert status == 2 and len(err) == 1 and "\x1b" not in err[0] and "\udcff" not in err[0]


def test_damaged_images_are_an_error_for_pack(folder, tmp_path, capsys):
    (folder / "happy" / "p05.png").write_bytes(b"\x89PNG broken")
    status, _, err = run(capsys, "pack", folder, tmp_path / "x.npz")
    assert status == 2 and len(err) == 1 and "happy/p05.png" in err[0]
    assert not (tmp_path / "x.npz").exists()


def test_pack(folder, faces, tmp_path, capsys):
    status, out, err = run(capsys, "pack", folder, tmp_path / "x.npz")
    assert status == 0 and err == [] and "24 faces of 84 x 84 px" in out
    packed = load_packed(tmp_path / "x.npz")
    assert packed.ids[0] == "anger/p01.png" and packed.images.shape == (24, 84, 84)
    again = run(capsys, "pack", tmp_path / "x.npz", tmp_path / "y.npz")
    assert again[0] == 0
    np.testing.assert_array_equal(load_packed(tmp_path / "y.npz").images, packed.images)


def test_pack_with_votes_and_photos_without_a_face(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    pixels = " ".join(["10 200"] * 1152)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n")
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = "Training,f.png,0,1,9,0,0,0,0,0,0,0"
    (tmp_path / "votes.csv").write_text(f"Usage,Image name,{names}\n{votes}\n")
    words = ("pack", tmp_path / "fer2013.csv", tmp_path / "x.npz", "--votes")
    assert run(capsys, *words, tmp_path / "votes.csv")[0] == 0
    packed = load_packed(tmp_path / "x.npz")
    assert packed.classes[packed.labels[0]] == "surprise"  # from the votes; the csv says happy

    root = ck_plus(tmp_path / "CK", {"S005/001": (1, 4), "S010/001": (5, 4)})
    blank = root / "cohn-kanade-images/S005/001/S005_001_00000004.png"
    Image.new("L", (320, 245), 90).save(blank)
    words = ("pack", root, tmp_path / "y.npz")
    status, _, err = run(capsys, *words)
    assert status == 2 and "no face found" in err[0] and not (tmp_path / "y.npz").exists()
    assert run(capsys, *words, "--no-face", "whole")[0] == 0
    images = dict(zip(load_packed(tmp_path / "y.npz").ids, load_packed(tmp_path / "y.npz").images))
    (whole,) = [image for id_, image in images.items() if id_.endswith(blank.name)]
    assert (whole == 90).all()


@pytest.mark.skipif(os.name != "posix", reason="pipes are closed another way")
def test_a_closed_pipe_is_not_an_error(folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ferdata.cli", "check", str(folder)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert done.returncode == 141 and done.stderr == b""


def test_show(folder, faces, tmp_path, capsys):
    (folder / "happy" / "p05.png").write_bytes(b"")
    status, out, err = run(capsys, "show", folder, tmp_path / "x.png", "--columns", "2")
    assert status == 0 and err == [] and "from the top, anger 3, contempt 3, " in out
    sheet = np.asarray(Image.open(tmp_path / "x.png"))
    # eight classes with two rows of 2 images each, but happy has only 2 readable images
    assert sheet.shape == (8 * 82 - 42 + 7 * 8, 82)
    shown, anger = sheet[:40, :40].astype(float), faces.images[1].astype(float)
    assert np.abs(shown - anger).mean() < 6 < np.abs(shown - anger[:, ::-1]).mean()
    status, out, _ = run(capsys, "show", folder, tmp_path / "x.html")
    root = ElementTree.fromstring((tmp_path / "x.html").read_text().split("\n", 1)[1])
    assert status == 0 and len(list(root.iter("img"))) == 8


def test_pages_escape_names_from_files(faces, tmp_path, capsys):
    nasty = "<script>alert(1)'&\""
    images = faces.images.copy()
    images[0] = 0  # a finding: the page shows the image with its id, subject and label
    data = replace(
        faces,
        images=images,
        label_space=LabelSpace(f"{nasty}space", [nasty + name for name in faces.classes]),
        ids=np.char.add(f"{nasty}id", faces.ids),
        subjects=np.char.add(f"{nasty}subject", faces.subjects),
    )
    save_packed(data, tmp_path / f"{nasty}set.npz")
    teacher = tmp_path / f"{nasty}teacher.npz"
    save_soft_labels(teacher, np.eye(8)[:1], "logits", data.classes, ids=["none"])
    checked = ("set", f"id{faces.ids[0]}", "subject", "happy", "neutral", "teacher")
    for command, places in (("show", ("set", "happy", "neutral")), ("check", checked)):
        page = tmp_path / f"{command}.html"
        end = (page,) if command == "show" else ("--teacher", teacher, "--html", page)
        status, _, err = run(capsys, command, tmp_path / f"{nasty}set.npz", *end)
        assert err == [] and status == (command == "check"), command
        written = page.read_text(encoding="utf-8")
        assert "<script" not in written, command
        root = ElementTree.fromstring(written.split("\n", 1)[1])
        shown = [*root.itertext(), *(v for e in root.iter() for v in e.attrib.values())]
        for place in places:
            assert any(nasty + place in text for text in shown), (command, place)


def test_ctrl_c(folder, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "check", stop)
    assert run(capsys, "check", folder)[0] == 130


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"ferdata {__version__}\n"


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and all(name in out for name in ("check", "show", "pack"))


def test_show_leaves_out_a_class_without_images(faces, tmp_path, capsys):
    save_packed(faces.select(faces.labels != 1), tmp_path / "faces.npz")
    status, out, err = run(capsys, "show", tmp_path / "faces.npz", tmp_path / "x.png")
    assert status == 0 and err == [] and "from the top, neutral 6, contempt 6, " in out


# ---- options of a data set ---------------------------------------------------------------------


def test_show_shows_faces_as_they_are_cut_out(tmp_path, capsys):
    """Without options, the whole photos; with one that says how, the faces."""
    face = Image.fromarray(ferdata.render_faces(1, 1).images[0]).resize((168, 168))
    (tmp_path / "set" / "neutral").mkdir(parents=True)
    photo = Image.new("L", (300, 300), 128)
    photo.paste(face, (60, 60))
    photo.save(tmp_path / "set" / "neutral" / "a.png")
    (tmp_path / "set" / "sad").mkdir()
    photo.save(tmp_path / "set" / "sad" / "b.png")
    shown = {}
    for name, words in (("whole", ()), ("cut", ("--framing", "fer2013"))):
        out = tmp_path / f"{name}.png"
        status, _, err = run(capsys, "show", tmp_path / "set", out, "--columns", "1", *words)
        assert status == 0, err
        shown[name] = np.asarray(Image.open(out))
    assert (shown["whole"][0, :20] == 128).all()  # the margin of the photo
    faces = ferdata.open(tmp_path / "set", framing="fer2013")
    as_shown = Image.fromarray(faces.images[0]).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(shown["cut"][:64, :64].astype(int) - np.asarray(as_shown)).mean() < 12


def test_an_extra_class_that_is_to_be_dropped_is_no_finding(faces, tmp_path, capsys):
    teacher = tmp_path / "teacher.npz"
    logits = np.random.default_rng(0).normal(size=(len(faces), 9))
    classes = [*faces.classes, "boredom"]
    save_packed(faces, tmp_path / "faces.npz")
    save_soft_labels(teacher, logits, "logits", classes, ids=faces.ids)
    words = ("check", tmp_path / "faces.npz", "--teacher", teacher)
    _, out, _ = run(capsys, *words)
    assert "boredom is no class of this data set; --extra-classes drop leaves it out" in out
    _, out, _ = run(capsys, *words, "--extra-classes", "drop")
    assert "boredom is no class" not in out and "teacher.npz: 48 entries" in out


def test_a_photo_without_a_face_and_the_advice_that_helps(tmp_path, capsys):
    for name in ("happy", "sad"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", (200, 200), 90).save(tmp_path / "set" / name / "a.png")
    words = ("pack", tmp_path / "set", tmp_path / "x.npz", "--framing", "paper")
    status, _, err = run(capsys, *words)
    assert status == 2 and err[0].endswith("take the whole photo for the face: --no-face whole")
    assert run(capsys, *words, "--no-face", "whole")[0] == 0
