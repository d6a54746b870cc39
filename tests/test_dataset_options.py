"""The options of commands that take a data set are the arguments of `ferdata.open`."""

import argparse
import inspect
from dataclasses import fields

import numpy as np
import pytest
from example_programs import load_example
from PIL import Image

import ferdata
import ferdata.cli
from ferdata.sources import dataset_loading, dataset_options
from ferdata.sources.dataset_options import add_dataset_options, dataset_arguments
from ferdata.teachers import teacher_options
from tinycnn import cli
from tinycnn.cli.data_options import DataOptions
from tinycnn.ground.argument_options import (
    ArgumentOption,
    add_argument_options,
    with_options_for_arguments,
)
from tinycnn.ground.command_line import Parser


def commands_of(parser):
    """{name: parser} of the commands."""
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return found.choices


TINYCNN = commands_of(cli.build_parser())
TRAIN_ON_A_DATA_SET = ("tinycnn train", "tinycnn sweep", "tinycnn reproduce")
TAKE_A_DATA_SET = {
    **{f"ferdata {name}": p for name, p in commands_of(ferdata.cli.build_parser()).items()},
    **{f"tinycnn {name}": TINYCNN[name] for name in ("convert", "train", "sweep", "reproduce")},
    "examples/write_soft_labels.py": load_example("write_soft_labels").build_parser(),
    "examples/fit_soft_labels.py": load_example("fit_soft_labels").build_parser(),
}


def flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("command", TAKE_A_DATA_SET)
def test_every_command_has_every_option(command):
    expected = {option.flag for option in dataset_options.OPTIONS}
    assert expected <= flags(TAKE_A_DATA_SET[command])


def test_the_options_are_the_arguments_of_open_and_of_the_sources():
    readers = [dataset_loading.open, ferdata.load_fer2013]
    readers += [module.list_files for module in dataset_loading._FILE_SOURCES.values()]
    arguments = {name for reader in readers for name in inspect.signature(reader).parameters}
    assert {option.keyword for option in dataset_options.OPTIONS} == arguments - {
        *("path", "progress", "options", "size_px")  # size_px: what the network takes
    }


def test_the_options_are_the_fields_of_data_options():
    """A field for each: what is no field is not read from the command line."""
    options = (*dataset_options.OPTIONS, *teacher_options.OPTIONS)
    found = {f.name for f in fields(DataOptions)}
    assert found == {"data", "teacher", "rows", *(option.attribute for option in options)}


def test_the_options_of_a_teacher_are_the_arguments_of_load_teachers():
    arguments = set(inspect.signature(ferdata.load_teachers).parameters)
    assert {o.keyword for o in teacher_options.OPTIONS} == arguments - {"paths", "dataset"}
    for command in TRAIN_ON_A_DATA_SET:
        assert {o.flag for o in teacher_options.OPTIONS} <= flags(TAKE_A_DATA_SET[command])
    assert "--extra-classes" in flags(TAKE_A_DATA_SET["ferdata check"])


def parsed(*words):
    parser = Parser(prog="test")
    add_dataset_options(parser)
    return dataset_arguments(parser.parse_args(words))


def test_only_what_is_given_becomes_an_argument():
    assert parsed() == {}
    assert parsed("--protocol", "last-three", "--no-face", "whole", "--workers", "3") == {
        "protocol": "last-three",
        "on_missing": "whole",
        "n_workers": 3,
    }
    assert parsed("--framing", "none", "--no-cache", "--unlabelled") == {
        "framing": None,
        "cache": False,
        "unlabelled": True,
    }
    assert parsed("--classes", "calm, keen", "--splits-from", "names") == {
        "classes": ("calm", "keen"),
        "split": "names",
    }


def test_every_value_of_an_option_is_one_that_the_library_takes(tmp_path):
    """The options have no list of values of their own."""
    known = {
        "source": dataset_loading.SOURCES,
        "target": ferdata.sources.fer2013.TARGETS,
        "framing": (*ferdata.FRAMINGS, "none"),
    }
    for option in dataset_options.OPTIONS:
        if option.keyword in known:
            assert tuple(option.how["choices"]) == tuple(known[option.keyword])


# ---- what they do ----------------------------------------------------------------------------


