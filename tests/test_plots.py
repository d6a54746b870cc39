"""Figures: they show the given numbers, change no global state, and matplotlib is optional."""

import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need the extra plots")
from tinycnn import plots  # noqa: E402

SIZES = ("M", "S", "XXS")
ESTIMATES = [(80.0, 2.0), (75.0, math.inf), (60.5, 1.0)]
CLASSES = ("calm", "angry", "glad")
COUNTS = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])


def distillation():
    return plots.distillation_by_size(
        SIZES, ESTIMATES, [(82.0, 1.0)] * 3, {"paper": [(70, 71)] * 3}
    )


def temperature(others=None):
    lines = {"M": ESTIMATES, "S": [(1.0, 0.5), (math.nan, 1.0), (3.0, 0.5)]}
    return plots.accuracy_by_temperature((2.0, 8.0, 64.0), lines, {"M": 50.0}, others)


def candidates():
    panels = {"by subject": {"v": ESTIMATES, "p12": ESTIMATES[::-1]}, "random": {"v": ESTIMATES}}
    return plots.candidates_by_size(SIZES, panels, {"paper": {"v": [1.0, 2.0, 3.0]}})


def reliability():
    right = np.array([1, 0, 1, 1])
    lines = {"before": (np.array([0.95, 0.95, 0.25, 0.15]), right)}
    return plots.reliability({"one": lines, "two": lines})


def curves():
    lines = {"a": [30.0, 60.0, 61.0], "b": np.array([20.0, 35.0, 50.0])}
    return plots.curves([1, 2, 4], lines, x_label="step", y_label="accuracy, %", log_x=True)


ALL = [
    distillation,
    temperature,
    lambda: temperature({"paper": {"M": [1.0, 2.0, 3.0]}}),
    candidates,
    reliability,
    lambda: plots.confusions(CLASSES, {"one": COUNTS, "two": COUNTS}),
    lambda: plots.confusion_change(CLASSES, COUNTS, COUNTS[:, ::-1]),
    lambda: plots.time_by_size(SIZES, [(50, 45, 70)] * 3, {"another": [500, 400, 300]}),
    curves,
]


@pytest.mark.parametrize("draw", ALL)
def test_a_figure_has_labelled_axes_and_always_gives_the_same_png(draw):
    picture = plots.png(draw())
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 5000
    assert plots.png(draw()) == picture
    figure = draw()
    shown = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert any(axes.get_xlabel() for axes in shown) and any(axes.get_ylabel() for axes in shown)
    units = ("%", "points", "µs", "truth")
    assert any(unit in axes.get_ylabel() for axes in figure.axes for unit in units)


def test_bars_are_as_high_as_the_means_and_start_at_0():
    (axes,) = distillation().axes
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == [80.0, 75.0, 60.5, 82.0, 82.0, 82.0]
    assert axes.get_ylim() == (0, 100)
    assert [text.get_text() for text in axes.get_xticklabels()] == [*SIZES]
    whiskers = [c for c in axes.collections if type(c).__name__ == "LineCollection"]
    ends = [tuple(line[:, 1]) for c in whiskers for line in c.get_segments()]
    assert ends[:3] == [(78.0, 82.0), (75.0, 75.0), (59.5, 61.5)]  # infinite: not drawn


def test_lines_have_the_points_that_were_given():
    axes = temperature().axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["M"].get_ydata().tolist() == [80.0, 75.0, 60.5]
    assert np.allclose(lines["M"].get_xdata(), [2, 8, 64], rtol=0.03)
    assert np.isnan(lines["S"].get_ydata()[1])
    assert axes.get_xscale() == "log"
    level = [line for line in axes.lines if [*line.get_ydata()] == [50.0, 50.0]]
    assert len(level) == 1 and level[0].get_color() == lines["M"].get_color()


def test_curves_have_the_points_and_the_labels_that_were_given():
    (axes,) = curves().axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["b"].get_xdata().tolist() == [1, 2, 4]
    assert lines["b"].get_ydata().tolist() == [20, 35, 50]
    assert lines["a"].get_linestyle() != lines["b"].get_linestyle()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "accuracy, %")
    assert axes.get_xscale() == "log"


def test_lines_are_distinguishable_without_colour():
    axes = temperature().axes[0]
    named = [line for line in axes.lines if line.get_label() in ("M", "S")]
    assert len({(line.get_marker(), line.get_linestyle()) for line in named}) == 2


def test_the_papers_panels_are_below_ours():
    ours, paper = temperature({"paper": {"M": [1.0, 2.0, 3.0]}}).axes
    assert ours.get_title() == "ours" and paper.get_title() == "paper"
    assert paper.lines[0].get_ydata().tolist() == [1.0, 2.0, 3.0]


def test_confusions_are_shares_of_the_class_and_empty_classes_are_0():
    figure = plots.confusions(CLASSES, {"one": COUNTS})
    (image,) = figure.axes[0].images
    assert np.allclose(image.get_array(), [[80, 20, 0], [10, 90, 0], [0, 0, 0]])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["10", "20", "80", "90"]
    (change,) = plots.confusion_change(CLASSES, COUNTS, COUNTS[[1, 0, 2]]).axes[0].images
    assert np.allclose(change.get_array()[:2], [[-70, 70, 0], [70, -70, 0]])
    assert change.get_clim() == (-70, 70)  # unchanged shares have the middle colour


def test_reliability_is_right_against_confidence_by_bin():
    axes = reliability().axes[0]
    (points,) = axes.collections
    assert np.allclose(points.get_offsets(), [[15, 100], [25, 100], [95, 50]])
    assert points.get_sizes()[2] > points.get_sizes()[0]


def test_no_global_state_changes():
    """No pyplot, no change of backend or settings: a notebook works as before."""
    code = """
    import sys, matplotlib
    before = list(dict.items(matplotlib.rcParams))  # rcParams["backend"] would import pyplot
    sys.path.insert(0, "tests")
    import test_plots
    from tinycnn import plots
    for draw in test_plots.ALL:
        plots.png(draw())
    assert "matplotlib.pyplot" not in sys.modules
    assert list(dict.items(matplotlib.rcParams)) == before
    """
    env = {**os.environ, "MPLBACKEND": "", "DISPLAY": ""}
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=root, env=env, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(plots.PlotsError, match=r'pip install "tinycnn\[plots\]"'):
        distillation()


def test_the_module_needs_no_matplotlib_to_be_imported():
    code = "import sys; from tinycnn import plots; assert 'matplotlib' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
