"""Every operation as slow loops over its definition; tests compare reference and kernels with them.

Nothing here is shared with `tinycnn`: no padding helper, no window view, no matrix product.  The
convolution and its gradients all use one list, the products (output, input, weight) of the
definition.  Sums use `math.fsum`, so a result is off by at most one rounding of float64.
Functions take the same arguments as the kernels and return new float64 arrays.
"""

import decimal
import itertools
import math
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction

import numpy as np


def window_axis(size, kernel, stride, padding):
    """(n_out, before, after) of TensorFlow's "same" and "valid", found by counting."""
    if padding == "valid":
        return sum(1 for p in range(0, size, stride) if p + kernel <= size), 0, 0
    n_out = sum(1 for p in range(size) if p % stride == 0)
    total = 0
    while size + total < (n_out - 1) * stride + kernel:
        total += 1
    before = 0
    while 2 * (before + 1) <= total:  # the odd pixel goes after (bottom or right)
        before += 1
    return n_out, before, total - before


def _filled(shape, terms):
    result = np.zeros(shape)
    for index, products in terms.items():
        result[index] = math.fsum(products) if np.all(np.isfinite(products)) else sum(products)
    return result


def _meetings(x_shape, window, OH, OW):
    """All (n, i, j), (a, e), (h, v): an output position, a tap, and the input pixel under it."""
    N, H, W, _ = x_shape
    KH, KW, SH, SW, PT, PL, _, _ = window
    for n, i, j, a, e in itertools.product(range(N), range(OH), range(OW), range(KH), range(KW)):
        h, v = i * SH - PT + a, j * SW - PL + e
        if 0 <= h < H and 0 <= v < W:
            yield n, i, j, a, e, h, v


def conv2d_forward(x, w, b, window, OH, OW):
    C, F = w.shape[2:]
    terms = defaultdict(list)
    for n, i, j, f in itertools.product(range(len(x)), range(OH), range(OW), range(F)):
        terms[n, i, j, f].append(float(b[f]))
    for n, i, j, a, e, h, v in _meetings(x.shape, window, OH, OW):
        for c, f in itertools.product(range(C), range(F)):
            terms[n, i, j, f].append(float(x[n, h, v, c]) * float(w[a, e, c, f]))
    return _filled((len(x), OH, OW, F), terms)


def conv2d_backward_params(x, dy, window):
    N, OH, OW, F = dy.shape
    C = x.shape[3]
    dw, db = defaultdict(list), defaultdict(list)
    for n, i, j, f in itertools.product(range(N), range(OH), range(OW), range(F)):
        db[(f,)].append(float(dy[n, i, j, f]))
    for n, i, j, a, e, h, v in _meetings(x.shape, window, OH, OW):
        for c, f in itertools.product(range(C), range(F)):
            dw[a, e, c, f].append(float(x[n, h, v, c]) * float(dy[n, i, j, f]))
    return _filled((window.KH, window.KW, C, F), dw), _filled((F,), db)


def conv2d_backward_input(dy, w, window, H, W):
    N, OH, OW, F = dy.shape
    C = w.shape[2]
    dx = defaultdict(list)
    for n, i, j, a, e, h, v in _meetings((N, H, W, C), window, OH, OW):
        for c, f in itertools.product(range(C), range(F)):
            dx[n, h, v, c].append(float(dy[n, i, j, f]) * float(w[a, e, c, f]))
    return _filled((N, H, W, C), dx)


def maxpool2d_forward(x, window, OH, OW):
    """Values and flat positions of the maxima: of equal ones the first; NaN only if all are NaN."""
    N, _, W, C = x.shape
    y, argmax = np.zeros((N, OH, OW, C)), np.zeros((N, OH, OW, C), np.int64)
    members = defaultdict(list)
    for n, i, j, _, _, h, v in _meetings(x.shape, window, OH, OW):
        members[n, i, j].append((h, v))
    for (n, i, j), window in members.items():
        for c in range(C):
            ranked = []  # sorted by value, largest first, then by position; NaN comes last
            for h, v in window:
                value = float(x[n, h, v, c])
                ranked.append((math.isnan(value), 0.0 if math.isnan(value) else -value, h, v))
            _, _, h, v = min(ranked)
            y[n, i, j, c], argmax[n, i, j, c] = x[n, h, v, c], h * W + v
    return y, argmax


