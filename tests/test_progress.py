"""The progress bars of the commands: when they appear, what they count, when they go."""

import io
import sys

from tinycnn.ground.progress import ProgressBar, ProgressBars


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """What is written to a terminal.  (No fixture: pytest sets stderr again before the test.)"""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_bar_appears_at_the_first_call_and_stays(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with ProgressBar("reading", "row") as progress:
        assert terminal.getvalue() == ""
        progress(1, 4)
        progress(4, 4)
    assert "reading: 100%" in terminal.getvalue() and "4.00/4.00" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_each_piece_of_work_has_a_bar_of_its_own_and_none_stays(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with ProgressBars() as progress:
        progress("reading", 2, 2)
        first = progress.bar.bar
        progress("comparing", 1, 3)
        assert first.n == 2 and first.disable  # tqdm's sign of a closed bar
        assert progress.bar.bar.n == 1 and progress.bar.bar.total == 3
    assert "reading:" in terminal.getvalue() and "comparing:" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r") and "\n" not in terminal.getvalue()


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with ProgressBar("reading") as progress, ProgressBars() as several:
        progress(1, 2)
        several("comparing", 1, 2)
    assert capsys.readouterr() == ("", "")
