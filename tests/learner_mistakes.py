"""Wrong answers to the exercises of `tinycnn learn`: what learners typically write, and a part of
the hint that they should get."""

from typing import NamedTuple


class Wrong(NamedTuple):
    """exercise, the step that must fail, the learner's code, a part of the message."""

    exercise: str
    step: str
    code: str
    hint: str


def function(head, *lines):
    return "\n".join([f"def {head}:", *(f"    {line}" for line in lines)])


SOFTMAX = [
    ("softmax_as_defined(z)", "return np.exp(z) / np.exp(z).sum()", "over the whole batch"),
    ("softmax_as_defined(z)", "return np.exp(z) / np.exp(z).sum(axis=0)", "over axis 0"),
    ("softmax_as_defined(z)", "return z / z.sum(axis=1, keepdims=True)", "exp is missing"),
    ("softmax_as_defined(z)", "np.exp(z)", "must end with `return`"),
    (
        "softmax(z)",
        "return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)",
        "Subtract the largest value first",
    ),
    (
        "softmax(z)",
        "e = np.exp(z - z.max()); return e / e.sum(axis=1, keepdims=True)",
        "largest value of the same row",
    ),
    ("softmax(z)", "z -= z.max(axis=1, keepdims=True); return np.exp(z)", "changes its argument"),
    (
        "softmax(z)",
        "e = np.exp(z - z.min(axis=1, keepdims=True)); return e / e.sum(axis=1, keepdims=True)",
        "may be far apart",
    ),
    (
        "softmax(z)",
        "e = np.exp(z - z.mean(axis=1, keepdims=True)); return e / e.sum(axis=1, keepdims=True)",
        "may be far apart",
    ),
    (
        "softmax(z)",
        "e = np.exp((z - z.max(axis=1, keepdims=True)).astype(np.float16))",
        "return e / e.sum(axis=1, keepdims=True)",
        "the dtype float16, which rounds more",
    ),
    ("softmax_backward(p, dp)", "return p * dp", "sum in the bracket is missing"),
    (
        "softmax_backward(p, dp)",
        "return p * (dp + (dp * p).sum(axis=1, keepdims=True))",
        "the sum is subtracted",
    ),
    (
        "softmax_backward(p, dp)",
        "return p * (dp - (dp * p).mean(axis=1, keepdims=True))",
        "a sum over k, not a mean",
    ),
    ("softmax_backward(p, dp)", "return p * (1 - p) * dp", "terms k != i"),
    (
        "softmax_backward(p, dp)",
        "return -p * (dp - (dp * p).sum(axis=1, keepdims=True))",
        "sign is wrong",
    ),
    (
        "softmax_backward(p, dp)",
        "return p * (dp - dp.sum(axis=1, keepdims=True))",
        "each dp[k] has the factor p[k]",
    ),
]
CROSS_ENTROPY = [
    ("log_softmax(z)", "return np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))", "is nan"),
    (
        "log_softmax(z)",
        "e = np.exp(z - z.max(axis=1, keepdims=True))",
        "return np.log(e / e.sum(axis=1, keepdims=True))",
        "do not take the logarithm of a softmax",
    ),
    ("log_softmax(z)", "return z - z.max(axis=1, keepdims=True)", "logarithm of the sum"),
    ("log_softmax(z)", "return z - np.log(np.exp(z).sum())", "over the whole batch"),
    (
        "cross_entropy(z, labels)",
        "return -log_softmax(z)[np.arange(len(z)), labels].sum()",
        "a sum over the images instead of their mean",
    ),
    (
        "cross_entropy(z, labels)",
        "return log_softmax(z)[np.arange(len(z)), labels].mean()",
        "sign is wrong",
    ),
    ("cross_entropy(z, labels)", "return -log_softmax(z).mean()", "Only the right class counts"),
    (
        "cross_entropy(z, labels)",
        "return -np.exp(log_softmax(z))[np.arange(len(z)), labels].mean()",
        "The logarithm is missing",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "dz = np.exp(log_softmax(z)); dz[np.arange(len(z)), labels] -= 1; return dz",
        "the factor 1/N is missing",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "dz = np.exp(log_softmax(z)); dz[np.arange(len(z)), labels] -= 1; return dz / z.shape[1]",
        "it is divided by K = 3",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "p = np.exp(log_softmax(z)); one = np.eye(z.shape[1])[labels]",
        "return one * (p - 1) / len(z)",
        "the other classes have a gradient too",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "p = np.exp(log_softmax(z)); return p / len(z) - np.eye(z.shape[1])[labels]",
        "1/N belongs to both terms",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "dz = -np.exp(log_softmax(z)); dz[np.arange(len(z)), labels] += 1; return dz / len(z)",
        "sign is wrong",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "return np.exp(log_softmax(z)) / len(z)",
        "-1 at the right class is missing",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "dz = np.exp(log_softmax(z)); dz[:, labels] -= 1; return dz / len(z)",
        "changes whole columns",
    ),
    (
        "cross_entropy_backward(z, labels)",
        "dz = np.exp(log_softmax(z)); dz[np.arange(len(z)), labels] -= 1; return dz / dz.size",
        "divided by N * K",
    ),
]
DENSE = [
    ("dense_forward(x, w, b)", "return x @ w", "the bias b is missing"),
    ("dense_forward(x, w, b)", "return x @ w.T + b", "in dense_forward"),
    ("dense_backward(x, w, dy)", "return dy @ w.T, dy.T @ x, dy.sum(axis=0)", "transpose"),
    (
        "dense_backward(x, w, dy)",
        "return dy @ w.T, x.T @ dy, dy",
        "the sum over the batch (axis 0) is missing",
    ),
    (
        "dense_backward(x, w, dy)",
        "return dy @ w.T, x.T @ dy, dy.mean(axis=0)",
        "divided by N = 4 once too often",
    ),
    ("dense_backward(x, w, dy)", "return dy @ w.T, -x.T @ dy, dy.sum(axis=0)", "sign is wrong"),
    ("dense_backward(x, w, dy)", "return dy @ w.T, x.T @ dy, dy.sum()", "over all axes"),
    ("dense_backward(x, w, dy)", "return x.T @ dy, dy @ w.T, dy.sum(axis=0)", "see the order of"),
    ("dense_backward(x, w, dy)", "return dy @ w.T, x.T @ dy", "2 values; expected 3 arrays"),
    (
        "dense_backward(x, w, dy)",
        "dw = np.zeros(w.shape)",
        "for n in range(len(x)): dw = np.outer(x[n], dy[n])",
        "return dy @ w.T, dw, dy.sum(axis=0)",
        "only the last image",
    ),
    (
        "dense_backward(x, w, dy)",
        "return dy @ w.T, x.T @ dy, dy.sum(axis=0, keepdims=True)",
        "only the shape is not",
    ),
    (
        "dense_backward(x, w, dy)",
        "return np.roll(dy @ w.T, 1, axis=1), x.T @ dy, dy.sum(axis=0)",
        "shifted by one place along axis 1",
    ),
]  # fmt: skip
RELU = [
    ("relu_forward(x)", "return np.abs(x)", "this is |x|"),
    ("relu_forward(x)", "return x > 0", "this is the derivative"),
    ("relu_forward(x)", "x[x < 0] = 0; return x", "in place"),
    ("relu_forward(x)", "return np.where(x > 0, x, 0.01 * x)", "leaky ReLU"),
    ("relu_backward(x, dy)", "return np.where(x >= 0, dy, 0)", "at x = 0"),
    ("relu_backward(x, dy)", "return np.maximum(dy, 0)", "The sign of x has to"),
    ("relu_backward(x, dy)", "return dy * (x > 0) * (dy > 0)", "The sign of x alone has to"),
    ("relu_forward(x)", "return np.maximum(x, 0).astype(int)", "whole numbers only"),
    ("relu_backward(x, dy)", "return dy * np.maximum(x, 0)", "is 1, not x"),
    ("relu_backward(x, dy)", "return (x > 0) * 1.0", "The factor dy is missing"),
    ("relu_backward(x, dy)", "return np.where(x > 0, -dy, 0)", "sign is wrong"),
    ("relu_backward(x, dy)", "return dy", "the gradient is 0"),
]
CONV_LOOP = (
    "KH, KW, C, F = w.shape; _, OH, OW, _ = dy.shape; s = stride",
    "dx, dw = np.zeros(x.shape), np.zeros(w.shape)",
    "for a, e in np.ndindex(KH, KW):",
    "    p = np.s_[:, a : a + s * OH : s, e : e + s * OW : s]",
)
CONV_END = ("return dx, dw, dy.sum(axis=(0, 1, 2))",)
CONV_DW = "    dw[a, e] = np.einsum('nijc,nijf->cf', x[p], dy)"
CONV_DX = "    dx[p] += dy @ w[a, e].T"
CONV_Y = (
    "KH, KW, C, F = w.shape; s = stride",
    "OH, OW = (x.shape[1] - KH) // s + 1, (x.shape[2] - KW) // s + 1",
    "y = np.zeros((len(x), OH, OW, F))",
    "for a, e in np.ndindex(KH, KW):",
)
FORWARD, BACKWARD = "conv_forward(x, w, b, stride)", "conv_backward(x, w, dy, stride)"
CONVOLUTION = [
    (FORWARD, "y = np.einsum('nijckl,klcf->nijf', np.lib.stride_tricks.sliding_window_view("
     "x, w.shape[:2], (1, 2))[:, ::stride, ::stride], w) + b", "return y[:, :-1, :-1]",
     "(1) ends with + 1"),
    (BACKWARD, *CONV_LOOP, "    dx = np.zeros(x.shape)", CONV_DW, CONV_DX, *CONV_END,
     "it has only the last tap"),
    (BACKWARD, *CONV_LOOP, "    dw[a, e] = x[p].reshape(C, -1) @ dy.reshape(-1, F)", CONV_DX,
     *CONV_END, "mixes channels and places"),
    (FORWARD, *CONV_Y, "    y += x[:, a : a + s * OH : s, e : e + s * OW : s] @ w[a, e]",
     "return y", "the bias b is missing"),
    (FORWARD, *CONV_Y, "    y += x[:, a : a + s * OH : s, e : e + s * OW : s] @ w[-1 - a, -1 - e]",
     "return y + b", "the filter is flipped"),
    (FORWARD, *CONV_Y, "    y = x[:, a : a + s * OH : s, e : e + s * OW : s] @ w[a, e]",
     "return y + b", "only the last tap"),
    (FORWARD, *CONV_Y, "    y += x[:, a : a + OH, e : e + OW] @ w[a, e]", "return y + b",
     "the stride is ignored"),
    (FORWARD, *CONV_Y, "    y += x[:, a : a + s * OH : s, e : e + s * OW : s] @ w[a, e] + b",
     "return y", "once for each tap"),
    (BACKWARD, *CONV_LOOP, CONV_DW, "    dx[p] = dy @ w[a, e].T", *CONV_END, "windows overlap"),
    (BACKWARD, *CONV_LOOP, CONV_DW, "    dx[p] += dy @ w[-1 - a, -1 - e].T", *CONV_END,
     "taps are in reverse order"),
    (BACKWARD, *CONV_LOOP, CONV_DX, "    dw[-1 - a, -1 - e] = np.einsum('nijc,nijf->cf', x[p], dy)",
     *CONV_END, "taps are in reverse order"),
    (BACKWARD, *CONV_LOOP, CONV_DW, "    dx[:, a : a + OH, e : e + OW] += dy @ w[a, e].T",
     *CONV_END, "the stride is missing in the places of dx"),
    (BACKWARD, *CONV_LOOP, CONV_DX, CONV_DW, "return dx, dw / len(x), dy.sum(axis=(0, 1, 2))",
     "divided by N = 3 once too often"),
    (BACKWARD, *CONV_LOOP, CONV_DX, CONV_DW, "return dx, dw, dy.mean(axis=(0, 1, 2))",
     "it is a mean over n, i and j"),
    (BACKWARD, *CONV_LOOP, CONV_DX, CONV_DW, "return dx, dw, dy.sum(axis=0)",
     "dy.sum(axis=(0, 1, 2))"),
    (BACKWARD, *CONV_LOOP, CONV_DX, CONV_DW, "return dx, -dw, dy.sum(axis=(0, 1, 2))",
     "sign is wrong"),
]  # fmt: skip
POOL_LOOP = (
    "dx = np.zeros(x.shape)",
    "for n, i, j, c in np.ndindex(dy.shape):",
    "    rows, columns = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)",
    "    window, g = x[n, rows, columns, c], dy[n, i, j, c]",
)
PARTS = "N, H, W, C = x.shape; p = x.reshape(N, H // size, size, W // size, size, C)"
MAX_POOLING = [
    ("maxpool_forward(x, size)", PARTS, "return p.mean(axis=(2, 4))", "this is the mean"),
    ("maxpool_forward(x, size)", PARTS, "return p.max(axis=(1, 3))", "a and e are axes 2 and 4"),
    (
        "maxpool_forward(x, size)",
        "_, H, W, _ = x.shape; OH, OW = H // size, W // size",
        "taps = np.ndindex(size, size)",
        "return np.max([x[:, a : a + OH, e : e + OW] for a, e in taps], axis=0)",
        "begins at row i*size",
    ),
    (
        "maxpool_backward(x, dy, size)",
        "dx = np.zeros(x.shape)",
        "for n, i, j, c in np.ndindex(dy.shape):",
        "    part = dx[n, i * size : (i + 1) * size, j * size : (j + 1) * size, c]",
        "    window = x[n, i * size : (i + 1) * size, j * size : (j + 1) * size, c]",
        "    e, a = np.unravel_index(np.argmax(window), (size, size))",
        "    part[a, e] = dy[n, i, j, c]",
        "return dx",
        "a is the row in the window",
    ),
    (
        "maxpool_forward(x, size)",
        PARTS,
        "return np.maximum(p.max(axis=(2, 4)), 0)",
        "begin with -inf",
    ),
    ("maxpool_forward(x, size)", "return x[:, ::size, ::size]", "first values of the windows"),
    (
        "maxpool_forward(x, size)",
        "N, H, W, C = x.shape",
        "return x.reshape(N, size, H // size, size, W // size, C).max(axis=(1, 3))",
        "not neighbours",
    ),
    ("maxpool_forward(x, size)", PARTS, "return p.max(axis=(2, 4, 5))", "channels are mixed"),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    dx[n, rows, columns, c] = g * (window == window.max())",
        "return dx",
        "all of them got dy",
    ),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    best = -np.inf",
        "    for a, e in np.ndindex(size, size):",
        "        if window[a, e] >= best: best, place = window[a, e], (a, e)",
        "    dx[n, i * size + place[0], j * size + place[1], c] = g",
        "return dx",
        "compare with >, not >=",
    ),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    dx[n, rows, columns, c] = g / size**2",
        "return dx",
        "average-pooling",
    ),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    a, e = divmod(window.argmax(), size); dx[n, i * size + a, j * size + e, c] = 1",
        "return dx",
        "dy is missing",
    ),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    a, e = divmod(window.argmax(), size)",
        "    dx[n, i * size + a, j * size + e, c] = g * window.max()",
        "return dx",
        "is 1 at the winner, not x",
    ),
    (
        "maxpool_backward(x, dy, size)",
        *POOL_LOOP,
        "    a, e = divmod(window.T.argmax(), size)",
        "    dx[n, i * size + e, j * size + a, c] = g",
        "return dx",
        "Go row by row",
    ),
]
HARD = "hard = np.exp(log_softmax(z)); hard[np.arange(len(z)), labels] -= 1; N = len(z)"
DISTIL, DISTIL_BACK = (
    f"distillation_{name}(z, labels, v, t, soft_weight)" for name in ("loss", "backward")
)
TERMS = "h, w = -log_softmax(z)[np.arange(len(z)), labels], soft_weight"
SOFT = "s, q = soft_labels(v, t), np.exp(log_softmax(z / t))"
DISTILLATION = [
    ("soft_labels(v, t)", "return np.exp(log_softmax(v))", "the temperature is missing"),
    ("soft_labels(v, t)", "return np.exp(log_softmax(v * t))", "divide it"),
    ("soft_labels(v, t)", "return np.exp(log_softmax(v)) / t", "before the softmax"),
    (DISTIL, TERMS, "c = -(soft_labels(v, t) * log_softmax(z / t)).sum(axis=1)",
     "return ((1 - w) * h + w * c).mean()", "the factor t*t of the soft term is missing"),
    (DISTIL, TERMS, "c = -(soft_labels(v, t) * log_softmax(z)).sum(axis=1)",
     "return ((1 - w) * h + w * t * t * c).mean()", "The student's logits".lower()),
    (DISTIL, TERMS, "c = -(soft_labels(v, t) * log_softmax(z / t)).sum(axis=1)",
     "return (w * h + (1 - w) * t * t * c).mean()", "weights are exchanged"),
    (DISTIL, TERMS, "c = -(soft_labels(v, t) * log_softmax(z / t)).sum(axis=1)",
     "return ((1 - w) * h + w * t * t * c).sum()", "instead of their mean"),
    (DISTIL_BACK, HARD, SOFT, "return ((1 - soft_weight) * hard + soft_weight / t * (q - s)) / N",
     "the factor t*t of the loss is missing"),
    (DISTIL_BACK, HARD, SOFT,
     "return ((1 - soft_weight) * hard + soft_weight * t * t * (q - s)) / N",
     "the factor 1/t is missing"),
    (DISTIL_BACK, HARD, SOFT, "return ((1 - soft_weight) * hard + soft_weight * (q - s)) / N",
     "has no factor t"),
    (DISTIL_BACK, HARD, SOFT, "return (1 - soft_weight) * hard + soft_weight * t * (q - s)",
     "the factor 1/N is missing"),
    (DISTIL_BACK, HARD, SOFT, "return ((1 - soft_weight) * hard + soft_weight * t * (s - q)) / N",
     "the sign of the soft term"),
    (DISTIL_BACK, HARD, "s, q = np.exp(log_softmax(v)), np.exp(log_softmax(z / t))",
     "return ((1 - soft_weight) * hard + soft_weight * t * (q - s)) / N",
     "the teacher's logits are not divided by t"),
]  # fmt: skip
ADAM_HEAD = "adam_step(w, g, m, v, step, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)"
NEW = "m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g"
HATS = "mh, vh = m / (1 - beta1**step), v / (1 - beta2**step)"
ADAM = [
    (ADAM_HEAD, NEW, HATS, "return w - 1e-3 * mh / (np.sqrt(vh) + eps), m, v",
     "the learning rate is 0.001 here"),
    (ADAM_HEAD, NEW, HATS, "return w - learning_rate * mh / (np.sqrt(vh) + eps), mh, vh",
     "m[0] (returned) is"),
    ("update_moments(g, m, v, beta1, beta2)",
     "return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g", "g is not squared"),
    ("update_moments(g, m, v, beta1, beta2)",
     "return (1 - beta1) * m + beta1 * g, beta2 * v + (1 - beta2) * g * g", "are exchanged"),
    ("update_moments(g, m, v, beta1, beta2)",
     "return beta1 * m + g, beta2 * v + (1 - beta2) * g * g", "the factor 1 - beta1"),
    (ADAM_HEAD, NEW, "return w - learning_rate * m / (np.sqrt(v) + eps), m, v", "not corrected"),
    (ADAM_HEAD, NEW, HATS, "return w - learning_rate * mh / np.sqrt(vh + eps), m, v",
     "inside of the root"),
    (ADAM_HEAD, NEW, HATS, "return w + learning_rate * mh / (np.sqrt(vh) + eps), m, v",
     "the sign is wrong"),
    (ADAM_HEAD, NEW, HATS, "return w - learning_rate * mh / (vh + eps), m, v",
     "the root of v_hat is missing"),
    (ADAM_HEAD, NEW, "mh, vh = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))",
     "return w - learning_rate * mh / (np.sqrt(vh) + eps), m, v", "counted wrongly"),
    (ADAM_HEAD, NEW, HATS, "return w - learning_rate * mh / (np.sqrt(vh) + eps), mh, vh",
     "this is m_hat"),
    (ADAM_HEAD, NEW, HATS, "w -= learning_rate * mh / (np.sqrt(vh) + eps); return w, m, v",
     "argument number 1 in place"),
]  # fmt: skip
NORM = "r = 1 / np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) * r; d = dy * gamma"
NORM_ENDS = "return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)"
NORM_FORWARD, NORM_BACK = (
    "batchnorm_forward(x, gamma, beta, eps)",
    "batchnorm_backward(x, gamma, dy, eps)",
)
BATCH_NORM = [
    (NORM_FORWARD, "c = x - x.mean(axis=0)",
     "return gamma * c / x.var(axis=0) + beta", "the root of the variance is missing, and eps"),
    (NORM_FORWARD, "c = x - x.mean(axis=0)",
     "return beta * c / np.sqrt(x.var(axis=0) + eps) + gamma", "gamma and beta are exchanged"),
    ("batchnorm_predict(x, gamma, beta, mean, var, eps)",
     "return gamma * (x - mean) / var + beta", "the root of the variance is missing, and eps"),
    ("batchnorm_predict(x, gamma, beta, mean, var, eps)",
     "return beta * (x - mean) / np.sqrt(var + eps) + gamma", "gamma and beta are exchanged"),
    (NORM_BACK, NORM, "dx = r * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))",
     "return dx, dy.sum(axis=0), (dy * xhat).sum(axis=0)", "this is dgamma: see the order"),
    (NORM_FORWARD, "c = x - x.mean(axis=0)",
     "return gamma * c / np.sqrt(x.var(axis=0, ddof=1) + eps) + beta", "divided by N - 1"),
    (NORM_FORWARD, "c = x - x.mean(axis=0)",
     "return gamma * c / (np.sqrt(x.var(axis=0)) + eps) + beta", "outside of the root"),
    (NORM_FORWARD, "c = x - x.mean(axis=1, keepdims=True)",
     "return gamma * c / np.sqrt(x.var(axis=1, keepdims=True) + eps) + beta", "over axis 1"),
    ("batchnorm_predict(x, gamma, beta, mean, var, eps)",
     "return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta",
     "take the ones that are given"),
    (NORM_BACK, NORM, "dx = r * d", NORM_ENDS, "treated as constants"),
    (NORM_BACK, NORM, "dx = r * (d - d.mean(axis=0))", NORM_ENDS,
     "the term of the variance is missing"),
    (NORM_BACK, NORM, "dx = r * (d - xhat * (d * xhat).mean(axis=0))", NORM_ENDS,
     "the term of the mean is missing"),
    (NORM_BACK, NORM, "dx = r * (d - d.sum(axis=0) - xhat * (d * xhat).sum(axis=0))", NORM_ENDS,
     "the factor 1/N is missing"),
    (NORM_BACK, NORM, "dx = r * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))",
     NORM_ENDS, "the factor gamma is missing"),
    (NORM_BACK, NORM, "dx = r * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))",
     "return dx, dy.sum(axis=0), dy.sum(axis=0)", "the factor xhat is missing"),
    (NORM_BACK, NORM, "dx = r * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))",
     "return dx, (dy * xhat).mean(axis=0), dy.sum(axis=0)", "divided by N = 5 once too often"),
]  # fmt: skip

