"""How two threads compute one image together: they call each other and wait for each other in a few
cells of memory that both have, int32, without going back to Python.

The leader is the thread that predicts.  Its partner waits for a call in a loop, for some tenths of
a millisecond after each image, and then goes away: waking a thread would take as long as a small
network.  The cell DOOR says what the partner does:

    AWAY       there is none: the leader does the image alone
    WAITING    it waits for a call
    CALLED     the leader has called it
    WORKING    it has heard the call, so both do the image

Both go through the same runs of operations, each with a table of its own, and meet after each run:
each adds 1 to the cell ARRIVED and waits until the other has done so, too.
"""

from __future__ import annotations

from ._jit import helper
from ._shared_cells import LINE, add_one, pause, replace, value_of

AWAY, WAITING, CALLED, WORKING = range(4)

DOOR, ARRIVED, LATE = 0, LINE, 2 * LINE
PATIENCE, IDLE, LONG, N_RUNS, ENDS = range(3 * LINE, 3 * LINE + 5)
"""Where the cells are.  LATE: how often the leader has waited for long.  Then come numbers that do
not change.  How often a thread looks at a cell: PATIENCE, the leader, until the partner hears its
call; IDLE, the partner, until it goes away; LONG, the leader in a meeting, until the wait was long.
N_RUNS: how many runs there are; from ENDS on, the end of each in the table of operations."""


@helper  # pragma: no cover: intrinsics only run compiled
def call_partner(cells):
    """The leader: 1 if the partner does the next image with it, 0 if it has to do it alone."""
    if value_of(cells, DOOR) != WAITING:
        return 0
    cells[ARRIVED] = 0
    if not replace(cells, DOOR, WAITING, CALLED):
        return 0
    for _ in range(cells[PATIENCE]):
        if value_of(cells, DOOR) == WORKING:
            return 1
        pause()
    return 1 - replace(cells, DOOR, CALLED, WAITING)


@helper  # pragma: no cover: intrinsics only run compiled
def wait_for_call(cells):
    """The partner: 1 if it is called, 0 if it goes away."""
    replace(cells, DOOR, AWAY, WAITING)
    for _ in range(cells[IDLE]):
        if value_of(cells, DOOR) == CALLED and replace(cells, DOOR, CALLED, WORKING):
            return 1
        pause()
    while not replace(cells, DOOR, WAITING, AWAY):
        if replace(cells, DOOR, CALLED, WORKING):
            return 1
    return 0


@helper  # pragma: no cover: intrinsics only run compiled
def meet(cells, run, is_partner):
    """Both, after run number `run`: returns when the other has done it, too.

    After the last run the partner is ready for the next call, and does not wait: the leader may
    begin the next image before it would look.
    """
    if is_partner and run == cells[N_RUNS] - 1:
        replace(cells, DOOR, WORKING, WAITING)
        add_one(cells, ARRIVED)
        return
    add_one(cells, ARRIVED)
    n_looks = 0
    while value_of(cells, ARRIVED) < 2 * (run + 1):
        pause()
        n_looks += 1
    if n_looks > cells[LONG] and not is_partner:
        cells[LATE] += 1
