"""The argument `classes`: which classes of a data set are used, under which names, in which order.

It is a list of items, or a text in which commas separate them:

    NAME        images that the data call NAME are of class NAME
    FROM=NAME   images that the data call FROM are of class NAME

    happy,sad,neutral            these three classes, in this order
    anger=angry,rage=angry,happy one class, angry, of what the data call anger and rage; and happy
    0=angry,3=happy              the numbers 0 and 3, under these names
    angry,disgust,fear           if the classes of the data are numbers: names of 0, 1 and 2

The classes are in the order in which they first appear. Images of classes that are not in the list
are left out, counted and named. Names are compared without regard to case, and known synonyms are
the same name (happy and happiness). A list of names alone gives names to numbers if all classes of
the data are numbers and no name in the list is one; each number then needs a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ferdata.labels import LabelError, LabelMap, LabelSpace, canonical_name
from ferdata.name_suggestions import likely_class, nearest
from tinycnn.ground.file_names import composed
from tinycnn.ground.messages import plain

Classes: TypeAlias = "str | Sequence[str] | Mapping[str, str] | LabelSpace"
"""What `classes` may be; a mapping is {FROM: NAME}."""

LEFT_OUT = "images of classes that are not in the list of classes"
"""Why a source leaves out images of other classes."""

_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MOST_SHOWN = 12
_MOST_CHARACTERS = 40


@dataclass(frozen=True)
class ClassChoice:
    """The items of a list of classes; made by `class_choice`.

    pairs      (name in the data, name of its class)
    has_pairs  whether an item was written as FROM=NAME
    given      the label space that was given instead of a list, or None
    """

    pairs: tuple[tuple[str, str], ...]
    has_pairs: bool
    given: LabelSpace | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        first: dict[str, str] = {}
        for _, name in self.pairs:
            first.setdefault(canonical_name(name), name)
        return tuple(first.values())

    def names_numbers(self, found: Sequence[str]) -> bool:
        """Whether these are names of numbers, if `found` are the classes in the data."""
        numbers_are_named = self.has_pairs or any(is_number(name) for name, _ in self.pairs)
        return not numbers_are_named and bool(found) and all(is_number(name) for name in found)

    def mentions(self, name: str) -> bool:
        """Whether the list says something about what the data call `name`."""
        names = {_key(of) for of, _ in self.pairs} | {canonical_name(of) for of, _ in self.pairs}
        return _key(name) in names or canonical_name(name) in names

    def among(self, found: Sequence[str], where: str) -> ChosenClasses:
        """The labels of the classes that are `found` in the data.  where: names the data in
        messages.

        Raises LabelError for a name in the list that the data do not have, unless it is a name
        alone and every class of the data is in the list; and for a number without a name.
        """
        classes = self.classes
        position = {canonical_name(name): k for k, name in enumerate(classes)}
        if self.names_numbers(found):
            label_of = self._numbered(found, where)
        else:
            exact = {_key(of): name for of, name in self.pairs}
            synonyms: dict[str, str] = {}
            for of, name in self.pairs:
                synonyms.setdefault(canonical_name(of), name)
            label_of = {}
            for name in found:
                target = exact.get(_key(name), synonyms.get(canonical_name(name)))
                label_of[name] = None if target is None else position[canonical_name(target)]
            self._check_names(found, label_of, where)
        return ChosenClasses(self._space(label_of), label_of)

    def _numbered(self, found: Sequence[str], where: str) -> dict[str, int | None]:
        numbers = sorted({int(name.strip()) for name in found})
        wrong = [n for n in numbers if not 0 <= n < len(self.classes)]
        if wrong:
            example = ",".join(f"{n}={name}" for n, name in zip(numbers, self.classes))
            raise LabelError(
                f"{where}: class {wrong[0]}, but {len(self.classes)} names in a row are those of "
                f"the numbers 0 to {len(self.classes) - 1}; the data have {shown_names(found)}. "
                f"Name each number that is to be used, as in classes={example!r}"
            )
        return {name: int(name.strip()) for name in found}

    def _check_names(
        self, found: Sequence[str], label_of: Mapping[str, int | None], where: str
    ) -> None:
        there = {_key(name) for name in found} | {canonical_name(name) for name in found}
        absent = [of for of, _ in self.pairs if not {_key(of), canonical_name(of)} & there]
        is_order = not self.has_pairs and all(k is not None for k in label_of.values())
        if not absent or (is_order and found):
            return
        free = [name for name, k in label_of.items() if k is None]
        near = nearest(absent[0], free)
        raise LabelError(
            f"{where}: the list of classes has {_short(absent[0])}, which the data do not have; "
            f"they have {shown_names(found)}"
            + (
                f". If {_short(absent[0])} is meant to be {_short(near)}, write that"
                if near
                else ""
            )
        )

    def _space(self, label_of: Mapping[str, int | None]) -> LabelSpace:
        classes = self.classes
        made_of = tuple(
            tuple(name for name, k in label_of.items() if k == label)
            for label in range(len(classes))
        )
        left_out = tuple(name for name, k in label_of.items() if k is None)
        renamed = any(
            canonical_name(of) != canonical_name(name)
            for name, parts in zip(classes, made_of)
            for of in parts
        )
        name = "chosen" if self.given is None else self.given.name
        if not renamed and not left_out:
            return self.given or LabelSpace(name, classes)
        return LabelSpace(name, classes, made_of if renamed else (), left_out)


@dataclass(frozen=True)
class ChosenClasses:
    """The label space of the classes that are used, and the label of each name in the data, None if
    its images are left out."""

    space: LabelSpace
    label_of: Mapping[str, int | None]

    def map_from(self, source: LabelSpace) -> LabelMap:
        """The map of labels in `source`, whose classes are the names in the data."""
        indices = tuple(self.label_of[name] for name in source.classes)
        dropped = tuple(name for name, k in zip(source.classes, indices) if k is None)
        unfilled = tuple(name for k, name in enumerate(self.space.classes) if k not in indices)
        return LabelMap(source, self.space, indices, dropped, unfilled)

    def notes(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """What was renamed, merged and left out, in sentences.  counts: {name in the data: number
        of its images}."""
        classes = self.space.classes
        read_as = [
            f"{name} ({counts.get(name, 0):,}) as {classes[label]}"
            for name, label in self.label_of.items()
            if label is not None
            and (canonical_name(name) != canonical_name(classes[label]) or self._is_merged(label))
        ]
        left_out = [name for name, label in self.label_of.items() if label is None]
        n_left_out = sum(counts.get(name, 0) for name in left_out)
        empty = [
            name
            for k, name in enumerate(classes)
            if not sum(counts.get(of, 0) for of, label in self.label_of.items() if label == k)
        ]
        told = []
        if read_as:
            told.append(f"classes, with their numbers of images: {_listed(read_as)}")
        if left_out:
            parts = [f"{name} ({counts.get(name, 0):,})" for name in left_out]
            told.append(
                f"{n_left_out:,} image{'s' * (n_left_out != 1)} left out, of classes that are not "
                f"in the list of classes: {_listed(parts)}"
            )
        if empty:
            told.append(f"no images of {_listed(empty)}")
        return tuple(told)

    def _is_merged(self, label: int) -> bool:
        return sum(k == label for k in self.label_of.values()) > 1


def class_choice(classes: Classes) -> ClassChoice:
    """The choice that a list of classes makes; see the module's docstring.

    Raises LabelError for an item without a name, a FROM that is given twice, and two names alone
    that are one class.
    """
    if isinstance(classes, LabelSpace):
        pairs = tuple((name, name) for name in classes.classes)
        return ClassChoice(pairs, has_pairs=False, given=classes)
    if isinstance(classes, Mapping):
        items = [(str(of), str(name)) for of, name in classes.items()]
        has_pairs = True
    else:
        texts = classes.split(",") if isinstance(classes, str) else [str(c) for c in classes]
        has_pairs = any("=" in text for text in texts)
        items = []
        for text in texts:
            of, equals, name = text.partition("=")
            items.append((of, name if equals else of))
    pairs = tuple((of.strip(), name.strip()) for of, name in items)
    if not pairs:
        raise LabelError("an empty list of classes; expected NAME,NAME,... or FROM=NAME,...")
    for of, name in pairs:
        if not of or not name:
            raise LabelError(
                f"class {_short(of or name)}: expected NAME, or FROM=NAME, separated by commas"
            )
    if not has_pairs:
        LabelSpace("the list of classes", tuple(name for _, name in pairs))  # raises for one twice
    seen: set[str] = set()
    for of, _ in pairs:
        if _key(of) in seen:
            raise LabelError(f"the list of classes has {_short(of)} twice; each name has one class")
        seen.add(_key(of))
    return ClassChoice(pairs, has_pairs)


def is_number(name: str) -> bool:
    """Whether the name of a class is a whole number."""
    return _NUMBER.fullmatch(name.strip()) is not None


def suggested_list(found: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """(a list of classes for what is `found` in the data, the names that it leaves out as they are
    like no emotion): ["happy", "suprise", "x"] -> ("happy,suprise=surprise", ("x",))."""
    items, unknown = [], []
    for name in found:
        likely = likely_class(name)
        if likely is None or "," in name or "=" in name:
            unknown.append(name)
        elif canonical_name(likely) == canonical_name(name):
            items.append(name)
        else:
            items.append(f"{name}={likely}")
    return ",".join(items), tuple(unknown)


def advice_on_names(found: Sequence[str]) -> str:
    """What to write for these names of classes, not all of which are known."""
    suggested, unknown = suggested_list(found)
    if not suggested:
        return (
            f"give the names of all classes in label order: classes=... (in the data they are "
            f"{shown_names(found)})"
        )
    advice = f"name the classes: classes={suggested!r}"
    if not unknown:
        return advice
    those = "it" if len(unknown) == 1 else "them"
    left_out = f"this leaves out {shown_names(unknown)}; add {those} to the list to use {those}"
    return f"{advice} ({left_out})"


def shown_names(names: Sequence[str]) -> str:
    """A few names of classes, for a message."""
    shown = [plain(name[:_MOST_CHARACTERS]) for name in names[:_MOST_SHOWN]]
    more = f", ... ({len(names):,} in all)" if len(names) > _MOST_SHOWN else ""
    return (", ".join(shown) + more) or "none"


def _key(name: str) -> str:
    """Names with the same key are the same: case, blanks and how accents are written do not
    matter, nor zeros before a number."""
    key = composed(name).strip().lower()
    return str(int(key.strip())) if is_number(key) else key


def _short(name: str) -> str:
    return repr(name[:_MOST_CHARACTERS])


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(map(plain, parts[:_MOST_SHOWN])) + (
        f" and {len(parts) - _MOST_SHOWN:,} more" if len(parts) > _MOST_SHOWN else ""
    )
