"""Curves of a sweep: mean accuracy of each size by temperature; other options: more figures."""

import math

import pytest
from paper_results import result

from tinycnn.sweep import curves, grid

pytest.importorskip("matplotlib", reason="curves need the extra plots")


def results(trials):
    """Results with an accuracy of temperature (or 30) + 2 * seed."""
    return [result(t, 0, (t.temperature or 30) + 2 * t.seed) for t in trials]


def lines(figure):
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    return {
        name: [*map(float, y)] for name, y in drawn.items() if not name.startswith(("_", "horiz"))
    }


def test_one_line_per_size_over_the_temperatures():
    trials = grid(size=["XXS", "M"], loss=["none", "kd"], temperature=[8, 2, 4], seed=[0, 1])
    ((name, figure),) = curves(results(trials)).items()
    assert name == "curves.png"
    expected = pytest.approx([3.0, 5.0, 9.0])
    assert lines(figure) == {"M": expected, "XXS": expected}
    assert list(lines(figure)) == ["M", "XXS"]
    levels = [line for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1]
    assert [line.get_ydata()[0] for line in levels] == [pytest.approx(31)] * 2


def test_every_setting_of_other_options_has_its_own_figure():
    trials = grid(variant=["v", "p12"], loss=["none", "kd"], temperature=[2, 8])
    assert list(curves(results(trials))) == ["curves-variant-v.png", "curves-variant-p12.png"]


def test_a_long_title_becomes_a_number():
    one = grid(variant=["v", "p12"], loss="kd", temperature=[2, 8], soft_weight=[0.123456789, 0.5])
    other = grid(
        variant="p12", loss="dkd", temperature=[2, 8], batch_size=[16, 128], learning_rate=[1e-9]
    )
    names = list(curves(results([*one, *other])))
    assert len(names) == 6 and all(len(name) < 100 for name in names)
    assert "curves-1.png" in names


def test_missing_points_are_gaps_and_losses_with_several_temperatures_are_left_out():
    trials = [t for t in grid(size=["S", "M"], loss="kd", temperature=[2, 4, 8, (2, 8)])]
    kept = [r for r in results_without(trials, "S", 4.0)]
    ((_, figure),) = curves(kept).items()
    drawn = lines(figure)
    assert drawn["M"] == pytest.approx([2, 4, 8])
    assert drawn["S"][0] == pytest.approx(2) and math.isnan(drawn["S"][1])


def results_without(trials, size, temperature):
    for trial in trials:
        if (trial.size, trial.temperature) != (size, temperature):
            several = isinstance(trial.temperature, tuple)
            yield result(trial, 0, 5 if several else trial.temperature)


def test_one_temperature_gives_no_curve():
    assert curves(results(grid(loss=["none", "kd"], temperature=[4]))) == {}
    assert curves([]) == {}
