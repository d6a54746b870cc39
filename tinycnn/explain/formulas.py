"""The equations of each layer as HTML, with the letters and numbers of the kernels' docstrings.

Those docstrings derive the equations step by step.  `derivation` reads them from the source, so the
page always shows the derivation that the code has.
"""

from __future__ import annotations

import ast
import pkgutil
from dataclasses import dataclass
from typing import NamedTuple


class Formula(NamedTuple):
    """An equation as HTML, and its number in the docstring that derives it ("" if none does)."""

    markup: str
    number: str = ""


@dataclass(frozen=True)
class Formulas:
    """What a layer does forward and backward.

    sense      what it does, in a sentence
    where      the file under tinycnn/ whose docstring has the equations with their numbers
    functions  the functions of that file whose docstrings have the derivations
    """

    title: str
    sense: str
    forward: tuple[Formula, ...] = ()
    backward: tuple[Formula, ...] = ()
    where: str = ""
    functions: tuple[str, ...] = ()


def _sum(under: str) -> str:
    return f'<span class="sum">Σ<small>{under}</small></span>'


CONV2D = Formulas(
    title="convolution",
    sense="Each filter looks at every window of the picture and says how much of its pattern is "
    "there.",
    forward=(
        Formula(
            f"y[i,j,f] = b[f] + {_sum('a,e,c')} x[i·SH−PT+a, j·SW−PL+e, c] · w[a,e,c,f]", "(1)"
        ),
    ),
    backward=(
        Formula(f"dL/dw[a,e,c,f] = {_sum('i,j')} x[i·SH−PT+a, j·SW−PL+e, c] · dy[i,j,f]", "(2)"),
        Formula(f"dL/db[f] = {_sum('i,j')} dy[i,j,f]", "(3)"),
        Formula(
            f"dL/dx[h,v,c] = {_sum('a,e,f')} dy[(h+PT−a)/SH, (v+PL−e)/SW, f] · w[a,e,c,f]", "(4)"
        ),
    ),
    where="kernels/conv2d.py",
    functions=("conv2d_backward_params", "conv2d_backward_input"),
)

DEPTHWISE_CONV2D = Formulas(
    title="depthwise convolution",
    sense="Each filter looks at every window of one channel and says how much of its pattern is "
    "there.",
    forward=(
        Formula(
            f"y[i,j,c·D+d] = b[c·D+d] + {_sum('a,e')} x[i·SH−PT+a, j·SW−PL+e, c] · w[a,e,c,d]",
            "(1)",
        ),
    ),
    backward=(
        Formula(
            f"dL/dw[a,e,c,d] = {_sum('i,j')} x[i·SH−PT+a, j·SW−PL+e, c] · dy[i,j,c·D+d]", "(2)"
        ),
        Formula(f"dL/db[f] = {_sum('i,j')} dy[i,j,f]", "(3)"),
        Formula(
            f"dL/dx[h,v,c] = {_sum('a,e,d')} dy[(h+PT−a)/SH, (v+PL−e)/SW, c·D+d] · w[a,e,c,d]",
            "(4)",
        ),
    ),
    where="kernels/depthwise_conv2d.py",
    functions=("depthwise_conv2d_backward_params", "depthwise_conv2d_backward_input"),
)

AVERAGEPOOL2D = Formulas(
    title="average pooling",
    sense="The mean of each window goes on, and each of its pixels gets an equal share of the "
    "gradient.",
    forward=(Formula(f"y[i,j,c] = {_sum('a,e')} x[i·SH−PT+a, j·SW−PL+e, c] / T[i,j]", "(1)"),),
    backward=(Formula(f"dL/dx[h,v,c] = {_sum('i,j that cover h,v')} dy[i,j,c] / T[i,j]", "(4)"),),
    where="kernels/averagepool2d.py",
    functions=("averagepool2d_backward",),
)

GLOBAL_AVERAGEPOOL2D = Formulas(
    title="global average pooling",
    sense="The mean of each channel goes on: average pooling with one window as large as the "
    "picture.",
    forward=(Formula(f"y[c] = {_sum('h,v')} x[h,v,c] / (H·W)", "(1)"),),
    backward=(Formula("dL/dx[h,v,c] = dy[c] / (H·W)", "(4)"),),
    where="kernels/averagepool2d.py",
    functions=("averagepool2d_backward",),
)

MAXPOOL2D = Formulas(
    title="max-pooling",
    sense="Only the largest value of each window goes on, and only its position gets the gradient.",
    forward=(Formula("y[i,j,c] = max<sub>a,e</sub> x[i·SH−PT+a, j·SW−PL+e, c]", "(1)"),),
    backward=(Formula(f"dL/dx[p] = {_sum('q: argmax[q] = p')} dy[q]", "(4)"),),
    where="kernels/maxpool2d.py",
    functions=("maxpool2d_backward",),
)

RELU = Formulas(
    title="ReLU",
    sense="Values above 0 pass unchanged; the others become 0, and the gradient stops there.",
    forward=(Formula("y[k] = x[k] if x[k] &gt; 0, else 0", "(1)"),),
    backward=(Formula("dL/dx[k] = dy[k] if y[k] &gt; 0, else 0", "(4)"),),
    where="kernels/relu.py",
    functions=("relu_backward",),
)

