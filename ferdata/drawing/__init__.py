"""Drawing of expressive faces from action units: who (`people`), what moves (`action_units`), how
emotions show (`expressions`), on which grid (`canvas`), and the picture itself (`face`, made of
`skin`, `features` and `surroundings`).

Same bits everywhere. Teachers' soft labels are tied to drawn images by a hash, so a pixel must not
depend on the machine or on NumPy's version. Arrays are float32 and see only + - * / sqrt,
comparisons and rounding, each as a NumPy call of its own: IEEE 754 fixes those results. exp, sin,
power, matmul, sums, compiled filters (fused multiply-add) and NumPy's Generator methods give no
such promise and stay away; random bits are PCG64's raw words, whose stream NumPy does promise.
"""
