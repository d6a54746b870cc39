"""The style of every html page, by rules: narrow screens, dark mode, captions."""

import re

import pytest

from tinycnn.explain.style import STYLE as EXPLAIN
from tinycnn.ground.html_page import SCROLL_CUE, styled_page, table
from tinycnn.ground.package_files import package_text
from tinycnn.paper.page import _STYLE as PAPER
from tinycnn.report.page import report_page

COMMON = re.search(r"<style>(.*?)</style>", styled_page("", ""), re.S)[1]
RUN = re.search(r"<style>(.*?)</style>", report_page("", ""), re.S)[1]
BROWSER = COMMON + package_text("tinycnn.export.browser", "page.css")
STYLES = {"common": COMMON, "run": RUN, "explain": EXPLAIN, "browser": BROWSER}
PHONE_PX = 400


def blocks(style):
    """(media, selector, declarations) of every rule; media: the condition, or ""."""
    found, media = [], []
    for selector, bracket in re.findall(r"([^{}]*)([{}])", style):
        selector = " ".join(selector.split())
        if bracket == "{":
            media.append(selector)
        else:
            if not media[-1].startswith("@"):
                outer = media[-2] if len(media) > 1 else ""
                found.append((outer, media[-1], selector))
            media.pop()
    assert not media
    return found


def colours(style, media):
    """The properties of :root under a condition, by name."""
    return {
        name: value.strip()
        for condition, selector, text in blocks(style)
        if selector == ":root" and media in condition and (media or not condition)
        for name, value in re.findall(r"(--[\w-]+):([^;]+)", text)
    }


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_what_scrolls_sideways_shows_that_there_is_more(style):
    cue = " ".join(SCROLL_CUE.split())
    scrolling = [rule for rule in blocks(style) if "overflow-x: auto" in rule[2]]
    assert scrolling and all(cue in text for _, _, text in scrolling)
    assert SCROLL_CUE.count("local") == 2 and SCROLL_CUE.count("no-repeat scroll") == 2
    assert "--cover" in style and "--edge" in style


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_every_colour_has_a_dark_one(style):
    light, dark = colours(style, ""), colours(style, "prefers-color-scheme: dark")
    derived = {name for name, value in light.items() if value.startswith("var(")}
    assert set(light) - derived == set(dark) != set()
    assert all(light[name] != dark[name] for name in dark)
    used = set(re.findall(r"var\((--[\w-]+)\)", style)) - {"--side", "--classes", "--share"}
    set_in_rules = {name for _, _, text in blocks(style) for name in re.findall(r"(--\w+):", text)}
    assert used <= set(light) | set_in_rules
    assert any(s == "body" and "background: var(--paper)" in t for _, s, t in blocks(style))


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_nothing_is_wider_than_a_phone_by_itself(style):
    """Widths in px and rem, at 16 px; a table that is wider is inside an element that scrolls."""
    for media, selector, text in blocks(style):
        for name, number, unit in re.findall(r"([\w-]*width): ([\d.]+)(px|rem)", text):
            width = float(number) * (16 if unit == "rem" else 1)
            assert name == "max-width" or width < PHONE_PX, f"{media} {selector}: {name}"


def test_tables_of_explain_scroll_on_a_narrow_screen():
    (text,) = [t for m, s, t in blocks(EXPLAIN) if s == "table" and "max-width: 60rem" in m]
    assert "display: block" in text and "overflow-x: auto" in text


def test_shaded_cells_keep_dark_text_in_dark_mode():
    """Their background has a colour of its own, the same in both modes."""
    rules = {selector: text for _, selector, text in blocks(EXPLAIN)}
    assert rules["td[style]"] == "color: #14181d;" and rules["td.deep[style]"] == "color: #fff;"


def test_figures_of_the_paper_are_dark_in_dark_mode():
    """Matplotlib draws dark on white; rotated by half a turn, the hues stay what they were."""
    (text,) = [
        t for m, s, t in blocks(PAPER) if s == ".figure" and "prefers-color-scheme: dark" in m
    ]
    assert "invert(.92)" in text and "hue-rotate(180deg)" in text


def test_a_caption_is_as_wide_as_the_screen_not_as_its_table():
    assert "<caption><span>Accuracy by size</span></caption>" in table(
        "runs", ["a"], [["1"]], "Accuracy by size"
    )
    (text,) = [t for _, s, t in blocks(COMMON) if s == ".scroll caption > span"]
    assert "width: max-content" in text and "position: sticky" in text and "100vw" in text
