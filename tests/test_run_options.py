"""The options of a training run: their table, what is made from it, and the recipes."""

import argparse
import dataclasses
import json
import re
from dataclasses import FrozenInstanceError, asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tinycnn import AdamW, models
from tinycnn.input_spec import SCALINGS
from tinycnn.models.face_networks import FACE_NETWORKS
from tinycnn.optim import OPTIMIZERS, Adam, optimizer_from_name
from tinycnn.run import LOSSES, RECIPES, SCHEDULES, TrainingOptions, command_line, options
from tinycnn.run.options import GROUPS, option, option_table
from tinycnn.run.options_page import page
from tinycnn.run.values import (
    ABOVE_ZERO,
    NameOrCount,
    Number,
    OneOf,
    OneOrSeveral,
    WholeNumber,
    YesOrNo,
)

ROOT = Path(__file__).resolve().parent.parent

# ---- networks ----------------------------------------------------------------------------------


def test_the_network_decides_the_size_of_the_images():
    sizes = {name: TrainingOptions(network=name).input_px for name in FACE_NETWORKS}
    assert sizes == {"microexpnet": 84, "residual48": 48, "residual48-large": 48}


@pytest.mark.parametrize("option", [{"size": "XS"}, {"variant": "v"}, {"bias_std": 0.5}], ids=str)
def test_options_of_microexpnet_do_not_fit_other_networks(option):
    (name,) = option
    with pytest.raises(ValueError, match=f"^{name} is an option of microexpnet, not of residual48"):
        TrainingOptions(network="residual48", **option)
    stored = asdict(TrainingOptions(network="residual48", recipe="paper"))  # has all of them
    assert TrainingOptions(**stored) == TrainingOptions(network="residual48", recipe="paper")


# ---- recipes -----------------------------------------------------------------------------------

OFF = dict(label_smoothing=0.0, dropout=0.0, ema_decay=0.0, clip_norm=0.0, mixup=0.0, cutmix=0.0)
OFF |= dict(flipped_teacher=False, patience=None, class_weights="none")


def test_paper_is_the_papers_training():
    """The training of the paper, with its temperature for CK+."""
    paper = asdict(TrainingOptions(recipe="paper"))
    assert paper.pop("epochs") >= 1000
    assert paper == dict(
        recipe="paper",
        network="microexpnet",
        batch_norm=False,
        variant="p12",
        size="XXS",
        scaling="raw",
        bias_std=0.5,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="constant",
        augment=False,
        augment_strength=1.0,
        loss="kd",
        temperature=8.0,
        soft_weight=0.5,
        loss_scale="paper",
        batch_size=64,
        seed=0,
        **OFF,
    )


def test_fer_is_what_the_readme_says():
    fer = asdict(TrainingOptions())
    fixed = dict(
        recipe="fer",
        scaling="standardized",
        bias_std=0.0,
        optimizer="adamw",
        schedule="one-cycle",
        augment=True,
        augment_strength=1.0,
        loss="kd",
        temperature=4.0,
        soft_weight=0.7,
        loss_scale="hinton",
        **OFF,
    )
    assert {name: fer[name] for name in fixed} == fixed


def test_best_is_fer_for_longer_with_half_the_augmentation():
    fer, best = asdict(TrainingOptions()), asdict(TrainingOptions(recipe="best"))
    differ = {name: (fer[name], best[name]) for name in fer if fer[name] != best[name]}
    assert differ.pop("recipe") == ("fer", "best")
    assert differ == {"epochs": (25, 150), "augment_strength": (1.0, 0.5)}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_used(name):
    made = TrainingOptions(recipe=name)
    assert made.scaling in SCALINGS and made.schedule in SCHEDULES
    network = models.microexpnet(scaling=made.scaling, bias_std=made.bias_std, backend="numpy")
    deviation = network.parameters["conv2.b"].std()
    assert (deviation > 0) == (made.bias_std > 0)
    optimizer = optimizer_from_name(
        made.optimizer, learning_rate=made.learning_rate, backend="numpy"
    )
    assert type(optimizer) is {"paper": Adam, "fer": AdamW, "best": AdamW}[name]
    with pytest.raises(FrozenInstanceError):
        made.epochs = 1


# ---- values ------------------------------------------------------------------------------------

