"""The paper's results, for comparison with ours.

Source: Cugu, Sener, Akbas, MicroExpNet (IPTA 2019), arXiv 1711.07011v4, with the authors' slides
and repository (MIT).  Accuracies are % of images, means over ten folds.  BY_TEMPERATURE was read
from plots, with errors of about 0.3 points.
"""

from __future__ import annotations

SOURCE = "Cugu, Sener, Akbas: MicroExpNet, arXiv 1711.07011v4 (IPTA 2019)"
DATA_SETS = ("CK+", "Oulu-CASIA")
SIZES = ("M", "S", "XS", "XXS")
VARIANTS = ("v", "p1", "p2", "p12")
TEMPERATURES = (2.0, 4.0, 8.0, 16.0, 20.0, 32.0, 64.0)
N_FOLDS, N_EPOCHS = 10, 3000

I7_MS = dict(zip(SIZES, (0.89, 0.78, 0.63, 0.53)))
"""Milliseconds for an image on an Intel i7-7700HQ, by size; the variant is not given."""

_CANDIDATES = {
    "subject": {
        "M": ((81.23, 60.87), (81.57, 62.46), (78.77, 60.21), (79.95, 60.53)),
        "S": ((79.73, 58.18), (81.25, 59.49), (78.75, 57.37), (79.71, 57.25)),
        "XS": ((77.14, 53.73), (77.14, 53.41), (78.42, 57.51), (79.78, 57.54)),
        "XXS": ((71.36, 44.33), (67.04, 34.04), (76.91, 54.62), (78.44, 55.03)),
    },
    "random": {
        "M": ((97.93, 97.68), (97.99, 97.79), (97.41, 96.64), (97.39, 97.47)),
        "S": ((96.65, 92.95), (96.73, 93.22), (94.09, 88.61), (94.39, 88.72)),
        "XS": ((93.41, 88.73), (91.85, 80.16), (86.84, 77.88), (88.07, 77.04)),
        "XXS": ((81.91, 73.64), (69.05, 52.99), (77.74, 66.84), (78.52, 61.71)),
    },
}

CANDIDATES = {
    (data_set, split, variant, size): figures[v][d]
    for split, by_size in _CANDIDATES.items()
    for size, figures in by_size.items()
    for v, variant in enumerate(VARIANTS)
    for d, data_set in enumerate(DATA_SETS)
}
"""Without a teacher: (data set, split, variant, size) -> accuracy."""

WITHOUT_TEACHER = {
    "CK+": dict(zip(SIZES, (78.79, 78.55, 77.22, 75.25))),
    "Oulu-CASIA": dict(zip(SIZES, (56.81, 55.53, 54.67, 56.70))),
}
WITH_TEACHER = {
    "CK+": dict(zip(SIZES, (83.02, 84.53, 84.18, 84.75))),
    "Oulu-CASIA": dict(zip(SIZES, (63.80, 61.99, 61.76, 62.69))),
}
"""p12, subject-independent, at the temperature that gives the best of these accuracies."""

BY_TEMPERATURE = {
    "CK+": {
        "M": (83.0, 82.2, 82.7, 82.2, 81.6, 82.0, 81.5),
        "S": (83.0, 83.4, 83.3, 84.5, 83.7, 83.6, 82.1),
        "XS": (83.3, 84.1, 82.2, 83.7, 82.9, 83.3, 82.8),
        "XXS": (83.7, 83.1, 84.7, 83.5, 83.3, 82.0, 82.4),
    },
    "Oulu-CASIA": {
        "M": (61.7, 63.5, 63.8, 62.2, 62.5, 63.8, 62.0),
        "S": (61.0, 61.7, 62.0, 60.5, 60.5, 60.5, 59.4),
        "XS": (61.1, 61.3, 61.8, 60.0, 59.9, 59.1, 58.8),
        "XXS": (61.8, 62.6, 61.1, 59.2, 60.6, 59.5, 59.6),
    },
}
"""p12 with the teacher, subject-independent, in the order of TEMPERATURES."""