CLIPPED_RELU = Formulas(
    title="ReLU",
    sense="Values between 0 and the largest value m pass unchanged; the others become 0 or m, and "
    "the gradient stops there.",
    forward=(Formula("y[k] = min(max(x[k], 0), m)", "(5)"),),
    backward=(Formula("dL/dx[k] = dy[k] if 0 &lt; y[k] &lt; m, else 0", "(7)"),),
    where="kernels/relu.py",
    functions=("relu_backward", "clipped_relu_backward"),
)

LEAKY_RELU = Formulas(
    title="leaky ReLU",
    sense="Values above 0 pass unchanged; the others, and their gradients, are multiplied by the "
    "slope s.",
    forward=(Formula("y[k] = x[k] if x[k] &gt; 0, else s · x[k]", "(1)"),),
    backward=(Formula("dL/dx[k] = dy[k] if y[k] &gt; 0, else s · dy[k]", "(4)"),),
    where="kernels/leaky_relu.py",
    functions=("leaky_relu_backward",),
)

PRELU = Formulas(
    title="parametric ReLU",
    sense="Values above 0 pass unchanged; the others are multiplied by a slope that each channel "
    "learns.",
    forward=(Formula("y[p,c] = x[p,c] if x[p,c] &gt; 0, else alpha[c] · x[p,c]", "(1)"),),
    backward=(
        Formula(f"dL/dalpha[c] = {_sum('p: x[p,c] ≤ 0')} dy[p,c] · x[p,c]", "(4)"),
        Formula("dL/dx[p,c] = dy[p,c] if x[p,c] &gt; 0, else alpha[c] · dy[p,c]", "(7)"),
    ),
    where="kernels/prelu.py",
    functions=("prelu_backward_params", "prelu_backward_input"),
)

SCALE_SHIFT = Formulas(
    title="scale and shift",
    sense="All values of a channel are multiplied by its scale; then its shift is added.",
    forward=(Formula("y[p,c] = scale[c] · x[p,c] + shift[c]", "(1)"),),
    backward=(
        Formula(f"dL/dscale[c] = {_sum('p')} dy[p,c] · x[p,c]", "(2)"),
        Formula(f"dL/dshift[c] = {_sum('p')} dy[p,c]", "(3)"),
        Formula("dL/dx[p,c] = dy[p,c] · scale[c]", "(4)"),
    ),
    where="kernels/scale_shift.py",
    functions=("scale_shift_backward_params", "scale_shift_backward_input"),
)

ADD = Formulas(
    title="sum",
    sense="The outputs of two branches are added; both branches get the same gradient.",
    forward=(Formula("y[k] = x[k] + x2[k]", "(1)"),),
    backward=(Formula("dL/dx[k] = dy[k]", "(2)"), Formula("dL/dx2[k] = dy[k]", "(3)")),
    where="kernels/add.py",
)

SIGMOID = Formulas(
    title="sigmoid",
    sense="Every value becomes one between 0 and 1; far from 0 the gradient nearly stops.",
    forward=(Formula("y[k] = 1 / (1 + exp(−x[k]))", "(1)"),),
    backward=(Formula("dL/dx[k] = dy[k] · y[k] · (1 − y[k])", "(6)"),),
    where="kernels/sigmoid.py",
    functions=("sigmoid_backward",),
)

TANH = Formulas(
    title="tanh",
    sense="Every value becomes one between −1 and 1; far from 0 the gradient nearly stops.",
    forward=(Formula("y[k] = (exp(x[k]) − exp(−x[k])) / (exp(x[k]) + exp(−x[k]))", "(1)"),),
    backward=(Formula("dL/dx[k] = dy[k] · (1 − y[k]²)", "(5)"),),
    where="kernels/tanh.py",
    functions=("tanh_backward",),
)

FLATTEN = Formulas(
    title="flatten",
    sense="The picture is read row by row into one vector; backward, it becomes a picture again.",
    forward=(Formula("y[(h·W + v)·C + c] = x[h,v,c]"),),
    backward=(Formula("dL/dx[h,v,c] = dy[(h·W + v)·C + c]"),),
)

DENSE = Formulas(
    title="dense",
    sense="Each unit is a weighted sum of all values of the vector.",
    forward=(Formula(f"y[u] = b[u] + {_sum('k')} x[k] · w[k,u]", "(1)"),),
    backward=(
        Formula("dL/dw[k,u] = dy[u] · x[k]", "(2)"),
        Formula("dL/db[u] = dy[u]", "(3)"),
        Formula(f"dL/dx[k] = {_sum('u')} dy[u] · w[k,u]", "(4)"),
    ),
    where="kernels/dense.py",
    functions=("dense_backward_params", "dense_backward_input"),
)

DROPOUT = Formulas(title="dropout", sense="In prediction every value passes as it is.")

LOSS = Formulas(
    title="softmax and cross-entropy",
    sense="The logits become probabilities; the less probable the label, the larger the loss.",
    forward=(
        Formula(f"p[k] = exp(z[k]) / {_sum('j')} exp(z[j])", "(3)"),
        Formula("L = −log p[label]", "(4)"),
    ),
    backward=(Formula("dL/dz[k] = p[k] − 1[k = label]", "(8)"),),
    where="kernels/cross_entropy.py",
    functions=("cross_entropy_soft", "cross_entropy_hard"),
)


def derivation(formulas: Formulas) -> str:
    """The docstrings of the file `where` and of its functions, read from the source of tinycnn.

    "" for a layer without a kernel, and where tinycnn is installed without its source.
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