@pytest.fixture
def unknown_classes(tmp_path):
    """Folders of two classes that are no emotions, and a csv list of the same images."""
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for name in ("keen", "bored"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(12):
            path = tmp_path / "set" / name / f"{k}.png"
            Image.fromarray(rng.integers(0, 256, (84, 84), np.uint8)).save(path)
            lines.append(f"{name}/{k}.png,{name}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def run(capsys, main, *words):
    status = main([str(word) for word in words])
    return (status, *capsys.readouterr())


def test_the_advice_about_classes_can_be_followed(unknown_classes, capsys):
    out = unknown_classes / "out.npz"
    data = (unknown_classes / "list.csv", out, "--root", unknown_classes / "set")
    status, _, error = run(capsys, ferdata.cli.main, "pack", *data)
    assert status == 2 and "give the names of all classes in label order: --classes NAME" in error
    status, _, error = run(capsys, ferdata.cli.main, "pack", *data, "--classes", "keen,bored")
    assert status == 0, error
    packed = ferdata.load_packed(out)
    assert packed.classes == ("keen", "bored") and len(packed) == 24


def test_train_follows_the_same_advice(unknown_classes, capsys):
    train = load_example("train_student")
    data = ("--data", unknown_classes / "set", "--source", "folders", "--epochs", "1")
    words = (*data, "--backend", "numpy", "--out", unknown_classes / "run")
    status, _, error = run(capsys, train.main, *words)
    assert status == 2 and "name those of other classes: --classes NAME,NAME,..." in error
    status, out, error = run(capsys, train.main, *words, "--classes", "bored,keen")
    assert status == 0, error
    header = (unknown_classes / "run" / "predictions.csv").read_text().splitlines()[0]
    assert header == "id,label,predicted,bored,keen"


@pytest.mark.parametrize("name", ["train_student", "sweep"])
def test_an_extra_class_of_a_teacher_can_be_dropped(name, unknown_classes, capsys):
    program = load_example(name)
    faces = ferdata.open(unknown_classes / "set", "folders", classes=("bored", "keen"))
    teacher = unknown_classes / "teacher.npz"
    logits = np.random.default_rng(1).normal(size=(len(faces), 3))
    ferdata.save_soft_labels(teacher, logits, "logits", ["keen", "calm", "bored"], ids=faces.ids)
    words = [
        "--data",
        unknown_classes / "set",
        "--source",
        "folders",
        "--classes",
        "bored,keen",
        "--teacher",
        teacher,
    ]
    words += ["--epochs", "1", "--backend", "numpy", "--out", unknown_classes / "run"]
    words += ["--split", "random", "--folds", "2"] if name == "sweep" else []
    status, _, error = run(capsys, program.main, *words)
    assert status == 2 and "extra class calm" in error
    assert error.rstrip().endswith("; --extra-classes drop leaves it out")
    status, out, error = run(capsys, program.main, *words, "--extra-classes", "drop")
    assert status == 0, error
    assert "the teacher's calm left out" in out + error


def test_options_of_a_teacher_need_a_teacher(capsys):
    train = load_example("train_student")
    status, _, error = run(capsys, train.main, "--extra-classes", "drop")
    assert (status, error) == (2, "error: --extra-classes needs --teacher\n")


def test_options_of_a_data_set_need_a_data_set(capsys):
    train = load_example("train_student")
    status, _, error = run(capsys, train.main, "--protocol", "paper")
    assert status == 2 and error.startswith("error: --protocol needs --data: ")


# ---- messages that name arguments ------------------------------------------------------------


@pytest.mark.parametrize(
    "message, expected",
    [
        ("take it: on_missing='whole'", "take it: --no-face whole"),
        ("framing='paper': expected framing=None", "--framing paper: expected --framing none"),
        ("open it with votes='/a b/v.csv'", "open it with --votes '/a b/v.csv'"),
        ("it has classes=..., cache=...", "it has --classes NAME,NAME,..., --cache"),
        ("cache=False or cache=True", "--no-cache or --cache"),
        ("n_workers=3, split='names'.", "--workers 3, --splits-from names."),
        *((text, text) for text in ("f(split='x')", "a.split='x'", "other='y'", "nothing")),
    ],
)
def test_arguments_in_messages_become_options(message, expected):
    parser = Parser(prog="test")
    add_dataset_options(parser)
    assert with_options_for_arguments(message, parser, parser.parse_args([])) == expected


def test_the_options_are_those_of_the_command_that_was_given():
    parser = Parser(prog="test")
    commands = parser.add_subparsers(dest="command")
    for name in ("first", "second"):
        option = ArgumentOption("size", f"--{name}-size", "")
        add_argument_options(commands.add_parser(name), (option,))
    for name in ("first", "second"):
        args = parser.parse_args([name])
        assert with_options_for_arguments("size=3", parser, args) == f"--{name}-size 3"
