"""The report page, parsed: its numbers against loops, its curves against their own ticks."""

import base64
import dataclasses
import io
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinycnn.report import RunReport, render_report, svg_charts, write_report
from tinycnn.report import page as report_page
from tinycnn.report.sections import N_MISTAKES, most_confident_mistakes, wilson_interval

NASTY = '<script>alert("1")</script>\'&amp;'


def history(n_epochs=12, first=1, slope=0.1, **overrides):
    rows = []
    for k in range(n_epochs):
        rows.append(
            dict(
                epoch=first + k,
                train_loss=2.0 * math.exp(-slope * k),
                val_loss=1.9 * math.exp(-slope * k) + 0.01 * k,
                val_accuracy=0.9 - 0.5 * math.exp(-slope * k),
                images_per_s=1000.0 + k,
                seconds=2.5,
            )
        )
        rows[-1].update({key: values[k] for key, values in overrides.items()})
    return rows


def make(n=40, n_classes=4, shape=(12, 10), filter_shape=(3, 3, 1, 5), seed=5, **overrides):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    probs = rng.dirichlet(np.ones(n_classes), n)
    probs[rng.random(n) < 0.5] = 0.1 / n_classes
    probs[np.arange(n), labels] += 1 - probs.sum(axis=1)
    values = dict(
        title="A run",
        command="python train.py --seed 7",
        config={"seed": 7, "loss": {"kind": "hard", "weight": np.float32(0.5)}, "flip": True},
        classes=[f"class{k}" for k in range(n_classes)],
        histories={"with teacher": history(), "without teacher": history(10, slope=0.2)},
        labels=labels,
        probs=probs,
        images=rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        ids=[f"id{i:04d}" for i in range(n)],
        filters=rng.normal(size=filter_shape).astype(np.float32),
        data_hashes={"training": "0123abcd"},
        speed={"Prediction, one image": "118 µs"},
        notes=["Row 3 was left out."],
        n_parameters=65000,
    )
    values.update(overrides)
    return RunReport(**values)


def parse(report):
    page = render_report(report)
    doctype, rest = page.split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def by_class(root, tag, name):
    return [e for e in root.iter(tag) if name in e.get("class", "").split()]


def text(element):
    return " ".join("".join(element.itertext()).replace("\u00a0", " ").split())


def cells(table):
    return [[text(cell) for cell in row] for row in table.iter("tr")]


def chart(root, name):
    (svg,) = [e for e in root.iter("svg") if f"chart-{name}-title" in e.get("aria-labelledby", "")]
    return svg


def path_points(d):
    """Segments of an svg path of M and L, as lists of (x, y) in pixels."""
    segments = [part for part in d.split("M") if part]
    return [
        [tuple(map(float, point.split(","))) for point in re.split("[ L]+", segment.strip())]
        for segment in segments
    ]


def ruler(svg, axis):
    """(value, px) of every tick, read from its mark and its number."""
    if axis == "y":
        places = [float(line.get("y1")) for line in by_class(svg, "line", "grid")]
        numbers = [e for e in svg.iter("text") if e.get("text-anchor") == "end"]
    else:
        marks = [e for e in by_class(svg, "line", "axis") if e.get("x1") == e.get("x2")]
        places = [float(mark.get("x1")) for mark in marks]
        anchored = [e for e in svg.iter("text") if e.get("text-anchor") == "middle"]
        numbers = [e for e in anchored if not e.get("class")]
    assert len(places) == len(numbers) > 1
    if axis == "y":
        np.testing.assert_allclose([float(e.get("y")) - 4 for e in numbers], places, atol=0.11)
    return np.array([float(e.text) for e in numbers]), np.array(places)


