"""What a message advises can be done where it is printed."""

import argparse
import configparser
import inspect
import re

import pytest
from example_programs import load_example
from remedies import (
    FILES,
    ROOT,
    all_messages,
    arguments,
    imported,
    messages,
    options,
    reachable,
)

import ferdata
import ferdata.cli
import tinycnn
from ferdata.sources import dataset_loading
from tinycnn import cli


def commands_of(parser):
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return found.choices


COMMANDS = {}
"""Name of each command -> (its module, its parser)."""
for name, found in commands_of(cli.build_parser()).items():
    COMMANDS[f"tinycnn {name}"] = (f"tinycnn.cli.{name}", found)
for name, found in commands_of(ferdata.cli.build_parser()).items():
    COMMANDS[f"ferdata {name}"] = ("ferdata.cli", found)
for name in (
    "predict",
    "train_student",
    "sweep",
    "reproduce_paper",
    "write_soft_labels",
    "fit_soft_labels",
):
    COMMANDS[f"examples/{name}.py"] = (f"examples.{name}", load_example(name).build_parser())

OF_EXAMPLE = {
    "examples.predict": "tinycnn.cli.predict",
    "examples.train_student": "tinycnn.cli.train",
    "examples.sweep": "tinycnn.cli.sweep",
    "examples.reproduce_paper": "tinycnn.cli.reproduce",
}
"""The file of the command that an example is."""

OF_SEVERAL = ("--help", "--version", "--print-completion")
"""Options of the programs themselves."""

ONLY_FROM_PYTHON = {
    ("tinycnn.classify", "framing"): "a command cuts faces as the model says",
    ("tinycnn.image_arrays", "framing"): "a command cuts faces as the model says",
    ("ferdata.labels", "allow_lossy"): "commands that drop classes pass it",
    ("tinycnn.checkpoint", "resume"): "trials of a sweep are resumed by themselves",
    ("tinycnn.shapes", "padding"): "commands build no layers but those of models and files",
}
"""(module, argument) that a message advises, but not where a command prints it, and why."""

NOT_IN = {
    ("ferdata check", "crops"): "it averages them",
    ("ferdata show", "crops"): "it reads no soft labels",
    ("ferdata show", "extra_classes"): "it reads no soft labels",
    ("ferdata pack", "crops"): "it reads no soft labels",
    ("ferdata pack", "extra_classes"): "it reads no soft labels",
    ("examples/write_soft_labels.py", "crops"): "it reads no soft labels",
    ("examples/write_soft_labels.py", "extra_classes"): "it reads no soft labels",
    ("examples/fit_soft_labels.py", "crops"): "it averages them",
    ("examples/fit_soft_labels.py", "extra_classes"): "a teacher's classes may be any",
}
for name in ("tinycnn reproduce", "examples/reproduce_paper.py"):
    NOT_IN[name, "--split"] = "it has folds by subject only if subjects are known"
    NOT_IN[name, "variant"] = "it opens no model"
"""(command, argument or option): the command imports the file of such a message, but never gets
there."""


