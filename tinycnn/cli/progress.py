"""Progress bars of the commands."""

from __future__ import annotations

from tqdm import tqdm


class ProgressBar:
    """A tqdm bar to be called with `(done, total)`. It appears at the first call, and only on a
    terminal: in a log file it would hide the error message."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, desc=self.title, unit=self.unit, unit_scale=True, disable=None
            )
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
