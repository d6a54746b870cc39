"""examples/train_pretrained.py: the recipe of the shipped networks, step by step.

The steps are replaced by functions that write what the real ones do; `tinycnn train` and the other
programs have tests of their own.
"""

from pathlib import Path

import pytest
from example_programs import load_example

from tinycnn.cli import train as train_command
from tinycnn.formats.pretrained import PRETRAINED
from tinycnn.ground.command_line import Parser
from tinycnn.models.face_networks import FACE_NETWORKS
from tinycnn.run.command_line import training_options_given

program = load_example("train_pretrained")


class Steps:
    """Records the steps, and does as if they were done.  stops_in: the result that is not made."""

    def __init__(self):
        self.words, self.stops_in = [], None

    def train(self, words):
        return self._done(words, "predictions.csv")

    def write_soft_labels(self, words):
        return self._done(words, None)

    def package(self, words):
        self.words.append(words)
        return 0

    def _done(self, words, name):
        self.words.append(words)
        out = Path(words[words.index("--out") + 1])
        if name is not None:
            out.mkdir(exist_ok=True)
            (out / "config.json").write_text("{}")
            out = out / name
        if self.stops_in is not None and self.stops_in in str(out):
            raise KeyboardInterrupt
        out.write_text("done")
        return 0


@pytest.fixture
def recorded(monkeypatch):
    steps = Steps()
    monkeypatch.setattr(program, "tinycnn_command", steps.train)
    monkeypatch.setattr(program.write_soft_labels, "main", steps.write_soft_labels)
    monkeypatch.setattr(program.package_pretrained, "main", steps.package)
    return steps


def run(out, *more):
    words = ["--data", "f.csv", "--votes", "v.csv", "--out", str(out), *map(str, more)]
    return program.main(words)


def of_training(words):
    """The training options in the words of `tinycnn train`."""
    parser = Parser()
    train_command.add_arguments(parser)
    return parser.parse_args(words[1:]), training_options_given(parser.parse_args(words[1:]))


def test_teachers_then_students_then_the_card(tmp_path, recorded):
    out, card = tmp_path / "out", tmp_path / "card"
    assert run(out, "--teachers", 2, "--card", card) == 0
    kinds = [words[0] if words[0] == "train" else Path(words[0]).name for words in recorded.words]
    assert kinds == ["train", "model.safetensors"] * 2 + ["train"] * 2 + list(PRETRAINED)
    teachers = [of_training(recorded.words[k])[1] for k in (0, 2)]
    assert [each["network"] for each in teachers] == ["residual48-large"] * 2
    assert [each["seed"] for each in teachers] == [0, 1]
    for name, words in zip(PRETRAINED, recorded.words[4:6]):
        args, options = of_training(words)
        assert options["network"] == name and name in FACE_NETWORKS
        assert args.teacher == [str(out / f"teacher-{k}.npz") for k in range(2)]
        assert args.data == "f.csv" and args.votes == "v.csv" and args.out == str(out / name)
    for k, words in enumerate(recorded.words[1:4:2]):
        assert words[0] == str(out / f"teacher-{k}" / "model.safetensors") and "--mean" in words
    assert all(words[-1] == str(card) for words in recorded.words[6:])


def test_what_is_done_is_not_repeated_and_what_was_interrupted_is_resumed(tmp_path, recorded):
    recorded.stops_in = "microexpnet"
    assert run(tmp_path) == 130
    assert len(recorded.words) == 3 and "--resume" not in recorded.words[2]
    recorded.stops_in = None
    assert run(tmp_path) == 0
    resumed, last = recorded.words[3:]
    assert resumed == [*recorded.words[2], "--resume"] and "residual48" in last
    assert run(tmp_path) == 0 and len(recorded.words) == 5


def test_a_step_that_fails_ends_the_recipe(tmp_path, recorded, monkeypatch, capsys):
    monkeypatch.setattr(program, "tinycnn_command", lambda words: 2)
    assert run(tmp_path) == 2
    assert "this step failed with status 2: tinycnn train" in capsys.readouterr().err
    assert recorded.words == []


def test_epochs_for_a_quick_trial(tmp_path, recorded):
    run(tmp_path, "--epochs", 1)
    trainings = [words for words in recorded.words if words[0] == "train"]
    assert [of_training(words)[1]["epochs"] for words in trainings] == [1, 1, 1]