def flags_of(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def arguments_of(parser):
    """The arguments of the library that a command has options for: see `argument_options`."""
    optional = [action for action in parser._actions if action.option_strings]
    return {vars(action).get("keyword", action.dest) for action in optional}


# ---- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_options_in_messages_exist_where_they_are_printed(command):
    """A file that several commands use may only name options that all of them have.  (From the file
    of another command, a command takes functions, not its description.)"""
    module, parser = COMMANDS[command]
    known, own = {*flags_of(parser), *OF_SEVERAL}, options_defined(module)
    others = {each for each, _ in COMMANDS.values()} - {module, OF_EXAMPLE.get(module)}
    for used in reachable(module) - others:
        for message in messages(used):
            if not message.text.startswith("--") or " " in message.text:  # not the definition
                unknown = options(message.text) - known - own
                unknown = {each for each in unknown if (command, each) not in NOT_IN}
                assert not unknown, f"{command} has no {', '.join(unknown)}: {message}"


def options_defined(module):
    """ferdata's commands are in one file, where each has options of its own."""
    if module != "ferdata.cli":
        return set()
    return set().union(*(flags_of(p) for m, p in COMMANDS.values() if m == module))


def test_the_library_names_no_options():
    """Who calls it from Python has none."""
    allowed = ("tinycnn.cli", "tinycnn.ground", "tinycnn.run.command_line", "ferdata.cli")
    files = (*allowed, "ferdata.sources.dataset_options", "ferdata.teachers.teacher_options")
    for message in all_messages():
        if message.module.startswith(("tinycnn", "ferdata")) and not any(
            message.module == name or message.module.startswith(f"{name}.") for name in files
        ):
            assert not options(message.text), message


# ---- arguments -------------------------------------------------------------------------------


def parameters():
    """Names of the arguments of everything public, methods included."""
    callables = [getattr(ferdata, name) for name in ferdata.__all__]
    callables += [getattr(tinycnn, name) for name in tinycnn.__all__]
    callables += [m.list_files for m in dataset_loading._FILE_SOURCES.values()]
    callables = [c for c in callables if callable(c)]
    methods = [f for c in callables if isinstance(c, type) for f in vars(c).values()]
    found = set()
    for function in [*callables, *(f for f in methods if inspect.isfunction(f))]:
        if not (isinstance(function, type) and issubclass(function, Exception)):
            found |= set(inspect.signature(function).parameters)
    return found


ADVISED = [
    (message, name)
    for message in all_messages()
    if not message.module.startswith("examples")
    for name in sorted(arguments(message.text))
]


def test_arguments_in_messages_exist():
    known = parameters()
    for message, name in ADVISED:
        assert name in known, f"no public function has {name}: {message}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_option_for_each_argument_that_its_messages_advise(command):
    module, parser = COMMANDS[command]
    used, known = reachable(module), arguments_of(parser)
    for message, name in ADVISED:
        excepted = (message.module, name) in ONLY_FROM_PYTHON or (command, name) in NOT_IN
        if message.module in used and not excepted:
            assert name in known, f"{command} has no option for {name}: {message}"


def test_every_exception_is_still_needed():
    advised = {(message.module, name) for message, name in ADVISED}
    assert set(ONLY_FROM_PYTHON) <= advised


# ---- commands, extras, files -----------------------------------------------------------------


def test_commands_in_messages_exist():
    named = 0
    for message in all_messages():
        for found in re.finditer(r"\b(?:use|with|run) (tinycnn|ferdata) ([a-z]+)", message.text):
            assert " ".join(found.groups()) in COMMANDS, message
            named += 1
    assert named


def test_extras_in_messages_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = {e for m in all_messages() for e in re.findall(r"tinycnn\[(\w+)\]", m.text)}
    assert {"onnx", "plots", "sweep", "completion"} <= named <= set(setup["options.extras_require"])


def test_messages_of_the_packages_name_only_files_that_are_installed():
    """Who installs the wheel has neither docs nor examples."""
    for message in all_messages():
        if not message.module.startswith("examples"):
            assert not re.search(r"\b(docs|examples|tests)/", message.text), message


# ---- the tests above see what they should ----------------------------------------------------


def test_what_is_collected():
    assert arguments("take it: on_missing='whole', or split={x!r}") == {"on_missing", "split"}
    assert arguments("size=3: expected 4") == arguments("find(PHOTO, framing='paper')") == set()
    assert options("use --no-face whole, not a--b or -- ") == {"--no-face"}
    assert "ferdata.photos.faces" in imported("tinycnn.cli.predict")
    assert "ferdata.sources.manifest" in reachable("tinycnn.cli.train")
    assert "ferdata.sources.manifest" not in reachable("tinycnn.cli.info")
    assert ("ferdata.sources.manifest", "root") in {(m.module, name) for m, name in ADVISED}
    assert len(FILES) > 150 and len(ADVISED) > 12
