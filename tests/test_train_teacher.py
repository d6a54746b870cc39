"""examples/train_teacher.py, with few drawn people and one epoch."""

import re

import numpy as np
import pytest
from example_programs import load_example

import ferdata

program = load_example("train_teacher")


@pytest.fixture(scope="module")
def few_faces():
    return ferdata.render_faces(10, 1, seed=0)


def test_it_writes_a_soft_label_file_for_the_default_training_set(
    few_faces, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ferdata, "default_faces", lambda progress=None: few_faces)
    drawn = []
    render = ferdata.render_faces

    def render_noting(*arguments, **options):
        drawn.append(options["seed"])
        return render(*arguments, **options)

    monkeypatch.setattr(ferdata, "render_faces", render_noting)
    out = tmp_path / "teacher.npz"
    assert program.main(["--people", "5", "--epochs", "1", "--out", str(out)]) == 0
    assert drawn == [1]  # not the people of the default set, which has seed 0
    train = few_faces.in_split("train")
    with np.load(out, allow_pickle=False) as file:
        assert str(file["images_sha256"]) == train.content_hash()
    values, aligned = ferdata.align_soft_labels(ferdata.load_soft_labels(out), train)
    assert values.shape == (64, 8) and aligned.n_used == 64 and aligned.n_unused == 0
    assert aligned.kind == "logits"
    printed = capsys.readouterr().out
    found = re.search(r"default faces: [\d.]+% train, ([\d.]+)% validation", printed)
    assert found and f"epoch 0: validation accuracy {found[1]}%" in printed and str(out) in printed
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.npz"]


def test_logits_are_the_mean_over_an_image_and_its_mirror_image(few_faces, tmp_path, monkeypatch):
    """Therefore faces and their mirror images get the same logits."""
    flipped = ferdata.FaceDataset(
        images=np.ascontiguousarray(few_faces.images[:, :, ::-1]),
        ids=few_faces.ids,
        label_space=few_faces.label_space,
        labels=few_faces.labels,
        split=few_faces.split,
    )
    found = []
    for dataset in (few_faces, flipped):
        monkeypatch.setattr(ferdata, "default_faces", lambda progress=None: dataset)
        out = tmp_path / f"{len(found)}.npz"
        assert program.main(["--people", "1", "--epochs", "1", "--out", str(out)]) == 0
        found.append(ferdata.load_soft_labels(out).values)
    assert np.allclose(found[0], found[1], rtol=1e-5, atol=1e-5)
    assert np.ptp(found[0], axis=0).min() > 1e-4


@pytest.mark.parametrize("out", ["nowhere/teacher.npz", "teacher.csv", "file/teacher.npz"])
def test_an_unwritable_path_is_an_error_before_the_work(tmp_path, capsys, monkeypatch, out):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(ferdata, "default_faces", lambda: pytest.fail("the work began"))
    with pytest.raises(SystemExit) as caught:
        program.main(["--out", str(tmp_path / out)])
    assert caught.value.code == 2
    assert "expected an .npz file in a folder that exists" in capsys.readouterr().err


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as caught:
        program.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--out", "--people", "--epochs", "--seed", "ferdata/teachers/rendered.npz"):
        assert option in text
