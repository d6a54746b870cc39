"""Well-known tiny networks, with new weights: LeNet-5, mini_XCEPTION, ResNet-8, DS-CNN, MobileNetV1
and a plain VGG-like network for 48x48 faces.

Each function takes the picture's size, the classes, and the options of `Network` as keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..input_spec import InputSpec
from ..layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Tanh,
)
from ..network import Network
from .network_options import NetworkOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

Classes = int | Sequence[str]
"""A number of classes, which are then called "0", "1", ..., or their names."""


def lenet5(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: Classes = 10,
    *,
    relu: bool = False,
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """LeNet-5: two convolutions of 5x5, each with a 2x2 pooling, and three dense layers.

    relu  False: tanh and average pooling, as in the paper; True: ReLU and max-pooling, as it is
          mostly built today
    61,706 parameters for 28x28x1 and 10 classes.  LeCun, Bottou, Bengio and Haffner 1998,
    "Gradient-based learning applied to document recognition"; in the paper, the second convolution
    sees only some channels, and the last layer is a radial basis function.
    """
    activation: type[Layer] = ReLU if relu else Tanh
    pooling: type[Layer] = MaxPool2D if relu else AveragePool2D
    layers = [
        *(Conv2D(6, 5), activation(), pooling()),
        *(Conv2D(16, 5, padding="valid"), activation(), pooling()),
        *(Flatten(), Dense(120), activation(), Dense(84), activation()),
        Dense(_n_classes(classes)),
    ]
    return Network(layers, _input_spec(input_shape, classes, scaling), **options)


def vgg48(
    classes: Classes = 8,
    *,
    widths: Sequence[int] = (16, 32, 48, 64),
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """A plain network for 48x48 faces, in the manner of VGG: 3x3 convolutions, BatchNorm and ReLU,
    with a 2x2 max-pooling between them; then a global average and a dense layer.

    widths  filters of each convolution
    47,064 parameters for 8 classes.
    """
    layers: list[Layer] = []
    for k, width in enumerate(widths):
        layers += [MaxPool2D(2)] if k else []
        layers += _conv_bn_relu(width, 3, use_bias=False)
    layers += [GlobalAveragePool2D(), Dense(_n_classes(classes))]
    return Network(layers, _input_spec((48, 48, 1), classes, scaling), **options)


def mini_xception(
    input_shape: tuple[int, int, int] = (64, 64, 1),
    classes: Classes = 7,
    *,
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """mini_XCEPTION: two convolutions, and four residual blocks of separable convolutions.

    56,951 trained parameters for 64x64x1 and 7 classes.  Arriaga, Valdenegro-Toro and Plöger 2017,
    "Real-time convolutional neural networks for emotion and gender classification",
    arXiv 1710.07557.
    """
    layers = [
        *_conv_bn_relu(8, 3, padding="valid", use_bias=False),
        *_conv_bn_relu(8, 3, padding="valid", use_bias=False),
    ]
    for width in (16, 32, 64, 128):
        body = [
            *(*_separable(width), BatchNorm(), ReLU()),
            *(*_separable(width), BatchNorm(), MaxPool2D(3, stride=2)),
        ]
        layers.append(Residual(body, [Conv2D(width, 1, 2, use_bias=False), BatchNorm()]))
    layers += [Conv2D(_n_classes(classes), 3), GlobalAveragePool2D()]
    return Network(layers, _input_spec(input_shape, classes, scaling), **options)


def resnet8(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: Classes = 10,
    *,
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """ResNet-8 of MLPerf Tiny: a convolution, and three residual blocks of 16, 32 and 64 filters.

    78,186 trained parameters for 32x32x3 and 10 classes.  Banbury et al. 2021, "MLPerf Tiny
    benchmark", arXiv 2106.07597; He, Zhang, Ren and Sun 2015, arXiv 1512.03385.
    """
    layers = _conv_bn_relu(16, 3)
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        body = [*_conv_bn_relu(width, 3, stride), Conv2D(width, 3), BatchNorm()]
        shortcut = [] if stride == 1 else [Conv2D(width, 1, stride)]
        layers += [Residual(body, shortcut), ReLU()]
    layers += [GlobalAveragePool2D(), Dense(_n_classes(classes))]
    return Network(layers, _input_spec(input_shape, classes, scaling), **options)


def dscnn(
    input_shape: tuple[int, int, int] = (49, 10, 1),
    classes: Classes = 12,
    *,
    dropout: bool = True,
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """DS-CNN of MLPerf Tiny, for spoken keywords: a 10x4 convolution and four depthwise-separable
    convolutions of 64 filters.

    dropout  whether there are the two dropout layers, of rate 0.2 and 0.4
    23,756 trained parameters for 49x10x1 and 12 classes.  Zhang, Suda, Lai and Chandra 2017,
    "Hello Edge", arXiv 1711.07128; Banbury et al. 2021, arXiv 2106.07597.
    """
    layers = _conv_bn_relu(64, (10, 4), 2)
    layers += [Dropout(0.2)] if dropout else []
    for _ in range(4):
        layers += [DepthwiseConv2D(3), BatchNorm(), ReLU(), *_conv_bn_relu(64, 1)]
    layers += [Dropout(0.4)] if dropout else []
    layers += [GlobalAveragePool2D(), Dense(_n_classes(classes))]
    return Network(layers, _input_spec(input_shape, classes, scaling), **options)


def mobilenet_v1(
    input_shape: tuple[int, int, int] = (96, 96, 3),
    classes: Classes = 2,
    *,
    alpha: float = 0.25,
    scaling: str = "unit",
    **options: Unpack[NetworkOptions],
) -> Network:
    """MobileNetV1: a 3x3 convolution and thirteen depthwise-separable convolutions.

    alpha  share of the published network's filters
    213,586 trained parameters for 96x96x3 and 2 classes.  Howard et al. 2017, "MobileNets",
    arXiv 1704.04861.  ReLU is not limited to 6, as in MLPerf Tiny's network for finding persons;
    that one has biases in its convolutions, too.
    """

    def width(filters: int) -> int:
        return max(int(filters * alpha), 1)

    layers = _conv_bn_relu(width(32), 3, 2, use_bias=False)
    strided = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
    for filters, stride in (*strided, *[(512, 1)] * 5, (1024, 2), (1024, 1)):
        layers += [DepthwiseConv2D(3, stride, use_bias=False), BatchNorm(), ReLU()]
        layers += _conv_bn_relu(width(filters), 1, use_bias=False)
    layers += [GlobalAveragePool2D(), Dense(_n_classes(classes))]
    return Network(layers, _input_spec(input_shape, classes, scaling), **options)


PUBLIC_NETWORKS: dict[str, Callable[[], Network]] = {
    "lenet5": lenet5,
    "vgg48": vgg48,
    "mini_xception": mini_xception,
    "resnet8": resnet8,
    "dscnn": dscnn,
    "mobilenet_v1": mobilenet_v1,
}
"""The functions of this file by name."""


def _conv_bn_relu(
    filters: int,
    kernel_size: int | tuple[int, int],
    stride: int = 1,
    *,
    padding: str = "same",
    use_bias: bool = True,
) -> list[Layer]:
    convolution = Conv2D(filters, kernel_size, stride, padding, use_bias)
    return [convolution, BatchNorm(), ReLU()]


def _separable(filters: int) -> list[Layer]:
    """A depthwise 3x3 convolution and a 1x1 convolution, without biases."""
    return [DepthwiseConv2D(3, use_bias=False), Conv2D(filters, 1, use_bias=False)]


def _n_classes(classes: Classes) -> int:
    return classes if isinstance(classes, int) else len(classes)


def _input_spec(input_shape: tuple[int, int, int], classes: Classes, scaling: str) -> InputSpec:
    names = () if isinstance(classes, int) else tuple(classes)
    return InputSpec(*input_shape, scaling=scaling, classes=names)
