"""docs/options.md, made from the table of options: `python -m tinycnn.run.options_page`."""

from __future__ import annotations

from .command_line import flag_of
from .options import GROUPS, RECIPES, option_table
from .values import YesOrNo

INTRODUCTION = """\
# Options of a training run

<!-- Made by `python -m tinycnn.run.options_page > docs/options.md`; a test compares. -->

`tinycnn train` has these options. `tinycnn sweep` has them too, with several values each: with
commas between them, or in its TOML file as a list. In Python,
`tinycnn.run.TrainingOptions(epochs=8, learning_rate=1e-3)` takes them by name. The config.json of
a run folder has the same names.

An option that is not given has the default of the run's recipe, `--recipe`:
"""


def page() -> str:
    """The text of docs/options.md."""
    lines = [INTRODUCTION]
    lines += [f"- `{name}`: {meaning}" for name, meaning in RECIPES.items()]
    for group in GROUPS:
        lines += ["", f"## {group.capitalize()}", "", "| option | meaning | values | default |"]
        lines += ["|---|---|---|---|"]
        for name, entry in option_table().items():
            if entry.group == group:
                flags = f"`{flag_of(name)}`"
                if isinstance(entry.values, YesOrNo):
                    flags += f", `{flag_of(f'no_{name}')}`"
                cells = (flags, entry.meaning, entry.values.expected, entry.default_text())
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