EXERCISES = {
    "softmax": SOFTMAX,
    "cross_entropy": CROSS_ENTROPY,
    "dense": DENSE,
    "relu": RELU,
    "convolution": CONVOLUTION,
    "max_pooling": MAX_POOLING,
    "distillation": DISTILLATION,
    "adam": ADAM,
    "batch_norm": BATCH_NORM,
}

CONV_CALL = "convolution.conv_forward(x, parameters['w'], parameters['b'], "
CONV_BACK_CALL = "dx, dw, db = convolution.conv_backward(x, parameters['w'], dy, self.stride)"
DENSE_CALL = "dx, dw, db = dense.dense_backward(x, parameters['w'], dy)"
STEP = "training_step(network, state, x, labels, learning_rate)"
STEP_LINES = (
    "z = network.forward(x, training=True); loss = cross_entropy.cross_entropy(z, labels)",
    "network.backward(cross_entropy.cross_entropy_backward(z, labels))",
    "w, g, r = network.trained_vector, network.trained_gradients, learning_rate",
)


def method(class_name, head, *lines):
    """The code that gives a class another method."""
    name = head.partition("(")[0]
    return f"{function(head, *lines)}\n\n\n{class_name}.{name} = {name}"


NETWORK = [
    ("OwnConvolution",
     method("OwnConvolution", "forward(self, x, parameters)", f"return {CONV_CALL}1)"),
     "the stride of the layer is not used"),
    ("OwnConvolution",
     method("OwnConvolution", "backward(self, x, y, dy, parameters)", CONV_BACK_CALL, "return dx"),
     'expected a pair: dx, {"w": dw, "b": db}'),
    ("OwnConvolution",
     method("OwnConvolution", "backward(self, x, y, dy, parameters)", CONV_BACK_CALL,
            "return dx, {'dw': dw, 'db': db}"),
     "the names are those of the parameters"),
    ("OwnDense",
     method("OwnDense", "backward(self, x, y, dy, parameters)", DENSE_CALL,
            "return dw, {'w': dx, 'b': db}"),
     "it has the shape of dw"),
    ("OwnDense",
     method("OwnDense", "forward(self, x, parameters)", "return x @ parameters['w']"),
     "the bias is missing"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step += 1",
              "w, state.m, state.v = adam.adam_step(w, g, state.m, state.v, state.step, r)",
              "return loss"),
     "network.trained_vector[:] = ..."),
    ("training_step",
     function(STEP, *STEP_LINES,
              "w[:], state.m, state.v = adam.adam_step(w, g, state.m, state.v, 1, r)",
              "return loss"),
     "state.step += 1 before"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step = 1",
              "w[:], state.m, state.v = adam.adam_step(w, g, state.m, state.v, 1, r)",
              "return loss"),
     "still 1 after the second step"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step += 1",
              "w[:], state.m, state.v = adam.adam_step(w, g, state.m, state.v, state.step)",
              "return loss"),
     "give adam_step learning_rate"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step += 1",
              "w[:], _, _ = adam.adam_step(w, g, state.m, state.v, state.step, r)",
              "return loss"),
     "into state.m"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step += 1",
              "w[:], state.m, state.v = adam.adam_step(w, -g, state.m, state.v, state.step, r)",
              "return loss"),
     "the wrong way"),
    ("training_step",
     function(STEP, *STEP_LINES, "state.step += 1",
              "w[:], state.m, state.v = adam.adam_step(w, g, state.m, state.v, state.step, r)",
              "return cross_entropy.cross_entropy(network.forward(x, training=True), labels)"),
     "this is the loss after the step"),
]  # fmt: skip

WRONG = [
    Wrong(exercise, head.partition("(")[0], function(head, *lines), hint)
    for exercise, answers in EXERCISES.items()
    for head, *lines, hint in answers
] + [Wrong("network", step, code, hint) for step, code, hint in NETWORK]