VALUES = {
    "whole": (WholeNumber(1), {1: 1, 7.0: 7, np.int64(3): 3}, [0, -1, 1.5, "3", True, None, 1e400]),
    "number": (Number(2), {0: 0.0, 2: 2.0, 0.5: 0.5}, [-0.1, 2.1, float("nan"), "1", False, None]),
    "above zero": (ABOVE_ZERO, {1e-9: 1e-9, 5: 5.0}, [0, -1, float("inf"), 10**400, [1]]),
    "yes or no": (YesOrNo(), {True: True, False: False}, [0, 1, "yes", None]),
    "one of": (OneOf(("a", "b")), {"a": "a"}, ["c", "", 1, None, ["a"]]),
    "name or count": (NameOrCount(("a",), "units"), {"a": "a", 4: 4}, ["c", 0, "4", True, None]),
    "several": (
        OneOrSeveral(ABOVE_ZERO),
        {4: 4.0, (4,): 4.0, (2, 8): (2.0, 8.0)},
        [[], (0,), [2, "8"], "2", None, {}],
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_get_their_type_and_others_are_refused(name):
    values, good, bad = VALUES[name]
    for value, expected in good.items():
        found = values.check(value)
        assert found == expected and type(found) is type(expected)
    for value in bad:
        with pytest.raises((ValueError, OverflowError)):
            values.check(value)


@pytest.mark.parametrize(
    "values, text, expected",
    [
        (WholeNumber(0), "12", 12),
        (Number(1), "5e-1", 0.5),
        (YesOrNo(), "no", False),
        (OneOf(("a", "b")), "b", "b"),
        (NameOrCount(("M",), "units"), "M", "M"),
        (NameOrCount(("M",), "units"), "20", 20),
        (OneOrSeveral(ABOVE_ZERO), "2", 2.0),
        (OneOrSeveral(ABOVE_ZERO), "2,8", (2.0, 8.0)),
    ],
)
def test_values_are_read_from_text(values, text, expected):
    assert values.read(text) == expected
    assert values.read(values.text(expected) if text != "2,8" else text) == expected


@pytest.mark.parametrize(
    "values, text, words",
    [
        (WholeNumber(1), "0", "'0': expected a whole number of 1 or more"),
        (WholeNumber(1), "1.5", "'1.5': expected a whole number of 1 or more"),
        (Number(0.9), "1", "'1': expected a number from 0 to 0.9"),
        (ABOVE_ZERO, "inf", "'inf': expected a number above 0"),
        (YesOrNo(), "true", "'true': expected yes or no"),
        (OneOf(("a", "b")), "c", "'c': expected one of a, b"),
        (NameOrCount(("M",), "units"), "L", "'L': expected one of M, or a number of units"),
        (OneOrSeveral(ABOVE_ZERO), "2,x", "'x': expected a number above 0"),
        (OneOrSeveral(ABOVE_ZERO), "", "'': expected a number above 0"),
    ],
)
def test_text_that_is_no_value_is_refused(values, text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        values.read(text)


# ---- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", option_table())
def test_every_entry_is_complete(name):
    entry = option_table()[name]
    assert entry.group in GROUPS and len(entry.meaning.split()) >= 2
    assert not entry.meaning[0].isspace() and not entry.meaning.endswith(".")
    for recipe in RECIPES:
        default = entry.defaults[recipe]
        assert default is None and entry.no_value or entry.check(name, default) == default
    assert getattr(TrainingOptions(), name) == entry.defaults["fer"]


def test_every_choice_that_the_library_has_is_in_the_table():
    table = option_table()
    assert table["optimizer"].values.names == tuple(OPTIMIZERS)
    assert table["schedule"].values.names == tuple(SCHEDULES)
    assert table["loss"].values.names == ("none", *LOSSES)
    assert table["recipe"].values.names == tuple(RECIPES)


def test_options_survive_json_and_replace():
    made = TrainingOptions(recipe="best", epochs=3, temperature=[2, 4], size=20, patience=2)
    assert TrainingOptions(**json.loads(json.dumps(asdict(made)))) == made
    assert replace(made, epochs=4).epochs == 4 and replace(made, epochs=4).temperature == (2.0, 4.0)
    assert made.without_teacher() == replace(made, loss="none")
    assert TrainingOptions(epochs=None, recipe=None) == TrainingOptions()


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(sizes=1), "no option 'sizes'; expected some of augment, augment_strength"),
        (dict(recipe="mine"), "recipe is 'mine'; expected one of fer, best, paper"),
        (dict(size="L" * 500), "size is 'LLL"),
        (dict(epochs=0), "epochs is 0; expected a whole number of 1 or more"),
        (dict(optimizer="adagrad"), "optimizer is 'adagrad'; expected one of adam, adamw, sgd"),
        (dict(patience=0), "patience is 0"),
        (dict(bias_std=-1), "bias_std is -1; expected a number from 0 to 100"),
        (dict(loss="dkd", temperature=[2, 4]), "loss dkd has one temperature, not 2"),
    ],
)
def test_options_that_do_not_exist_or_fit_are_refused(given, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        TrainingOptions(**given)
    assert len(str(caught.value)) < 500


def test_an_entry_names_all_recipes_or_none():
    with pytest.raises(TypeError, match="a default for each of fer, best, paper"):
        option("training", ABOVE_ZERO, "of something", fer=1.0, paper=2.0)


# ---- what is made from the table ---------------------------------------------------------------


def parse(words, kind=None):
    parser = argparse.ArgumentParser(exit_on_error=False)
    if kind is None:
        command_line.add_training_options(parser)
    else:
        flags = {name: command_line.flag_of(name) for name in option_table(kind)}
        command_line.add_lists_of_training_options(parser.add_argument_group("g"), kind, flags)
    return parser.parse_args(words)


WORDS = dict(variant="v", size="XS", scaling="unit", bias_std="0.1", loss="kd-z", seed="3")
WORDS |= dict(temperature="2,4", soft_weight="0.1", loss_scale="paper", recipe="best", epochs="2")
WORDS |= dict(learning_rate="0.1", batch_size="3", optimizer="sgd", schedule="cosine", mixup="0.2")
WORDS |= dict(patience="3", augment_strength="0.3", cutmix="1", label_smoothing="0.1")
WORDS |= dict(dropout="0.1", ema_decay="0.9", clip_norm="1", class_weights="balanced")


def test_every_option_can_be_given_on_a_command_line():
    others = {"augment", "batch_norm", "flipped_teacher", "network"}
    assert {*WORDS, *others} == set(option_table())
    words = [word for name, text in WORDS.items() for word in (command_line.flag_of(name), text)]
    found = command_line.training_options_given(parse([*words, "--no-augment"]))
    assert set(found) == {*WORDS, "augment"}
    made = TrainingOptions(**found)
    for name, text in WORDS.items():
        assert getattr(made, name) == option_table()[name].values.read(text), name
        assert getattr(made, name) != getattr(TrainingOptions(), name), name
    assert made.augment is False and parse(["--flipped-teacher"]).flipped_teacher is True
    assert parse(["--no-batch-norm"]).batch_norm is False
    assert parse(["--network", "residual48"]).network == "residual48"
    assert command_line.training_options_given(parse([])) == {}


def test_every_option_can_have_several_values_in_a_sweep():
    flags = [f"{command_line.flag_of(name)}={text}" for name, text in WORDS.items()]
    found = parse([*flags, "--augment=yes,no", "--flipped-teacher=no"], TrainingOptions)
    assert found.temperature == [2.0, 4.0] and found.size == ["XS"] and found.epochs == [2]
    assert found.augment == [True, False] and found.flipped_teacher == [False]


def test_help_has_no_defaults_of_recipes_that_agree(capsys):
    parser = argparse.ArgumentParser()
    command_line.add_training_options(parser)
    text = " ".join(parser.format_help().split())
    assert "passes over the training images (default: fer 25, best 150, paper 3000)" in text
    assert "images per training step (default: 64)" in text
    assert "without a new best (default: train all epochs)" in text
    assert "a factor of 5 px, 10 degrees, 10 % (default: fer 1.0, best 0.5, paper 1.0)" in text


def test_the_page_of_options_is_up_to_date():
    found = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert found == page(), "python -m tinycnn.run.options_page > docs/options.md"
    for name in option_table():
        assert f"\n| `--{name.replace('_', '-')}`" in found


def test_a_new_option_is_one_entry(monkeypatch):
    """It is then an option of the commands, of a sweep, of config.json and of the page."""

    @dataclass(frozen=True, init=False)
    class WithWarmth(TrainingOptions):
        warmth: float = option("training", Number(9), "how warm the weights are kept", 0.0)

    made = WithWarmth(warmth=2, epochs=3)
    assert (made.warmth, made.epochs) == (2.0, 3) and WithWarmth().warmth == 0.0
    with pytest.raises(ValueError, match="warmth is 10; expected a number from 0 to 9"):
        WithWarmth(warmth=10)
    assert parse(["--warmth", "1,2"], WithWarmth).warmth == [1.0, 2.0]
    monkeypatch.setattr(options, "TrainingOptions", WithWarmth)
    monkeypatch.setattr(
        options.option_table, "__defaults__", (WithWarmth,)
    )  # the table that commands and page use
    assert command_line.training_options_given(parse(["--warmth", "1"])) == {"warmth": 1.0}
    row = "| `--warmth` | how warm the weights are kept | a number from 0 to 9 | 0.0 |"
    assert row in page()
    assert [field.name for field in dataclasses.fields(WithWarmth)][-1] == "warmth"
