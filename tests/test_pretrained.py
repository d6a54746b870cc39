"""The shipped weights: they exist, match their model card, and are calibrated.

Also examples/package_pretrained.py, which measures them and writes the numbers of the card.
"""

import configparser
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from example_programs import load_example

import ferdata
import tinycnn
from tinycnn import InputSpec, metrics, models
from tinycnn.formats import pretrained
from tinycnn.formats.pretrained import PRETRAINED, load_pretrained
from tinycnn.losses import softmax

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "tinycnn" / "models" / "weights"
CARD = WEIGHTS / "MODEL_CARD.md"
program = load_example("package_pretrained")


@pytest.fixture(scope="module", params=PRETRAINED)
def network(request):
    return load_pretrained(request.param)


@pytest.fixture(scope="module")
def files(shared):
    folder = shared / "data" / "fer2013"
    return folder / "fer2013.csv.gz", folder / "fer2013new.csv"


@pytest.fixture(scope="module")
def public_test(files):
    """Images and labels for a network: PublicTest rows with a plurality label."""
    data, votes = files
    whole = ferdata.load_fer2013(data, votes=votes, target="plurality")
    part = whole.to_label_space(ferdata.MICROEXPNET8).in_split("validation")

    def of_size(network):
        size_px = network.input_spec.height_px
        images = part.images if size_px == 48 else ferdata.resize_images(part.images, size_px)
        return images, part.labels

    return of_size


# ---- the network -----------------------------------------------------------------------------


def test_they_are_calibrated_networks_without_batch_norm(network):
    assert network.classes == models.CLASSES and network.n_parameters <= 65_000
    assert network.input_spec.framing == "fer2013" and not network.statistics
    assert network.calibration_temperature != 1.0
    assert network.training_summary["val_accuracy"] > 0.77


def test_microexpnet_has_the_layers_of_the_paper():
    for name in ("microexpnet", "ferplus"):  # ferplus: its name in earlier releases
        network = load_pretrained(name)
        assert network.layers == models.microexpnet(backend="numpy").layers
        assert network.input_spec.shape == (84, 84, 1) and network.n_parameters == 65_000
    assert np.array_equal(network.parameter_vector, load_pretrained().parameter_vector)


def test_residual48_is_the_network_of_the_models():
    network = load_pretrained("residual48")
    assert network.layers == models.residual48(backend="numpy").folded().layers
    assert network.input_spec.shape == (48, 48, 1)


def test_options_are_passed_on():
    slow = load_pretrained("ferplus", backend="numpy", n_threads=1)
    assert slow.backend == "numpy" and slow.n_threads == 1
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        load_pretrained(backend="cuda")


