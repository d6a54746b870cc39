"""One option of a training run: its values, its defaults by recipe, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .values import Values

RECIPES = {
    "fer": "for tens of thousands of faces from the web",
    "best": "like fer, for longer",
    "finetune": "for a trained network and some hundred faces: the default with init",
    "paper": "as in the paper",
}
"""Named sets of defaults: a training run has one recipe, and options that are not given have the
recipe's values.  `fer` trains on tens of thousands of small web faces in minutes, `best` in a
quarter of an hour; `finetune` suits networks that are trained already (docs/finetuning.md says what
it was measured on); `paper` has the settings of Cugu et al. (arXiv 1711.07011) for CK+."""

FINETUNE = "finetune"

GROUPS = {
    "network": "",
    "training": "A recipe sets the defaults of the other options.",
    "distillation": "loss = (1-w) * CE(softmax(z), targets) + w * soft term. For kd the soft term "
    "is\nc * CE(softmax(z/t), softmax(teacher/t)).",
    "run": "",
}
NOT_GIVEN_BY_USERS = "stored"
"""The group of what a run stores beside its options, which is no option of a command."""

"""Group of options -> what a command's help says about it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """An option of a training run.

    group     one of GROUPS, or NOT_GIVEN_BY_USERS
    values    the values that it can have
    meaning   for a command's help and for docs/options.md, without the default
    defaults  by recipe; None: no value
    no_value  what the default None means
    """

    group: str
    values: Values[object]
    meaning: str
    defaults: Mapping[str, object]
    no_value: str

    @property
    def is_same_for_all_recipes(self) -> bool:
        """Whether all recipes have the same default, but for `finetune`, which is newer: the names
        of trials leave out options that have the common default."""
        first, *others = (v for recipe, v in self.defaults.items() if recipe != FINETUNE)
        return all(other == first for other in others)

    def is_common_default(self, value: object) -> bool:
        """Whether this value is the default that all recipes but `finetune` have."""
        return self.is_same_for_all_recipes and value == self.defaults["fer"]

    def default_text(self) -> str:
        """The default in words: "64", or "fer 25, best 150, paper 3000"."""
        shown = {
            recipe: self.no_value if value is None else self.values.text(value)
            for recipe, value in self.defaults.items()
        }
        if len(set(shown.values())) == 1:
            return shown["fer"]
        return ", ".join(f"{recipe} {text}" for recipe, text in shown.items())

    def check(self, name: str, value: object) -> object:
        """The value with its proper type.  Raises ValueError for one that the option cannot have;
        the message begins with the option's name."""
        try:
            return self.values.check(value)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"{name} is {value!r:.80}; expected {self.values.expected}") from None


def option(
    group: str,
    values: Values[T],
    meaning: str,
    default: object = None,
    *,
    no_value: str = "",
    **by_recipe: object,
) -> T:
    """A field of `TrainingOptions`; see `Option`.

    default    of all recipes.  Whoever changes it raises ARITHMETIC_VERSION: the names of trials
               leave out options that have their common default
    by_recipe  instead of `default`, a default for each of RECIPES: fer=..., best=..., and so on
    """
    defaults = by_recipe or dict.fromkeys(RECIPES, default)
    if list(defaults) != list(RECIPES):
        raise TypeError(f"{meaning!r}: expected a default for each of {', '.join(RECIPES)}")
    return field(metadata={"option": Option(group, values, meaning, defaults, no_value)})
