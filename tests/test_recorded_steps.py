"""Steps of optimizers that others recorded: numbers of TensorFlow's and Keras's tests, of Keras's
documentation and of the cs231n notebooks, each with its source."""

import numpy as np
import pytest

from tinycnn import SGD, Adam, reference
from tinycnn.optim import RMSprop

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])

# tensorflow/python/training/momentum_test.py, _dbParamsMom01: ten steps of DistBelief's momentum on
# ten parameters that start at 0, with rate 0.1 and momentum 0.1
DISTBELIEF_GRADIENTS = """
0.00096264342 0.17914793 0.93945462 0.41396621 0.53037018 0.93197989 0.78648776 0.50036013 0.55345792 0.96722615
0.17075552 0.88821375 0.20873757 0.25236958 0.57578111 0.15312378 0.5513742 0.94687688 0.16012503 0.22159521
0.35077485 0.47304362 0.44412705 0.44368884 0.078527533 0.81223965 0.31168157 0.43203235 0.16792089 0.24644311
0.9694621 0.75035888 0.28171822 0.83813518 0.53807181 0.3728098 0.81454384 0.03848977 0.89759839 0.93665648
0.38578293 0.8536852 0.88722926 0.66276771 0.13678469 0.94036359 0.69107032 0.81897682 0.5433259 0.67860287
0.27885768 0.76100707 0.24625534 0.81354135 0.18959245 0.48038563 0.84163809 0.41172323 0.83259648 0.44941229
0.27233034 0.056316052 0.5039115 0.24105175 0.35697976 0.75913221 0.73577434 0.16014607 0.57500273 0.071136251
0.58697265 0.2494842 0.08106143 0.39954534 0.15892942 0.12683646 0.74053431 0.16033 0.66625422 0.73515922
0.8215279 0.41994119 0.95172721 0.68000203 0.79439718 0.43384039 0.55561525 0.22567581 0.93331909 0.29438227
0.68297005 0.67758518 0.1748755 0.13266537 0.70697063 0.055731893 0.68593478 0.50580865 0.12602448 0.093537711
"""  # noqa: E501  (as the source has them)
DISTBELIEF_PARAMETERS = """
-9.6264346e-05 -0.017914793 -0.093945466 -0.041396622 -0.053037018 -0.093197994 -0.078648776 -0.050036013 -0.055345792 -0.096722618
-0.017181443 -0.10852765 -0.12421377 -0.070773244 -0.11591884 -0.11783017 -0.14165108 -0.14972731 -0.076892875 -0.1285544
-0.053967446 -0.1648933 -0.1716533 -0.1180798 -0.13005978 -0.20151734 -0.17911947 -0.20289968 -0.095839672 -0.15638189
-0.15459226 -0.24556576 -0.20456907 -0.20662397 -0.18528105 -0.24716705 -0.2643207 -0.21206589 -0.18749419 -0.2528303
-0.20323303 -0.33900154 -0.29658359 -0.28175515 -0.20448165 -0.34576839 -0.34194785 -0.29488021 -0.25099224 -0.33033544
-0.23598288 -0.42444581 -0.33041057 -0.3706224 -0.22536094 -0.40366709 -0.43387437 -0.34433398 -0.34060168 -0.38302717
-0.26649091 -0.43862185 -0.38418442 -0.40361428 -0.26314685 -0.48537019 -0.51664448 -0.36529395 -0.40706289 -0.39540997
-0.32823896 -0.46498787 -0.39766794 -0.446868 -0.28281838 -0.50622416 -0.59897494 -0.38342294 -0.48033443 -0.47016418
-0.41656655 -0.50961858 -0.49418902 -0.51919359 -0.36422527 -0.55169362 -0.6627695 -0.40780342 -0.58099347 -0.50707781
-0.49369633 -0.58184016 -0.52132869 -0.5396927 -0.44306302 -0.56181377 -0.73774242 -0.46082234 -0.60366184 -0.52012295
"""  # noqa: E501


def table(text):
    return np.array([line.split() for line in text.strip().splitlines()], np.float64)


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_steps_of_distbeliefs_momentum(backend, dtype):
    parameters = np.zeros(10, dtype)
    optimizer = SGD(0.1, momentum=0.1, backend=backend)
    for gradients, expected in zip(table(DISTBELIEF_GRADIENTS), table(DISTBELIEF_PARAMETERS)):
        optimizer.step(parameters, gradients.astype(dtype))
        np.testing.assert_allclose(parameters, expected, atol=1e-7)


# ---- cs231n, assignment 2, FullyConnectedNets.ipynb ---------------------------------------------

W, DW = np.linspace(-0.4, 0.6, 20), np.linspace(-0.6, 0.4, 20)