def maxpool2d_backward(dy, argmax, H, W):
    N, OH, OW, C = dy.shape
    dx = defaultdict(list)
    for n, h, v, c in itertools.product(range(N), range(H), range(W), range(C)):
        for i, j in itertools.product(range(OH), range(OW)):
            if argmax[n, i, j, c] == h * W + v:
                dx[n, h, v, c].append(float(dy[n, i, j, c]))
    return _filled((N, H, W, C), dx)


def averagepool2d_forward(x, window, count_padding, OH, OW):
    members = defaultdict(list)
    for n, i, j, _, _, h, v in _meetings(x.shape, window, OH, OW):
        for c in range(x.shape[3]):
            members[n, i, j, c].append(float(x[n, h, v, c]))
    y = _filled((len(x), OH, OW, x.shape[3]), members)
    for index, values in members.items():
        y[index] /= window.KH * window.KW if count_padding else len(values)
    return y


def averagepool2d_backward(dy, window, count_padding, H, W):
    N, OH, OW, C = dy.shape
    meetings = list(_meetings((N, H, W, C), window, OH, OW))
    n_inside = Counter((n, i, j) for n, i, j, *_ in meetings)
    dx = defaultdict(list)
    for n, i, j, _, _, h, v in meetings:
        n_counted = window.KH * window.KW if count_padding else n_inside[n, i, j]
        for c in range(C):
            dx[n, h, v, c].append(float(dy[n, i, j, c]) / n_counted)
    return _filled((N, H, W, C), dx)


def depthwise_conv2d_forward(x, w, b, window, OH, OW):
    C, D = w.shape[2:]
    terms = defaultdict(list)
    for n, i, j, f in itertools.product(range(len(x)), range(OH), range(OW), range(C * D)):
        terms[n, i, j, f].append(float(b[f]))
    for n, i, j, a, e, h, v in _meetings(x.shape, window, OH, OW):
        for c, d in itertools.product(range(C), range(D)):
            terms[n, i, j, c * D + d].append(float(x[n, h, v, c]) * float(w[a, e, c, d]))
    return _filled((len(x), OH, OW, C * D), terms)


def depthwise_conv2d_backward_params(x, dy, window):
    (N, OH, OW, F), C = dy.shape, x.shape[3]
    D = F // C
    dw, db = defaultdict(list), defaultdict(list)
    for n, i, j, f in itertools.product(range(N), range(OH), range(OW), range(F)):
        db[(f,)].append(float(dy[n, i, j, f]))
    for n, i, j, a, e, h, v in _meetings(x.shape, window, OH, OW):
        for c, d in itertools.product(range(C), range(D)):
            dw[a, e, c, d].append(float(x[n, h, v, c]) * float(dy[n, i, j, c * D + d]))
    return _filled((window.KH, window.KW, C, D), dw), _filled((F,), db)


def depthwise_conv2d_backward_input(dy, w, window, H, W):
    (N, OH, OW, _), (C, D) = dy.shape, w.shape[2:]
    dx = defaultdict(list)
    for n, i, j, a, e, h, v in _meetings((N, H, W, C), window, OH, OW):
        for c, d in itertools.product(range(C), range(D)):
            dx[n, h, v, c].append(float(dy[n, i, j, c * D + d]) * float(w[a, e, c, d]))
    return _filled((N, H, W, C), dx)


def relu_forward(x):
    return np.array([v if v > 0 or math.isnan(v) else 0.0 for v in x.tolist()])


def relu_backward(y, dy):
    return np.array([d if v > 0 else 0.0 for v, d in zip(y.tolist(), dy.tolist())])


