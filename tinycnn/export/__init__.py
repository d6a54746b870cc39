"""Programs that run a network without tinycnn: `python_file.py` writes one Python file, `c_file.py`
one C file with its header.

Both run the program first and compare its logits with the network's.  Nothing is written where they
disagree.
"""
