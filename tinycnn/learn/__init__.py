"""The classroom: ten exercises in backpropagation, and the checkers of their answers.

`tinycnn learn FOLDER` writes the exercises.  Their Python files and notebooks use two functions of
this package: `check` says what is right and what is wrong in a learner's functions, `load_exercise`
gives the functions of an earlier exercise.
"""

from .checking import check as check
from .learner import load_exercise as load_exercise