@pytest.mark.parametrize("name", ["FERPLUS", "", None, "../weights/ferplus", "ferplus.safetensors"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="name is .*; expected one of microexpnet, residual48"):
        load_pretrained(name)


def test_a_missing_file_is_reported(monkeypatch):
    monkeypatch.setattr(pretrained, "PRETRAINED", (*PRETRAINED, "lost"))
    with pytest.raises(FileNotFoundError, match="lost.safetensors: the shipped weights are miss"):
        load_pretrained("lost")


def test_accuracy_and_calibration_on_real_faces(network, public_test):
    """The limits are well below the card's figures: this test only detects damage."""
    images, labels = public_test(network)
    logits = network.predict_logits(images)
    is_microexpnet = network.input_spec.height_px == 84
    assert metrics.accuracy(logits, labels) > (0.765 if is_microexpnet else 0.80)
    before = metrics.expected_calibration_error(softmax(logits), labels)
    after = metrics.expected_calibration_error(network.predict_proba(images), labels)
    assert after < 0.03 and after < before + 0.005  # may rise by a little
    sure = network.predict_proba(images).max(axis=1) > 0.9
    assert sure.mean() > 0.2 and metrics.accuracy(logits[sure], labels[sure]) > 0.93


# ---- card and package ------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_card_is_about_these_files(name):
    network = load_pretrained(name)
    begin, end = program.BEGIN.format(name), program.END.format(name)
    card = CARD.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    content = (WEIGHTS / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in card and f"{len(content):,} bytes" in card
    assert f"softmax(logits / {network.calibration_temperature:.3f})" in card
    assert f"examples/train_student.py --network {name} " in card and "seed" in card
    assert "--data fer2013.csv.gz" in card
    for name in network.classes:
        assert re.search(rf"^\| {name} \| [\d,]+ \| \d+% \| [\d,]+ \| \d+% \|$", card, re.M), name
    assert not re.search(r"/(work|tmp|home|root|Users)/", card)


def test_the_card_says_what_it_must_not_be_used_for():
    card = " ".join(CARD.read_text(encoding="utf-8").split())
    assert "must not be used" in card and "at work or in education" in card
    assert "Art. 5(1)(f) of the AI Act (Regulation (EU) 2024/1689)" in card


def test_weights_and_card_are_packaged():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["tinycnn"].split()
    packaged = {p.name for pattern in patterns for p in (ROOT / "tinycnn").glob(pattern)}
    assert packaged >= {"MODEL_CARD.md", *(f"{name}.safetensors" for name in PRETRAINED)}


# ---- packaging -------------------------------------------------------------------------------

CONFIG = {
    "command": "python /somewhere/examples/train_student.py --data /data/fer2013.csv.gz --votes "
    "/data/fer2013new.csv --out /runs/mine --epochs 9 --seed 3",
    "tinycnn": "0.1.0",
    "options": {"seed": 3, "epochs": 9, "network": "microexpnet"},
    "data": {"training images": "ab12"},
    "n_training_images": 1234,
}


@pytest.fixture
def finished_run(tmp_path):
    """The shipped network as a finished run saves it: without framing and temperature."""
    folder = tmp_path / "run"
    folder.mkdir()
    again = load_pretrained()
    again.input_spec = InputSpec(**{**again.input_spec.config(), "framing": None})
    again.calibration_temperature = 1.0
    again.training_summary = {"epoch": 4}
    tinycnn.save(again, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(CARD, folder)
    return folder


def test_packaging_a_run(finished_run, out, files, public_test, capsys, monkeypatch):
    monkeypatch.setattr(program, "corruption_text", lambda *arguments: "damaged: below")
    data, votes = files
    network = load_pretrained()
    argv = [finished_run, "--data", data, "--votes", votes, "--out", out]
    assert program.main([str(word) for word in argv]) == 0
    made = tinycnn.load(out / "microexpnet.safetensors")
    np.testing.assert_array_equal(made.parameter_vector, network.parameter_vector)
    assert made.input_spec == network.input_spec
    # Without Numba, SciPy resizes the faces: a few pixels differ by one grey level.
    assert made.calibration_temperature == pytest.approx(network.calibration_temperature, rel=2e-4)
    card = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    content = (out / "microexpnet.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in card
    outside = [re.sub(r"begin -->.*<!--", "", t, flags=re.S) for t in (card, CARD.read_text())]
    assert outside[0] == outside[1]  # text written by hand does not change
    assert card.count("### Accuracy") == 2  # one for each network
    card = card.partition(program.BEGIN.format("microexpnet"))[2]
    card = card.partition(program.END.format("microexpnet"))[0]
    assert "best epoch 5 of 9" in card and "seed 3" in card and "`ab12`" in card
    line = (
        "python train_student.py --data fer2013.csv.gz --votes fer2013new.csv --epochs 9 --seed 3"
    )
    assert f"\n{line}\n" in card
    # compare the first row of the table
    images, labels = public_test(network)
    right = (network.predict_logits(images).argmax(axis=1) == labels).mean()
    assert f"| FER+, the class with most votes | 3,553 | {100 * right:.1f}% ± 0.7% |" in card
    assert "| 3,309 |" in card  # 3,589 minus the 280 that are also in Training
    recall = (network.predict_logits(images).argmax(axis=1) == labels)[labels == 5].mean()
    assert f"| happy | {(labels == 5).sum():,} | {100 * recall:.0f}% |" in card
    assert capsys.readouterr().out.count("sha256")


def test_contempt_is_never_predicted_for_labels_without_it():
    logits = np.array([[0, 9, 1.0], [0, 9, 1.0], [2, 1, 0]])
    labels, all_new = np.array([2, 0, 0]), np.ones(3, bool)
    images = program.LabelledImages("", np.zeros(3), labels, all_new, [2, 0])
    for which, share in (([True, True, False], "50.0%"), ([True, False, True], "100.0%")):
        assert program.share_right(logits, images, np.array(which)).startswith(f"2 | {share}")


def test_damaged_images_and_crops_of_the_search_are_measured():
    network = load_pretrained("residual48")
    from skimage import data

    face = ferdata.find_faces(data.astronaut(), size_px=48).images
    text = program.corruption_text(network, np.asarray(face), np.array([5]))
    lines = text.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:-2]] == [
        f"| {kind}" for kind in ("none", *ferdata.CORRUPTIONS)
    ]
    assert all(line.endswith((" 0.0% |", " 100.0% |")) for line in lines[2:-2])
    assert lines[2] == "| none | 100.0% |"  # she smiles
    assert "one is found in 100.0%; of these 100.0% are right" in lines[-1]


def test_operating_points_by_hand():
    logits = np.zeros((4, 8))
    logits[:, 0], logits[1, 3] = 1.0, 0.9  # neutral is said of all, disgust is a close second
    counts = np.where(np.arange(8) == 0, 100.0, 50.0)
    text = program.operating_points_text(logits, np.array([0, 3, 0, 0]), counts)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    assert rows[0][:2] == ["0", "75.0%"] and rows[0][3] == "0%"
    assert rows[1][:2] == ["0.25", "100.0%"] and rows[1][3] == "100%"  # 0.9 + log(2) / 4 > 1


@pytest.mark.parametrize("damage", ["no run", "no config", "bad config", "no card", "no marks"])
def test_a_run_that_cannot_be_packaged_changes_nothing(finished_run, out, tmp_path, capsys, damage):
    if damage == "no run":
        shutil.rmtree(finished_run)
    elif damage == "no config":
        (finished_run / "config.json").unlink()
    elif damage == "bad config":
        (finished_run / "config.json").write_text("{}")
    elif damage == "no card":
        (out / "MODEL_CARD.md").unlink()
    else:
        (out / "MODEL_CARD.md").write_text("# a card")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    argv = [finished_run, "--data", "none.csv", "--votes", "none.csv", "--out", out]
    assert program.main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "none.csv" not in error
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
