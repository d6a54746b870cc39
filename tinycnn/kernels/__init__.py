"""Every operation in Numba: arrays in, arrays out, no validation, no allocation.

Start with `_tile.py` (the inner loop of all heavy passes), then `conv2d.py`; `walk.py` and
`program.py` run whole networks.  `tinycnn.reference` has the same functions in plain NumPy.
"""
