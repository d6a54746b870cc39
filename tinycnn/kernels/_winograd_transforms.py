"""Winograd's three transforms F(m, r): exact matrices, and code that multiplies by them.

F(m, r) computes m outputs of a filter of r taps with t = m + r - 1 products instead of m r:

    y[k] = sum over i < r of w[i] d[k + i],  k < m                                               (1)
    y = A^T [(G w) * (B^T d)],  * element by element                                             (2)

The matrices come from the Toom-Cook algorithm, with t - 1 finite points p and the point at infinity
(Lavin and Gray 2015, arXiv 1509.09308; Barabasz et al. 2020, arXiv 1803.10986, choose the points):

    A^T[k, i] = p_i^k,                 A^T[k, inf] = 1 if k = m - 1 else 0                       (3)
    B^T[i, :] = coefficients of the product over j != i of (x - p_j)                            (4)
    B^T[inf, :] = coefficients of the product over all j of (x - p_j)                           (5)
    G[i, k] = p_i^k / product over j != i of (p_i - p_j),   G[inf, k] = 1 if k = r - 1 else 0   (6)

Points are 0, pairs (p, -p) and single ones.  The two points of a pair share terms: with R(x) the
product over all other points, (4) is x R(x) +- p R(x); in (3) even k take the sum of the two
products, odd k their difference.

Each `emit_` method gets the object that does the arithmetic, with methods `add`, `sub` and
`combine`: in `_winograd.py` it emits LLVM IR for vectors, in the tests it computes with fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any


def polynomial(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root)."""
    zero = Fraction(0)
    c = [Fraction(1)]
    for root in roots:
        c = [a - root * b for a, b in zip([zero, *c], [*c, zero])]
    return c


class Transform:
    """F(m, r) for the given m + r - 2 finite points and the point at infinity.

    index  numbers of its points, here 0 ... t - 1; see `Shorter`
    """

    def __init__(self, m: int, r: int, points: Sequence[int | Fraction]) -> None:
        self.m, self.r, self.t = m, r, m + r - 1
        self.points = p = [Fraction(point) for point in points]
        self.index = list(range(self.t))
        self.g_rows = []
        for a in p:
            scale = Fraction(1)
            for b in p:
                scale *= a - b if b != a else 1
            self.g_rows.append([a**k / scale for k in range(r)])  # (6)
        self.g_rows.append([Fraction(k == r - 1) for k in range(r)])
        self.pairs: list[tuple[int, int]] = []
        self.singles: list[int] = []
        for i, a in enumerate(p):
            if a > 0 and -a in p:
                self.pairs.append((i, p.index(-a)))
            elif not (a < 0 and -a in p):
                self.singles.append(i)

    def emit_bt(self, v: Any, d: Sequence[Any]) -> list[Any]:
        """B^T d: (4) and (5)."""
        infinity = v.combine(zip(polynomial(self.points), d))
        out: dict[Fraction, Any] = {}
        for p in self.points:
            others = polynomial(b for b in self.points if abs(b) != abs(p))
            if -p not in self.points or p == 0:
                out[p] = v.combine(zip(polynomial(b for b in self.points if b != p), d))
            elif p > 0:
                xr, r = v.combine(zip([0, *others], d)), v.combine(zip(others, d))
                out[p], out[-p] = v.combine([(1, xr), (p, r)]), v.combine([(1, xr), (-p, r)])
        return [out[p] for p in self.points] + [infinity]

    def emit_b(self, v: Any, x: Sequence[Any]) -> list[Any]:
        """B x, the transpose of (4) and (5)."""
        of_point = dict(zip(self.points, x))
        terms = [(polynomial(self.points), x[-1])]  # coefficients and what they multiply
        for p in self.points:
            if -p not in self.points or p == 0:
                terms.append((polynomial(b for b in self.points if b != p), of_point[p]))
            elif p > 0:
                others = polynomial(b for b in self.points if abs(b) != abs(p))
                terms.append(([Fraction(0), *others], v.add(of_point[p], of_point[-p])))
                terms.append(([p * c for c in others], v.sub(of_point[p], of_point[-p])))
        return [v.combine((c[k], y) for c, y in terms if k < len(c)) for k in range(self.t)]

    def emit_at(self, v: Any, x: Sequence[Any]) -> list[Any]:
        """A^T x: (3)."""
        sums = [(self.points[i], v.add(x[i], x[j]), v.sub(x[i], x[j])) for i, j in self.pairs]
        out = []
        for k in range(self.m):
            terms = [(p**k, (s, d)[k % 2]) for p, s, d in sums]
            terms += [(self.points[i] ** k, x[i]) for i in self.singles]
            terms += [(Fraction(k == self.m - 1), x[-1])]
            out.append(v.combine(terms))
        return out

    def emit_g(self, v: Any, w: Sequence[Any]) -> list[Any]:
        """G w: (6)."""
        return [v.combine(zip(row, w)) for row in self.g_rows]

    def emit_gt(self, v: Any, u: Sequence[Any]) -> list[Any]:
        """G^T u."""
        return [v.combine(zip([row[k] for row in self.g_rows], u)) for k in range(self.r)]

    def emit_a(self, v: Any, y: Sequence[Any]) -> list[Any]:
        """A y, the transpose of (3): the values at the t points of the polynomial with the m
        coefficients y."""
        out: list[Any] = [None] * self.t
        for i in self.singles:
            out[i] = v.combine([(self.points[i] ** k, y[k]) for k in range(self.m)])
        for i, j in self.pairs:
            p = self.points[i]
            even = v.combine([(p**k, y[k]) for k in range(0, self.m, 2)])
            odd = v.combine([(p**k, y[k]) for k in range(1, self.m, 2)])
            out[i], out[j] = v.add(even, odd), v.sub(even, odd)
        out[-1] = y[-1]
        return out


class Shorter(Transform):
    """F(m - 1, r) for the points of `whole` without its last finite one.

    It is for the last tile of a row or column, where fewer than m outputs are left.  By (6) its
    rows of G are those of `whole` times p_i - p_last.  These factors are moved into its B^T, so
    that both transforms use the same transformed weights G w.  `index` has the numbers that its
    points have in `whole`.
    """

    def __init__(self, whole: Transform) -> None:
        super().__init__(whole.m - 1, whole.r, whole.points[:-1])
        self.index = [*range(self.t - 1), whole.t - 1]
        self.factors = [p - whole.points[-1] for p in self.points] + [1]

    def emit_bt(self, v: Any, d: Sequence[Any]) -> list[Any]:
        out = super().emit_bt(v, d)
        return [x if c == 1 else v.combine([(c, x)]) for c, x in zip(self.factors, out)]
