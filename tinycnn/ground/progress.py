"""Progress bars of the commands, shown only on a terminal: in a log file they would hide errors."""

from __future__ import annotations

from tqdm import tqdm

from .messages import plain


class ProgressBar:
    """A bar to be called with `(done, total)`, which appears at the first call.

    leave: whether it stays on the screen at the end
    """

    def __init__(self, title: str, unit: str = "it", *, leave: bool = True) -> None:
        self.title, self.unit, self.leave = title, unit, leave
        self.bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total,
                desc=plain(self.title),
                unit=self.unit,
                unit_scale=True,
                disable=None,
                leave=self.leave,
            )
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class ProgressBars:
    """To be called with `(what, done, total)`: a new bar for each `what`; none of them stays."""

    def __init__(self) -> None:
        self.bar = ProgressBar("", leave=False)

    def __enter__(self) -> ProgressBars:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.bar.title:
            self.bar.close()
            self.bar = ProgressBar(what, leave=False)
        self.bar(done, total)

    def __exit__(self, *exception: object) -> None:
        self.bar.close()
