"""The equations of each layer as markup, in the letters and numbers of the kernels' docstrings.

`where` names the file in which an equation stands with that number, derived step by step;
`derivation` fetches that text, so the page cannot drift from the code.
"""

from __future__ import annotations

import ast
import pkgutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """name: what it gives; markup: the equation; number: its number in the docstring of `where`."""

    name: str
    markup: str
    number: str = ""


@dataclass(frozen=True)
class Formulas:
    """What a layer does forward and what it does backward.

    functions  of kernels/`where`.py, whose docstrings hold the derivation
    """

    title: str
    sense: str
    forward: tuple[Formula, ...]
    backward: tuple[Formula, ...]
    where: str = ""
    functions: tuple[str, ...] = ()


def _sum(under: str) -> str:
    return f'<span class="sum">Σ<small>{under}</small></span>'


CONV2D = Formulas(
    "convolution",
    "Each filter looks at every window of the picture and says how much of its pattern is there.",
    (
        Formula(
            "y",
            f"y[i,j,f] = b[f] + {_sum('a,e,c')} x[i·S−PT+a, j·S−PL+e, c] · w[a,e,c,f]",
            "(1)",
        ),
    ),
    (
        Formula(
            "dL/dw",
            f"dL/dw[a,e,c,f] = {_sum('i,j')} x[i·S−PT+a, j·S−PL+e, c] · dy[i,j,f]",
            "(2)",
        ),
        Formula("dL/db", f"dL/db[f] = {_sum('i,j')} dy[i,j,f]", "(3)"),
        Formula(
            "dL/dx",
            f"dL/dx[h,v,c] = {_sum('a,e,f')} dy[(h+PT−a)/S, (v+PL−e)/S, f] · w[a,e,c,f]",
            "(4)",
        ),
    ),
    "kernels/conv2d.py",
    ("conv2d_backward_params", "conv2d_backward_input"),
)

MAXPOOL2D = Formulas(
    "max-pooling",
    "Of each window only the largest value goes on, and only its owner gets the gradient.",
    (Formula("y", "y[i,j,c] = max<sub>a,e</sub> x[i·S−PT+a, j·S−PL+e, c]", "(1)"),),
    (Formula("dL/dx", f"dL/dx[p] = {_sum('q: argmax[q] = p')} dy[q]", "(4)"),),
    "kernels/maxpool2d.py",
    ("maxpool2d_backward",),
)

RELU = Formulas(
    "ReLU",
    "What is above 0 passes; the rest becomes 0, and there the gradient stops.",
    (Formula("y", "y[k] = x[k] if x[k] &gt; 0, else 0", "(1)"),),
    (Formula("dL/dx", "dL/dx[k] = dy[k] if y[k] &gt; 0, else 0", "(4)"),),
    "kernels/relu.py",
    ("relu_backward",),
)

FLATTEN = Formulas(
    "flatten",
    "The picture is read row by row into one vector; backward the vector is folded back.",
    (Formula("y", "y[(h·W + v)·C + c] = x[h,v,c]"),),
    (Formula("dL/dx", "dL/dx[h,v,c] = dy[(h·W + v)·C + c]"),),
)

DROPOUT = Formulas("dropout", "In prediction every value passes as it is.", (), ())

DENSE = Formulas(
    "dense",
    "Every unit weighs all values of the vector.",
    (Formula("y", f"y[u] = b[u] + {_sum('k')} x[k] · w[k,u]", "(1)"),),
    (
        Formula("dL/dw", "dL/dw[k,u] = dy[u] · x[k]", "(2)"),
        Formula("dL/db", "dL/db[u] = dy[u]", "(3)"),
        Formula("dL/dx", f"dL/dx[k] = {_sum('u')} dy[u] · w[k,u]", "(4)"),
    ),
    "kernels/dense.py",
    ("dense_backward_params", "dense_backward_input"),
)

LOSS = Formulas(
    "softmax and cross-entropy",
    "The logits become probabilities; the loss is how surprised they are by the label.",
    (
        Formula("p", f"p[k] = exp(z[k]) / {_sum('j')} exp(z[j])", "(3)"),
        Formula("L", "L = −log p[label]", "(4)"),
    ),
    (Formula("dL/dz", "dL/dz[k] = p[k] − 1[k = label]", "(8)"),),
    "kernels/cross_entropy.py",
    ("cross_entropy_soft", "cross_entropy_hard"),
)


def derivation(formulas: Formulas) -> str:
    """The docstrings of the file `where` and of its functions, read from the source of tinycnn.

    "" for a layer without a kernel, and where the source is not there.
    """
    try:
        source = pkgutil.get_data("tinycnn", formulas.where) if formulas.where else None
    except OSError:  # an installation of compiled files alone
        source = None
    if source is None:
        return ""
    file = ast.parse(source)
    texts = {formulas.where: ast.get_docstring(file)}
    functions = {node.name: node for node in file.body if isinstance(node, ast.FunctionDef)}
    texts |= {f"{name}:": ast.get_docstring(functions[name]) for name in formulas.functions}
    return "\n\n".join(f"{head}\n\n{text}" for head, text in texts.items())
