"""Collects what messages advise: options, arguments, commands, extras; and who can print them.

A message is any string of the packages and examples that is no docstring; the parts of an f-string
are put together, with {expression} for what is filled in.  A command may print the messages of its
own file and of every file that this one imports, directly or through others.
"""

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ferdata
import tinycnn

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("tinycnn", "ferdata", "examples")
    for path in (ROOT / folder).rglob("*.py")
}
NO_MESSAGES = re.compile(
    r"tinycnn\.(export|__pyinstaller|run\.options_page|report\.svg_charts"
    r"|learn\.(checks|comparison|folder))\b"
)
"""Files whose strings are programs, pages of the docs, and hints to learners about their code."""

MARKUP = re.compile(r"</?[a-z]\w*[ >{]|^[^{]*\{[^{}]*;|^ \w+=\"|\bvar\(--")
"""A string of html or css."""

HOMES = {
    "ferdata": ferdata._MODULE_OF,
    "tinycnn": {k: f"tinycnn.{v}" for k, v in tinycnn._HOME.items()},
}


class Message(NamedTuple):
    module: str
    line: int
    text: str

    def __str__(self):
        return f"{self.module}:{self.line}: {self.text!r}"


@lru_cache
def tree_of(module):
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def messages(module):
    """The messages of a module."""
    return [m for m in strings(module) if not MARKUP.search(m.text)]


def strings(module):
    inner = set()
    for node in ast.walk(tree_of(module)):  # outer nodes come before inner ones
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(node.value)  # a docstring
        elif isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            parts = (
                part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
            )
            yield Message(module, node.lineno, "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield Message(module, node.lineno, node.value)


def all_messages():
    return [m for module in FILES if not NO_MESSAGES.match(module) for m in messages(module)]


# ---- who prints what -------------------------------------------------------------------------


def imported(module):
    """The modules of the packages that a module imports, at any place."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"  # a module of the package, or a name in `base`
                found.add(inside if inside in FILES else HOMES.get(base, {}).get(alias.name, base))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(HOMES.get(node.value.id, {}).get(node.attr, ""))
    return found & set(FILES) - {"ferdata", "tinycnn"}


def reachable(module):
    """The module and all that it imports, directly or through others."""
    found, waiting = set(), {module}
    while waiting:
        found |= waiting
        waiting = set().union(*map(imported, waiting)) - found
    return found


# ---- what is advised -------------------------------------------------------------------------

VALUE = r"""('[^']*'|"[^"]*"|\.\.\.|\{[^}]*\}|True|False|None|\d+(?![\d.]*,\w+=))"""
ARGUMENT = re.compile(rf"(?<![\w.,(<{{])([a-z]\w+)={VALUE}")
IN_A_CALL = re.compile(r"[\w.]+\([^()]*\)")


def arguments(text):
    """The arguments that a message advises to give; not those whose value is wrong, as in
    "size=3: expected 4"."""
    text = re.sub(r"^[^:]*: expected", "", IN_A_CALL.sub("", text))
    found = ARGUMENT.finditer(text)
    return {each[1] for each in found if not text[each.end() :].startswith(": ")}


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))
