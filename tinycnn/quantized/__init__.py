"""Networks in 8-bit integers, for prediction.

quantization.py       scales and zero points; rounding, the one rule of all backends
program.py            what a quantised network is: operations on 8-bit values
calibration.py        makes a program from a network and images
reference_program.py  runs a program in plain NumPy;  kernel_program.py  on the kernels
integer_only.py       the same in integers alone, as C programs without floats compute it
network.py            QuantizedNetwork
"""
