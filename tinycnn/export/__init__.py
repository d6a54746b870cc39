"""Whole programs out: `python_file.py` writes one Python file, `c_file.py` one C file and header.

Both check what they write against the network's own logits, and write nothing that disagrees.
"""