# ---- the page as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"histories": {"one": history(1)}, "n": 3},
        {"histories": {}},
        {"histories": {"empty": []}, "n": 0},
        {"histories": {f"run {i}": history(5 + i) for i in range(15)}},
        {"n_classes": 2, "shape": (5, 31)},
        {"n_classes": 20, "filter_shape": (5, 4, 3, 7)},
        {"filter_shape": (2, 2, 11, 70)},
        {"notes": (), "speed": {}, "config": {}, "data_hashes": {}, "n_parameters": None},
    ],
    ids=lambda overrides: ",".join(overrides) or "plain",
)
def test_the_page_is_well_formed_and_self_contained(overrides):
    report = make(**overrides)
    page = render_report(report)
    root = parse(report)
    assert page == render_report(report)
    tags = {e.tag for e in root.iter()}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "a", "use"}
    for element in root.iter():
        assert not [name for name in element.keys() if name.startswith("on")]
        for name in ("src", "href", "srcset", "data"):
            assert element.get(name, "data:").startswith("data:")
    assert "http:" not in page and "https:" not in page
    assert "url(" not in page and "@import" not in page
    (policy,) = [e for e in root.iter("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy.get("content")

    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for svg in root.iter("svg"):
        assert svg.get("role") == "img" and text(svg.find("title"))
        assert set(svg.get("aria-labelledby", "").split()) <= set(ids)
    for one in by_class(root, "svg", "chart"):
        assert text(one.find("desc"))
    for image in root.iter("img"):
        assert image.get("alt")
    for heading in root.iter("th"):
        assert heading.get("scope") in ("row", "col")


def test_html_parsers_read_the_same_structure():
    """html.parser, which does not treat the page as XML, finds every element closed in order."""
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.append(tag)

        def handle_startendtag(self, tag, attrs):
            assert tag in {"meta", "br", "img", "line", "path", "circle", "rect"}

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    reader = Reader()
    reader.feed(render_report(make()))
    reader.close()
    assert open_tags == []


def test_size_of_a_page_with_noise_images():
    """Noise does not compress, so this is the largest such page."""
    report = make(n=3500, n_classes=8, shape=(84, 84), filter_shape=(8, 8, 1, 16))
    report = dataclasses.replace(
        report, histories={name: history(100) for name in ("with teacher", "without teacher")}
    )
    assert 10_000 < len(render_report(report).encode()) < 1_000_000


def test_large_images_are_scaled_down():
    root = parse(make(n=30, shape=(400, 1000)))
    sizes = {picture(image).shape for image in mistake_images(root)}
    assert sizes == {(77, 192)}


@pytest.mark.parametrize(
    "seconds, shown", [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (3e4, "8 h 20 min")]
)
def test_how_long_it_took(seconds, shown):
    histories = {"run": history(2, seconds=[seconds, None])}
    root = parse(dataclasses.replace(make(n=20), histories=histories))
    assert shown in " ".join(text(root.find(".//header")).split())


def test_import_needs_no_drawing_library():
    code = (
        "import sys, tinycnn.report\n"
        "print([m for m in ('matplotlib', 'PIL', 'numba', 'skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- texts --------------------------------------------------------------------------------------


def test_texts_from_files_and_options_are_escaped():
    def nasty(place):
        return f"{place}{NASTY}"

    report = make(n=20)
    report = dataclasses.replace(
        report,
        title=nasty("title"),
        command=nasty("command"),
        config={nasty("key"): nasty("value"), "deep": {nasty("inner"): [nasty("listed")]}},
        classes=[nasty(f"class{k}") for k in range(4)],
        histories={nasty("run"): history(), nasty("other"): history()},
        ids=[nasty(f"id{i}") for i in range(20)],
        data_hashes={nasty("data"): nasty("hash")},
        speed={nasty("what"): nasty("fast")},
        notes=[nasty("note")],
    )
    root = parse(report)
    assert not list(root.iter("script"))
    assert "<script" not in render_report(report)
    everything = "\n".join([*root.itertext(), *(v for e in root.iter() for v in e.attrib.values())])
    places = "title command key value inner class0 class3 run other data hash what fast note"
    for place in places.split():
        assert nasty(place) in everything, place
    assert NASTY.replace('"', '\\"') in everything  # in a list, as JSON
    shown = [text(e.find("small")) for e in by_class(root, "ol", "mistakes")[0]]
    assert shown and all(NASTY in id_ for id_ in shown)


@pytest.mark.parametrize("code", [0x00, 0x1B, 0x7F, 0x85, 0xD800, 0xDFFF, 0xFFFE])
def test_characters_that_are_not_allowed_in_xml_are_replaced(tmp_path, code):
    path = tmp_path / "report.html"
    write_report(path, make(command=f"a{chr(code)}b\tc"))
    root = ElementTree.fromstring(path.read_text(encoding="utf-8").split("\n", 1)[1])
    (command,) = root.iter("pre")
    assert "".join(command.itertext()) == "a\ufffdb\tc"


def test_the_page_has_all_that_repeats_the_run():
    root = parse(make(notes=["First.", "Second."]))
    facts = [row for table in by_class(root, "table", "facts") for row in cells(table)]
    assert ["seed", "7"] in facts
    assert ["loss.kind", "hard"] in facts
    assert ["loss.weight", "0.5"] in facts
    assert ["flip", "true"] in facts
    assert ["training", "0123abcd"] in facts
    assert ["Prediction, one image", "118 µs"] in facts
    assert text(next(root.iter("pre"))) == "python train.py --seed 7"
    assert "Seed 7." in text(root)
    assert [text(note) for note in by_class(root, "ul", "notes")[0]] == ["First.", "Second."]


# ---- headline and learning curves ---------------------------------------------------------------


def stats(root):
    (headline,) = by_class(root, "dl", "headline")
    return {text(stat.find("dt")): text(stat.find("dd")) for stat in headline}


def test_headline():
    first = history(3, val_accuracy=[0.5, 0.8125, 0.75], seconds=[30.0, 30.4, 31.0])
    second = history(4, val_accuracy=[0.2, None, 0.7, math.nan])
    shown = stats(parse(make(histories={"with": first, "without": second})))
    assert shown["with"] == "81.2 %best, epoch 2final 75.0 %"
    assert shown["without"] == "70.0 %best, epoch 3final –"
    assert shown["Difference"] == "+11.2points,best against best"
    assert shown["Epochs"] == "3"
    assert shown["Parameters"] == "65,000"
    assert shown["Time"] == "1 min 31 sepochs of the first run"
    shown = stats(parse(make(histories={"without": second, "with": first})))
    assert shown["Difference"].startswith("−11.2")
    assert "Difference" not in stats(parse(make(histories={"with": first})))


def test_curves_show_the_data_at_the_scale_of_their_ticks():
    """Read the scale off the ticks, then compute every point of every line from the history."""
    histories = {"with teacher": history(12), "without teacher": history(10, slope=0.2)}
    root = parse(make(histories=histories))
    for key, scale in (("train_loss", 1), ("val_loss", 1), ("val_accuracy", 100)):
        svg = chart(root, key.replace("_", "-"))
        x_ruler, y_ruler = ruler(svg, "x"), ruler(svg, "y")
        assert (np.diff(x_ruler[1]) > 0).all() and (np.diff(y_ruler[1]) < 0).all()
        paths = by_class(svg, "path", "line")
        assert len(paths) == 2
        for path, rows in zip(paths, histories.values()):
            (points,) = path_points(path.get("d"))
            wanted_x = np.polyval(np.polyfit(*x_ruler, 1), [row["epoch"] for row in rows])
            wanted_y = np.polyval(np.polyfit(*y_ruler, 1), [scale * row[key] for row in rows])
            np.testing.assert_allclose(points, np.stack([wanted_x, wanted_y], 1), atol=0.2)
        labels = [text(label) for label in by_class(svg, "text", "label")]
        assert labels == ["withteacher", "withoutteacher"]  # two lines each
        assert len({path.get("stroke-dasharray") for path in paths}) == 2


def test_rings_mark_the_best_epoch():
    rows = history(5, val_loss=[3, 1, 1, 2, 4], val_accuracy=[0.1, 0.2, 0.6, 0.7, 0.5])
    root = parse(make(histories={"one": rows}))
    for name, best in (("val-loss", 1), ("val-accuracy", 3)):
        svg = chart(root, name)
        (ring,) = by_class(svg, "circle", "ring")
        (points,) = path_points(by_class(svg, "path", "line")[0].get("d"))
        assert (float(ring.get("cx")), float(ring.get("cy"))) == points[best]
        assert f"at epoch {best + 1}" in text(svg.find("desc"))
    assert not by_class(chart(root, "train-loss"), "circle", "ring")


def test_a_very_large_first_loss_makes_the_axis_logarithmic():
    losses = [300.0, 30.0, 3.0, 0.6, 0.5]
    svg = chart(parse(make(histories={"one": history(5, train_loss=losses)})), "train-loss")
    values, places = ruler(svg, "y")
    assert "log scale" in text(svg)
    ((*points,),) = path_points(by_class(svg, "path", "line")[0].get("d"))
    wanted = np.polyval(np.polyfit(np.log(values), places, 1), np.log(losses))
    np.testing.assert_allclose([y for _, y in points], wanted, atol=0.2)


def test_missing_values_are_gaps_in_the_line():
    values = [None, 1.0, 0.9, math.nan, 0.7, math.inf, 0.5, 0.4, 0.3, None]
    root = parse(make(histories={"one": history(10, val_loss=values)}))
    svg = chart(root, "val-loss")
    (path,) = by_class(svg, "path", "line")
    assert [len(segment) for segment in path_points(path.get("d"))] == [2, 3]
    assert len(by_class(svg, "circle", "dot")) == 1
    (table,) = by_class(root, "table", "epochs")
    shown = [row[2] for row in cells(table)[1:]]
    assert shown == ["–", "1", "0.9", "–", "0.7", "–", "0.5", "0.4", "0.3", "–"]


def test_runs_without_validation_say_so():
    nothing = [None] * 4
    rows = history(4, val_loss=nothing, val_accuracy=nothing)
    root = parse(make(histories={"one": rows, "two": [{"epoch": 0}]}))
    assert len(by_class(root, "svg", "chart")) == 1
    assert text(root).count("Not recorded.") == 2
    assert cells(by_class(root, "table", "runs")[0])[2] == ["two", "1", "–", "–", "–", "–", "–"]


def test_one_epoch_is_a_dot_in_the_middle():
    svg = chart(parse(make(histories={"one": history(1)})), "train-loss")
    (dot,) = by_class(svg, "circle", "dot")
    base = max(by_class(svg, "line", "axis"), key=lambda e: float(e.get("x2")))
    middle = (float(base.get("x1")) + float(base.get("x2"))) / 2
    assert float(dot.get("cx")) == pytest.approx(middle, abs=0.1)
    assert not by_class(svg, "path", "line")


def test_runs_table():
    rows = history(3, val_accuracy=[0.5, 0.8125, 0.75], val_loss=[2, 3, 1.25])
    rows = [{**row, "images_per_s": speed} for row, speed in zip(rows, [900, 7000, 1100])]
    (table,) = by_class(parse(make(histories={"one": rows})), "table", "runs")
    assert cells(table)[1] == ["one", "3", "2", "81.2 %", "75.0 %", "1.25", "1,100"]


# ---- by class -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3, 8, 20])
def test_confusion_and_recall_against_loops(n_classes):
    report = make(n=1500, n_classes=n_classes)
    absent = n_classes - 1
    report = dataclasses.replace(report, labels=np.where(report.labels == absent, 0, report.labels))
    counts = [[0] * n_classes for _ in range(n_classes)]
    for truth, row in zip(report.labels.tolist(), report.probs.tolist()):
        counts[truth][row.index(max(row))] += 1
    root = parse(report)

    (matrix,) = by_class(root, "table", "matrix")
    head, *body, foot = list(matrix.iter("tr"))
    assert [text(cell) for cell in head][1:-1] == list(report.classes)
    assert len(body) == n_classes
    for i, row in enumerate(body):
        name, *entries, total = list(row)
        n = sum(counts[i])
        assert (text(name), text(total)) == (report.classes[i], f"{n:,}")
        for j, cell in enumerate(entries):
            shown = (cell.text or "").strip()
            assert shown == f"{counts[i][j]:,}", (i, j)
            share = counts[i][j] / n if n else 0
            assert cell.get("style") == f"--share:{share:.2f}"
            percent = cell.find("small")
            if counts[i][j]:
                assert text(percent) == f"{100 * share:.0f} %"
            assert ("right" in cell.get("class").split()) == (i == j)
    columns = [sum(row[j] for row in counts) for j in range(n_classes)]
    assert [text(cell) for cell in foot] == ["sum", *(f"{n:,}" for n in columns), "1,500"]

    (table,) = by_class(root, "table", "recall")
    rows = list(table.iter("tr"))[1:]
    recalls = []
    for i, row in enumerate(rows):
        name, bar, recall, support = list(row)
        n = sum(counts[i])
        assert (text(name), text(support)) == (report.classes[i], f"{n:,}")
        if i == absent:
            assert text(recall) == "–" and not list(bar)
            continue
        recalls.append(counts[i][i] / n)
        assert text(recall) == f"{100 * recalls[-1]:.1f} %"
        length = bar.find("svg").find("rect[@class='run0']").get("width")
        assert float(length.rstrip("%")) == pytest.approx(100 * recalls[-1], abs=0.01)
    right = sum(counts[i][i] for i in range(n_classes))
    assert f"{right:,} of 1,500 images right: {right / 15:.1f} %" in text(root)
    mean = sum(recalls) / len(recalls)
    assert f"Mean recall of the classes: {100 * mean:.1f} %." in text(root)


def test_most_frequent_mistakes_are_named():
    labels = np.array([0] * 5 + [1] * 4 + [2] * 3)
    said = np.array([1, 1, 0, 0, 0, 2, 2, 2, 1, 2, 2, 0])
    report = make(n=12, n_classes=3, labels=labels, probs=np.eye(3)[said])
    assert (
        "Most frequent mistakes: class1 taken for class2 (3), class0 taken for class1 (2), "
        "class2 taken for class0 (1)." in text(parse(report))
    )


@pytest.mark.parametrize("n_right, n", [(0, 1), (1, 1), (8, 34), (2575, 3500), (0, 900)])
def test_wilson_interval_solves_its_equation(n_right, n):
    """Its ends q lie 1.96 standard deviations from the share p: (p-q)^2 = z^2 q(1-q)/n."""
    low, high = wilson_interval(n_right, n)
    p = n_right / n
    assert 0 <= low <= p <= high <= 1
    for q in (low, high):
        if 0 < q < 1:
            assert (p - q) ** 2 == pytest.approx(1.959964**2 * q * (1 - q) / n, rel=1e-5)
    assert high - low > 0


# ---- pictures -----------------------------------------------------------------------------------


def picture(image):
    data = image.get("src").removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as decoded:
        assert decoded.format == "PNG"
        return np.asarray(decoded)


def mistake_images(root):
    return [item.find("img") for item in by_class(root, "ol", "mistakes")[0]]


def test_mistakes_are_found_sorted_and_shown():
    report = make(n=120, n_classes=5, shape=(9, 14))
    expected = []
    for i, (truth, row) in enumerate(zip(report.labels.tolist(), report.probs.tolist())):
        said = row.index(max(row))
        if said != truth:
            expected.append((row[said], i, said, truth))
    expected.sort(key=lambda entry: (-entry[0], entry[1]))
    assert len(expected) > N_MISTAKES == 24
    root = parse(report)
    (shown,) = by_class(root, "ol", "mistakes")
    assert len(shown) == 24
    for item, (confidence, i, said, truth) in zip(shown, expected):
        assert text(item.find("small")) == report.ids[i]
        np.testing.assert_array_equal(picture(item.find("img")), report.images[i])
        first, second = item.findall("p")
        assert text(first[0]) == report.classes[said]
        assert text(second[0]) == f"is {report.classes[truth]}"
        if confidence < 0.9995:
            assert text(first[1]) == f"{100 * confidence:.1f} %"
    assert f"24 of {len(expected)} mistakes" in text(root)


@pytest.mark.parametrize(
    "said, truth, shown",
    [
        (1.0, 0.0, ["100.0 %", "0.0 %"]),
        (0.99995, 0.00005, ["> 99.9 %", "< 0.1 %"]),
        (0.75, 0.25, ["75.0 %", "25.0 %"]),
    ],
)
def test_probabilities_are_not_rounded_to_certainty(said, truth, shown):
    report = make(n=1, n_classes=2, labels=np.array([1]), probs=np.array([[said, truth]]))
    (item,) = by_class(parse(report), "ol", "mistakes")[0]
    assert [text(line[1]) for line in item.findall("p")] == shown


def test_equally_confident_mistakes_keep_their_order():
    probs = np.tile([0.75, 0.25], (6, 1))
    labels = np.array([1, 0, 1, 1, 0, 1])
    assert most_confident_mistakes(labels, probs, 3).tolist() == [0, 2, 3]


def test_no_mistakes_at_all():
    labels = np.arange(8) % 4
    root = parse(make(n=8, labels=labels, probs=np.eye(4)[labels]))
    assert "None: every image was right." in text(root)
    assert not by_class(root, "ol", "mistakes")
    assert "Most frequent mistakes" not in text(root)


def test_filters_as_pictures():
    w = np.zeros((2, 3, 2, 3), np.float32)
    w[:, :, 0, 0] = [[0.5, -0.25, 0], [0, 0, 0.125]]
    w[1, 2, 1, 0] = -0.5
    w[0, 0, 0, 1] = np.nan
    w[0, 1, 0, 1] = 2
    root = parse(make(filters=w))
    (shown,) = by_class(root, "ol", "filters")
    first, second, dead = [picture(item.find("img")) for item in shown]
    white = [255] * 3
    np.testing.assert_array_equal(
        first, [[255, 64, 128], [128, 128, 160], white, [128] * 3, [128, 128, 1]]
    )
    assert second[0].tolist() == [128, 255, 128]
    assert set(np.delete(dead, 2, axis=0).ravel()) == {128}
    assert [text(item.find("small")) for item in shown] == ["±0.5", "±–", "±0"]
    assert "3 filters of 2 × 3 over 2 channels" in text(root)


# ---- axes and labels ----------------------------------------------------------------------------

finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(st.lists(finite, min_size=1, max_size=9) | st.lists(st.floats(0, 3e38), min_size=1))
def test_the_value_axis_is_monotone_and_covers_all_values(values):
    axis = svg_charts.value_axis(values, 200.0, 20.0)
    # A value a billionth of a step beyond a tick needs no further tick.
    beyond = 1e-6 * (axis.high - axis.low) if not axis.log else 1e-6 * min(values)
    assert axis.low <= min(values) + beyond and max(values) <= axis.high + beyond
    assert 2 <= len(axis.ticks) <= 24 and list(axis.ticks) == sorted(set(axis.ticks))
    places = [axis.px(value) for value in sorted(set(values))]
    assert all(20 - 1e-3 <= y <= 200 + 1e-3 for y in places)
    assert all(a > b for a, b in zip(places, places[1:]) if a != b)
    assert places == sorted(places, reverse=True)
    assert axis.px(axis.low) == 200 and axis.px(axis.high) == pytest.approx(20)


@given(low=finite, span=st.floats(1e-3, 1e6), integer=st.booleans())
def test_ticks_are_round(low, span, integer):
    ticks = svg_charts.round_ticks(low, low + span, integer=integer)
    step = ticks[1] - ticks[0]
    mantissa = float(f"{step:.3e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 5.0)
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-6)
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= low + span - 1e-6 * step
    assert len(ticks) <= 8
    if integer:
        assert all(tick == round(tick) for tick in ticks)


def test_epoch_ticks_are_whole_and_inside():
    for n in (1, 2, 3, 7, 40, 999):
        axis = svg_charts.epoch_axis(range(3, 3 + n), 40, 300)
        assert all(3 <= tick < 3 + n and tick == int(tick) for tick in axis.ticks)
        assert 1 <= len(axis.ticks) <= 8


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_labels_do_not_overlap_and_keep_their_order(wanted):
    series = [svg_charts.Series(f"run{i}", [0], [value]) for i, value in enumerate(wanted)]
    svg = ElementTree.fromstring(svg_charts.line_chart("c", "t", "d", series, "loss"))
    labels = by_class(svg, "text", "label")
    assert [text(label) for label in labels] == [one.name for one in series]
    places = [float(label[0].get("y")) for label in labels]
    assert (np.diff(sorted(places)) > 13).all()
    for a, y_a in zip(wanted, places):
        assert all(y_a > y_b for b, y_b in zip(wanted, places) if b - a > 1)  # larger is above
    assert min(places) > 0 and max(places) < float(svg.get("viewBox").split()[3])


# ---- errors and writing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, expected, overrides",
    [
        (ValueError, "probs have shape (3, 4): expected (N, 2)", {"classes": ["a", "b"], "n": 3}),
        (ValueError, "expected 2 or more different names", {"classes": ["a", "a", "b", "c"]}),
        (ValueError, "expected 2 or more different names", {"classes": ["a"]}),
        (ValueError, "labels have shape (3,): expected (40,)", {"labels": np.zeros(3, int)}),
        (ValueError, "labels[0] is 4: expected", {"labels": np.full(40, 4)}),
        (TypeError, "labels have dtype float64", {"labels": np.zeros(40)}),
        (ValueError, "probs[0] has sum 8", {"probs": np.full((40, 4), 2.0)}),
        (ValueError, "minimum -1", {"probs": np.tile([-1.0, 2.0, 0, 0], (40, 1))}),
        (ValueError, "softmax", {"probs": np.full((40, 4), np.nan)}),
        (
            ValueError,
            "images have shape (7, 5, 5): expected (40, H, W)",
            {"images": np.zeros((7, 5, 5), np.uint8)},
        ),
        (ValueError, "expected (40, H, W)", {"images": np.zeros((40, 5, 5, 1), np.uint8)}),
        (TypeError, "images have dtype float64", {"images": np.zeros((40, 5, 5))}),
        (ValueError, "there are 2 ids: expected 40", {"ids": ["a", "b"]}),
        (
            ValueError,
            "filters have shape (3, 3): expected (KH, KW, C, F)",
            {"filters": np.zeros((3, 3))},
        ),
        (
            ValueError,
            "history of 'r', row 1: epoch is 0",
            {"histories": {"r": [{"epoch": 0}, {"epoch": 0}]}},
        ),
        (ValueError, "row 0: epoch is None", {"histories": {"r": [{"val_loss": 1}]}}),
        (
            ValueError,
            "row 0: val_loss is 'much'",
            {"histories": {"r": [{"epoch": 0, "val_loss": "much"}]}},
        ),
        (
            ValueError,
            "val_accuracy is 84.1; expected a number from",
            {"histories": {"r": [{"epoch": 0, "val_accuracy": 84.1}]}},
        ),
    ],
)
def test_bad_arguments_are_named(kind, expected, overrides):
    with pytest.raises(kind, match=re.escape(expected)):
        make(**overrides)


def test_the_report_is_written_completely_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    report = make()

    def full_disk(*_):
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        with pytest.raises(OSError, match="no space"):
            write_report(path, report)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["report.html"]
    write_report(path, report)
    assert path.read_text(encoding="utf-8") == render_report(report)
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_report_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr(report_page, "SECTIONS", (broken,))
    with pytest.raises(ZeroDivisionError):
        write_report(path, make())
    assert path.read_text() == "old"


def test_warnings_stand_above_everything_else():
    root = parse(make(warnings=["all 40 predictions are 'class1' <&>"]))
    (shown,) = by_class(root, "div", "warnings")
    assert "".join(shown.itertext()) == "all 40 predictions are 'class1' <&>"
    page = render_report(make(warnings=["first"]))
    assert page.index('class="warnings"') < page.index('class="headline"')
    assert 'class="warnings"' not in render_report(make())
