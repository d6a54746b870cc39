"""The paper's numbers in the code equal those of PAPER.md."""

import re

from tinycnn.paper import published


def tables(shared):
    """Every table of PAPER.md, as rows of cells, in order."""
    found, before = [], False
    for line in (shared / "PAPER.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            if not before:
                found.append([])
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set(line) <= set("|-"):
                found[-1].append(cells)
        before = line.startswith("|")
    return found


def numbers(text):
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_every_number_equals_the_list(shared):
    speed, candidates, distilled, by_temperature = tables(shared)
    assert {row[0]: float(row[3]) for row in speed[1:]} == published.I7_MS
    rows = {"subject": candidates[1:5], "random": candidates[5:9]}
    n = 0
    for split, lines in rows.items():
        for size, line in zip(published.SIZES, lines):
            assert line[0].split()[-1] == size
            for variant, cell in zip(published.VARIANTS, line[1:]):
                for name, value in zip(published.DATA_SETS, numbers(cell)):
                    assert published.CANDIDATES[name, split, variant, size] == value
                    n += 1
    assert n == len(published.CANDIDATES) == 64
    for name, *cells in distilled[1:]:
        for size, cell in zip(published.SIZES, cells):
            without, best = numbers(cell)
            assert published.WITHOUT_TEACHER[name][size] == without
            assert published.WITH_TEACHER[name][size] == best
    assert tuple(map(float, by_temperature[0][1:])) == published.TEMPERATURES
    assert len(by_temperature) == 9
    for label, *cells in by_temperature[1:]:
        data_set, size = label.split()
        name = {"CK+": "CK+", "Oulu": "Oulu-CASIA"}[data_set]
        assert published.BY_TEMPERATURE[name][size] == tuple(map(float, cells))


def test_the_best_temperature_is_the_reported_accuracy_to_plot_precision():
    for name in published.DATA_SETS:
        for size in published.SIZES:
            best = max(published.BY_TEMPERATURE[name][size])
            assert abs(best - published.WITH_TEACHER[name][size]) < 0.2
