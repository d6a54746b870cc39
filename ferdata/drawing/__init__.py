"""Draws faces with expressions. `people` holds what a person looks like, `action_units` where
facial muscles move the landmarks, `expressions` which muscles an emotion uses, `canvas` the pixels
drawn on. `face` draws the image with the help of `skin`, `features` and `surroundings`.

The images are the same, bit for bit, on every machine and with every version of NumPy, because a
hash ties the soft labels of teachers to them. So arrays are float32, and only operations whose
results IEEE 754 fixes are used on them: + - * / sqrt, comparisons and rounding, each as its own
NumPy call. Not used are exp, sin, power, matmul, sums, compiled filters (which may fuse multiply
and add) and NumPy's Generator methods. Random numbers come from PCG64's raw words, which NumPy
promises never to change.
"""