def clipped_relu_forward(x, max_value):
    return np.array([v if math.isnan(v) else sorted([0.0, v, max_value])[1] for v in x.tolist()])


def clipped_relu_backward(y, max_value, dy):
    return np.array([d if 0 < v < max_value else 0.0 for v, d in zip(y.tolist(), dy.tolist())])


def leaky_relu_forward(x, slope):
    return np.array([v if v > 0 else slope * v for v in x.tolist()])


def leaky_relu_backward(y, slope, dy):
    return np.array([d if v > 0 else slope * d for v, d in zip(y.tolist(), dy.tolist())])


def prelu_forward(x, alpha):
    rows = [[v if v > 0 else a * v for v, a in zip(row, alpha.tolist())] for row in x.tolist()]
    return np.array(rows).reshape(x.shape)


def prelu_backward_params(x, dy):
    columns = [zip(a, b) for a, b in zip(x.T.tolist(), dy.T.tolist())]
    return np.array([math.fsum(v * d for v, d in column if v <= 0) for column in columns])


def prelu_backward_input(x, alpha, dy):
    slopes = [[1.0 if v > 0 else a for v, a in zip(row, alpha.tolist())] for row in x.tolist()]
    products = [[s * d for s, d in zip(*rows)] for rows in zip(slopes, dy.tolist())]
    return np.array(products).reshape(x.shape)


def _exact(function, x):
    """function(Decimal) of each value, rounded once to float64; NaN stays NaN."""
    exact = []
    with decimal.localcontext() as context:
        for v in x.tolist():
            digits = -Decimal(v).adjusted() if v and math.isfinite(v) else 0  # zeros before v's own
            context.prec = 60 + max(digits, 0)
            exact.append(v if math.isnan(v) else float(function(Decimal(v))))
    return np.array(exact)


def sigmoid_forward(x):
    return _exact(lambda v: 1 / (1 + (-v).exp()), x)


def tanh_forward(x):
    return _exact(lambda v: 1 - 2 / ((2 * v).exp() + 1), x)


def dense_forward(x, w, b):
    terms = defaultdict(list)
    for n, u in itertools.product(range(len(x)), range(w.shape[1])):
        terms[n, u] = [float(b[u])] + [float(x[n, k]) * float(w[k, u]) for k in range(len(w))]
    return _filled((len(x), w.shape[1]), terms)


def dense_backward_params(x, dy):
    (N, K), U = x.shape, dy.shape[1]
    dw, db = defaultdict(list), defaultdict(list)
    for n, u in itertools.product(range(N), range(U)):
        db[(u,)].append(float(dy[n, u]))
        for k in range(K):
            dw[k, u].append(float(x[n, k]) * float(dy[n, u]))
    return _filled((K, U), dw), _filled((U,), db)


def dense_backward_input(dy, w):
    dx = defaultdict(list)
    for n, k, u in itertools.product(range(len(dy)), range(len(w)), range(w.shape[1])):
        dx[n, k].append(float(dy[n, u]) * float(w[k, u]))
    return _filled((len(dy), len(w)), dx)


def dropout(x, mask):
    """x (N, R, K), mask (N, K)"""
    y = np.zeros(x.shape)
    for n, r, k in np.ndindex(*x.shape):
        y[n, r, k] = float(x[n, r, k]) * float(mask[n, k])
    return y


def scale_channels(images, scaling, mean, std):
    result = np.zeros(images.shape)
    for index, pixel in np.ndenumerate(images):
        scaled = Fraction(int(pixel), 255 if scaling == "unit" else 1)
        c = index[-1]
        result[index] = float((scaled - Fraction(mean[c])) / Fraction(std[c]))
    return result


