"""Suggests which emotion a misspelt name of a class, or one of another language, may stand for.

A suggestion is only shown to the user, who then writes it down; no name is mapped by it.
"""

from __future__ import annotations

import difflib
import re
import unicodedata

from ferdata.labels import canonical_name, is_known_class

_OTHER_NAMES = {
    "anger": "an ang rage fury furious mad wut wutend arger aerger zorn colere enfado enojo ira "
    "rabia rabbia raiva woede boos ofke kizgin 愤怒 生气 怒り",
    "contempt": "co con scorn verachtung mepris desprecio desprezo disprezzo minachting kucumseme "
    "蔑视 轻蔑",
    "disgust": "di dis ekel degout asco nojo disgusto walging igrenme tiksinti 厌恶 嫌悪",
    "fear": "fe fea scared terror angst furcht peur miedo paura medo korku 恐惧 害怕 恐れ",
    "happiness": "ha hap joy joyful smile smiling freude froh gluck glucklich joie heureux alegria "
    "felicidad feliz felicita felice gioia felicidade blij vreugde mutlu mutluluk "
    "高兴 开心 快乐 喜び",
    "neutral": "ne neu normal neutre neutro neutrale neutraal notr 中性 平静",
    "sadness": "sa unhappy sorrow trauer traurig traurigkeit tristesse triste tristeza tristezza "
    "verdriet verdrietig uzgun uzuntu 悲伤 伤心 悲しみ",
    "surprise": "su sur shock shocked amazed astonished uberraschung ueberraschung uberrascht "
    "sorpresa sorpreso surpresa verrassing saskin saskinlik 惊讶 驚き",
}
"""Without accents: {class: names in English, German, French, Spanish, Portuguese, Italian, Dutch,
Turkish, Chinese and Japanese, and the letters that data sets use}."""

_SPELLINGS = tuple(
    "anger angry contempt contemptuous disgust disgusted fear fearful afraid happiness happy "
    "neutral sadness sad surprise surprised".split()
)
_LEAST_LIKENESS = 0.71  # difflib's ratio; that of "natural" and "neutral" is 0.714


def likely_class(name: str) -> str | None:
    """The emotion that `name` may stand for, as a name of a class, or None: "suprise" ->
    "surprise", "Angst" -> "fear", "01_angry" -> "angry"."""
    words = [word for word in re.split(r"[\W\d_]+", _without_accents(name)) if word]
    known = {canonical_name(word): word for word in words if is_known_class(word)}
    if len(known) == 1:
        return next(iter(known.values()))
    for word in words if len(words) == 1 else []:
        if word in _CLASS_OF:
            return _CLASS_OF[word]
        near = difflib.get_close_matches(word, _SPELLINGS, 1, _LEAST_LIKENESS)
        if not near:
            foreign = difflib.get_close_matches(
                word, [other for other in _CLASS_OF if len(other) > 4], 1, 0.85
            )
            near = [_CLASS_OF[other] for other in foreign]
        if near:
            return near[0]
    return None


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str | None:
    """The one of the `known` names that is most like `name`, or None if none is like it."""
    by_key = {_without_accents(other): other for other in known}
    found = difflib.get_close_matches(_without_accents(name), list(by_key), 1, _LEAST_LIKENESS)
    if found:
        return by_key[found[0]]
    emotion = likely_class(name)
    if emotion is None:
        return None
    same = [other for other in known if canonical_name(other) == canonical_name(emotion)]
    return same[0] if same else None


def _without_accents(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.strip().casefold().replace("ı", "i"))
    return unicodedata.normalize(
        "NFKC", "".join(c for c in letters if not unicodedata.combining(c))
    )


_CLASS_OF = {
    _without_accents(word): name for name, words in _OTHER_NAMES.items() for word in words.split()
}
