"""The table of ONNX operators that can be read as layers: https://onnx.ai/onnx/operators/"""

from __future__ import annotations

from collections.abc import Sequence

from ...layers import ReLU, Sigmoid, Tanh
from . import activations, arrangement, channels, windows
from .errors import NotUsable
from .nodes import OnnxNode
from .reading import Given, Reader, Reading
from .values import Value

OPERATORS: dict[str, Reader] = {
    "Conv": windows.conv,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": windows.global_average_pool,
    "GlobalMaxPool": windows.global_max_pool,
    "ReduceMean": windows.reduce_mean,
    "ReduceMax": windows.reduce_max,
    "Gemm": channels.gemm,
    "MatMul": channels.matmul,
    "BatchNormalization": channels.batch_norm,
    "Add": channels.add,
    "Sum": channels.add,
    "Sub": channels.subtract,
    "Mul": channels.multiply,
    "Div": channels.divide,
    "Neg": channels.negative,
    "Scaler": channels.scaler,
    "Relu": activations.elementwise(ReLU()),
    "LeakyRelu": activations.leaky_relu,
    "PRelu": activations.prelu,
    "Sigmoid": activations.elementwise(Sigmoid()),
    "Tanh": activations.elementwise(Tanh()),
    "Clip": activations.clip,
    "Max": activations.largest,
    "Min": activations.smallest,
    "Dropout": activations.dropout,
    "Softmax": arrangement.softmax,
    "LogSoftmax": arrangement.softmax,
    "Concat": arrangement.two_probabilities,
    "ZipMap": arrangement.zip_map,
    "Identity": arrangement.same,
    "Cast": arrangement.cast,
    "Reshape": arrangement.reshape,
    "Flatten": arrangement.flatten,
    "Squeeze": arrangement.squeeze,
    "Unsqueeze": arrangement.unsqueeze,
    "Transpose": arrangement.transpose,
    "Pad": arrangement.pad,
    "Shape": arrangement.shape,
}
"""Operator -> the function that reads a node whose inputs depend on the network's input."""

BEHIND_SOFTMAX = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "ZipMap")
"""Operators that may stand between a last Softmax and the output."""

NEAREST = {
    "ConvTranspose": "Conv2D, which does not enlarge pictures",
    "Elu": "LeakyRelu",
    "Selu": "LeakyRelu",
    "Celu": "LeakyRelu",
    "Gelu": "Relu",
    "Softplus": "Relu",
    "Mish": "Relu",
    "Swish": "Relu",
    "HardSwish": "Clip between 0 and 6",
    "HardSigmoid": "Sigmoid",
    "Softsign": "Tanh",
    "ThresholdedRelu": "Relu",
    "InstanceNormalization": "BatchNormalization",
    "GroupNormalization": "BatchNormalization",
    "LayerNormalization": "BatchNormalization",
    "LRN": "BatchNormalization",
    "LpPool": "AveragePool",
    "ReduceSum": "ReduceMean over a picture",
    "ArgMax": "the logits before it",
    "QuantizeLinear": "floats: export the model without quantisation of activations",
    "DequantizeLinear": "floats: export the model without quantisation of activations",
    "QLinearConv": "Conv with float weights",
    "QLinearMatMul": "MatMul with float weights",
    "ConvInteger": "Conv with float weights",
    "LSTM": "Dense layers on vectors of one length",
    "GRU": "Dense layers on vectors of one length",
    "RNN": "Dense layers on vectors of one length",
    "Slice": "a convolution with stride",
    "Split": "a Residual, whose branches read all channels",
    "Gather": "the whole tensor",
    "Resize": "a picture of the right size as input",
    "Upsample": "a picture of the right size as input",
    "LinearClassifier": "Gemm and Softmax",
    "TreeEnsembleClassifier": "Gemm and Relu",
}
"""Operators that cannot be read -> the nearest that can."""


def read_node(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Given:
    """The output of a node with at least one input that depends on the network's input.

    Raises NotUsable, naming the node.
    """
    read = OPERATORS.get(node.operator)
    if read is None:
        nearest = NEAREST.get(node.operator)
        hint = (
            f"the nearest is {nearest}" if nearest else f"read are {', '.join(sorted(OPERATORS))}"
        )
        raise node.error(f"tinycnn has no layer for this operator; {hint}")
    for value in inputs:
        if isinstance(value, Value) and value.softmax and node.operator not in BEHIND_SOFTMAX:
            raise node.error(
                f"it reads what comes from {value.softmax.node}; a softmax is read at the end only"
            )
    try:
        result = read(node, inputs, reading)
    except NotUsable as error:
        own = str(error).startswith(str(node))
        raise error if own else node.error(str(error)) from None
    except ValueError as error:
        raise node.error(f"its inputs do not fit: {' '.join(str(error).split())[:200]}") from None
    node.check_all_read()
    return result
