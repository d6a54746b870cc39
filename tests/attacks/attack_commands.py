"""The commands of both packages, and what the attacks do with them."""

import argparse
from typing import NamedTuple

import numpy as np
from example_programs import load_example
from PIL import Image
from small_networks import SMALL_NETWORKS

import ferdata.cli
import tinycnn.cli
from tinycnn import InputSpec, Network
from tinycnn.ground.completion import FILES


class Command(NamedTuple):
    """A command: its function main, the words before its arguments, and its arguments."""

    name: str
    main: object
    words: tuple[str, ...]
    actions: tuple[argparse.Action, ...]

    def with_role(self, role):
        return [action for action in self.actions if vars(action).get("role") == role]

    @property
    def paths(self):
        """The arguments that are paths, by what the help calls their values."""
        names = (*FILES, "DATA", "RUN")
        return [action for action in self.actions if action.metavar in names]


def commands():
    found = []
    for program, module in (("tinycnn", tinycnn.cli), ("ferdata", ferdata.cli)):
        (choice,) = (
            action
            for action in module.build_parser()._actions
            if isinstance(action, argparse._SubParsersAction)
        )
        for name, parser in choice.choices.items():
            actions = tuple(parser._actions)
            found.append(Command(f"{program} {name}", module.main, (name,), actions))
    for name in ("write_soft_labels", "fit_soft_labels"):
        module = load_example(name)
        actions = tuple(module.build_parser()._actions)
        found.append(Command(f"{name}.py", module.main, (), actions))
    return found


def argv_with(command, values):
    """The words of a command with these values of its arguments (by dest).  The others that it
    needs get names that do not exist."""
    words, places = [*command.words], []
    for action in command.actions:
        value = values.get(action.dest)
        if not action.option_strings:
            if value is None and action.nargs in ("?", "*"):
                continue
            places.append("missing" if value is None else str(value))
        elif value is not None:
            words += [action.option_strings[-1], str(value)]
        elif action.required:
            chosen = next(iter(action.choices or ["missing"]))
            words += [action.option_strings[-1], chosen]
    return [*words, "--", *places] if places else words


def small_model(path, classes=("calm", "glad", "sad", "cross"), framing=None):
    """Write a network for pictures of 10x9 px."""
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    spec = InputSpec(H, W, C, scaling="unit", classes=classes, framing=framing)
    network = Network(layers, spec, seed=2, backend="numpy")
    tinycnn.save(network, path)
    return path


def small_face(path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 9), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def class_folders(folder, n=3):
    """A data set of pictures, in a folder for each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("happy", "sad"):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            pixels = rng.integers(0, 256, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


def contents(folder):
    """{path: bytes} of all files below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
