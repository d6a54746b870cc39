"""What the commands print about how a data set was read."""

from __future__ import annotations

import ferdata
from ferdata.class_choice import LEFT_OUT

from ..ground.messages import plain


def notes_on(dataset: ferdata.FaceDataset) -> list[str]:
    """Sentences about how the data set was read, what was left out on purpose, and the files below
    its folder that were not read."""
    notes, unread = list(dataset.notes), dataset.unread
    if unread is not None:
        left_out = [f"{n:,} {what}" for what, n in unread.left_out.items() if what != LEFT_OUT]
        if left_out:
            notes.append(f"left out of the data set: {', '.join(left_out)}")
        if unread:
            notes.append(unread.summary())
    return [plain(note) for note in notes]