MOMENTUM_W = """
0.1406 0.20738947 0.27417895 0.34096842 0.40775789 0.47454737 0.54133684 0.60812632 0.67491579
0.74170526 0.80849474 0.87528421 0.94207368 1.00886316 1.07565263 1.14244211 1.20923158 1.27602105
1.34281053 1.4096
"""
RMSPROP_W = """
-0.39223849 -0.34037513 -0.28849239 -0.23659121 -0.18467247 -0.132737 -0.08078555 -0.02881884
0.02316247 0.07515774 0.12716641 0.17918792 0.23122175 0.28326742 0.33532447 0.38739248 0.43947102
0.49155973 0.54365823 0.59576619
"""
RMSPROP_CACHE = """
0.5976 0.6126277 0.6277108 0.64284931 0.65804321 0.67329252 0.68859723 0.70395734 0.71937285
0.73484377 0.75037008 0.7659518 0.78158892 0.79728144 0.81302936 0.82883269 0.84469141 0.86060554
0.87657507 0.8926
"""
ADAM_W = """
-0.40094747 -0.34836187 -0.29577703 -0.24319299 -0.19060977 -0.1380274 -0.08544591 -0.03286534
0.01971428 0.0722929 0.1248705 0.17744702 0.23002243 0.28259667 0.33516969 0.38774145 0.44031188
0.49288093 0.54544852 0.59801459
"""
ADAM_V = """
0.69966 0.68908382 0.67851319 0.66794809 0.65738853 0.64683452 0.63628604 0.6257431 0.61520571
0.60467385 0.59414753 0.58362676 0.57311152 0.56260183 0.55209767 0.54159906 0.53110598 0.52061845
0.51013645 0.49966
"""


def values(text):
    return np.array(text.split(), np.float64)


def operations_of(backend):
    if backend == "numpy":
        return (reference,) * 3
    from tinycnn.kernels import adam, rmsprop, sgd

    return adam, sgd, rmsprop


@BACKENDS
def test_cs231n_momentum(backend):
    """Its velocity is ours times -rate."""
    w, velocity = W.copy(), -np.linspace(0.6, 0.9, 20) / 1e-3
    _, sgd, _ = operations_of(backend)
    sgd.sgd_update(w, DW, velocity, 1e-3, 0.9, 0.0, False)
    np.testing.assert_allclose(w, values(MOMENTUM_W), atol=6e-9)


@BACKENDS
def test_cs231n_rmsprop(backend):
    """Decay rate 0.99, epsilon 1e-8 outside of the root."""
    w, cache = W.copy(), np.linspace(0.6, 0.9, 20)
    *_, rmsprop = operations_of(backend)
    rmsprop.rmsprop_update(
        w, DW, cache, np.zeros(20), np.zeros(20), 1e-2, 0.99, 0.0, (0.0, 1e-8), 0.0, False
    )
    np.testing.assert_allclose(w, values(RMSPROP_W), atol=6e-9)
    np.testing.assert_allclose(cache, values(RMSPROP_CACHE), atol=6e-9)


@BACKENDS
def test_cs231n_adam(backend):
    """t = 5 steps were done before."""
    w, m, v = W.copy(), np.linspace(0.6, 0.9, 20), np.linspace(0.7, 0.5, 20)
    adam, *_ = operations_of(backend)
    adam.adam_update(w, DW, m, v, 6, 1e-2, 0.9, 0.999, 1e-8, 0.0, False)
    np.testing.assert_allclose(w, values(ADAM_W), atol=6e-9)
    np.testing.assert_allclose(v, values(ADAM_V), atol=6e-9)
    np.testing.assert_allclose(m, np.linspace(0.48, 0.85, 20), atol=6e-9)  # as listed there


# ---- Keras -------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize(
    "make, expected",
    [
        (Adam, [0.5, 1.5, 2.5, 3.5]),
        (SGD, [0.5, -1.0, -0.5, 3.0]),
        (RMSprop, [-0.5811, 0.4189, 1.4189, 2.4189]),
    ],
)
def test_keras_single_steps(make, expected, backend):
    """keras/src/optimizers/{adam,sgd,rmsprop}_test.py, test_single_step."""
    parameters = np.array([1.0, 2.0, 3.0, 4.0])
    make(learning_rate=0.5, backend=backend).step(parameters, np.array([1.0, 6.0, 7.0, 2.0]))
    np.testing.assert_allclose(parameters, expected, atol=1e-4)


@BACKENDS
@pytest.mark.parametrize(
    "optimizer, expected",
    [
        (lambda backend: Adam(1e-3, backend=backend), [0.999, 0.9982, 0.9974, 0.9965, 0.9955]),
        (
            lambda backend: RMSprop(centered=True, backend=backend),
            [0.9967, 0.9933, 0.9908, 0.9885, 0.9864],
        ),
    ],
    ids=["adam", "centered rmsprop"],
)
def test_keras_golden_steps(optimizer, expected, backend):
    """keras/src/optimizers/{adam,rmsprop}_test.py, test_correctness_with_golden, and its tolerance.
    (Its Adam is AMSGrad, which is the same while the mean of squares grows, as it does here.)"""
    parameters, step = np.ones(10), optimizer(backend).step
    step(parameters, np.full(10, 0.01))
    for value in expected:
        np.testing.assert_allclose(parameters, value, atol=5e-4, rtol=5e-4)
        step(parameters, np.arange(0.1, 1.1, 0.1))


@BACKENDS
def test_the_example_in_keras_documentation_of_rmsprop(backend):
    """keras/src/optimizers/rmsprop.py: a variable of 10 with the gradient 10, rate 0.1."""
    parameters = np.array([10.0], np.float32)
    RMSprop(0.1, backend=backend).step(parameters, parameters.copy())
    assert parameters[0] == pytest.approx(9.683772, abs=1e-6)
