"""Every operation in Numba: arrays in, arrays out, no validation, no allocation.

Start with `_tile.py` (the one inner loop), then `conv2d.py`; `program.py` walks a whole network.
The same functions with the same arguments stand in plain NumPy in `tinycnn.reference`.
"""