def scale_images(images, scaling):
    result = np.zeros(images.shape)
    for n, image in enumerate(images):
        pixels = [int(p) for p in image.reshape(-1)]
        if scaling == "raw":
            values = [float(p) for p in pixels]
        elif scaling == "unit":
            values = [p / 255 for p in pixels]
        else:
            n_pixels, total = len(pixels), sum(pixels)
            # n * (p - mean) is a whole number, so only the last division rounds
            deviations = [n_pixels * p - total for p in pixels]
            std = math.sqrt(sum(d * d for d in deviations) / n_pixels) / n_pixels
            values = [d / (n_pixels * max(std, n_pixels**-0.5)) for d in deviations]
        result[n] = np.reshape(values, image.shape)
    return result


def multiply_add(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """A copy of c to which the sums of equation (1) of kernels/_tile.py are added."""
    result = c.astype(np.float64)
    for m, n in itertools.product(range(M), range(N)):
        products = [
            float(a[a_off + m * am + i * a0 + j * a1]) * float(b[b_off + i * b0 + j * b1 + n])
            for i, j in itertools.product(range(K0), range(K1))
        ]
        result[c_off + m * cm + n] = math.fsum([float(c[c_off + m * cm + n]), *products])
    return result


def products(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, bias, relu, c, c_off, cm):
    """A copy of c with the outputs of equation (2) of kernels/_tile.py."""
    result = c.astype(np.float64)
    for m, n in itertools.product(range(M), range(N)):
        result[c_off + m * cm + n] = bias[n]
    result = multiply_add(
        M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, result, c_off, cm
    )  # fmt: skip
    for m, n in itertools.product(range(M), range(N)):
        value = result[c_off + m * cm + n]
        result[c_off + m * cm + n] = 0 if relu and value < 0 else value
    return result


def scale_shift_forward(x, scale, shift):
    rows = [[float(v) * float(a) + float(b) for v, a, b in zip(row, scale, shift)] for row in x]
    return np.reshape(rows, x.shape)


def scale_shift_backward(x, dy, scale):
    """(dx, dscale, dshift) of x, dy (P, C)."""
    P, C = x.shape
    dscale = [math.fsum(float(x[p, c]) * float(dy[p, c]) for p in range(P)) for c in range(C)]
    dshift = [math.fsum(float(dy[p, c]) for p in range(P)) for c in range(C)]
    return scale_shift_forward(dy, scale, np.zeros(C)), np.array(dscale), np.array(dshift)


def moments(x):
    """Mean and variance (2, C) of x (P, C)."""
    result = np.zeros((2, x.shape[1]))
    for c, column in enumerate(x.T.astype(np.float64)):
        result[0, c] = mean = math.fsum(column) / len(column)
        result[1, c] = math.fsum((v - mean) ** 2 for v in column) / len(column)
    return result


def batch_norm_forward(x, gamma, beta, epsilon):
    mean, var = moments(x)
    y = np.zeros(x.shape)
    for p, c in np.ndindex(*x.shape):
        y[p, c] = gamma[c] * (float(x[p, c]) - mean[c]) / math.sqrt(var[c] + epsilon) + beta[c]
    return y


def batch_norm_backward(x, dy, gamma, epsilon):
    """(dx, dgamma, dbeta): every output's gradient is carried to every input, pair by pair."""
    (P, C), var = x.shape, moments(x)[1]
    xhat = batch_norm_forward(x, np.ones(C), np.zeros(C), epsilon)
    dx, dgamma, dbeta = np.zeros((P, C)), np.zeros(C), np.zeros(C)
    for c in range(C):
        dgamma[c] = math.fsum(float(dy[p, c]) * xhat[p, c] for p in range(P))
        dbeta[c] = math.fsum(float(dy[p, c]) for p in range(P))
        for p in range(P):
            terms = []
            for q in range(P):
                slope = (p == q) - 1 / P - xhat[q, c] * xhat[p, c] / P
                terms.append(float(dy[q, c]) * gamma[c] * slope / math.sqrt(var[c] + epsilon))
            dx[p, c] = math.fsum(terms)
    return dx, dgamma, dbeta


def add(x, x2):
    return np.array([float(a) + float(b) for a, b in zip(x, x2)])
