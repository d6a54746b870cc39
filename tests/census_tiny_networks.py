"""The census's networks for microcontrollers, keywords and digits that need more than the first
layers of tinycnn.

Each was read from its own code, `PublicNetwork.source`.  The texts are those of `layer_text.py`.
"""

from layer_text import PublicNetwork, joined


def _conv_bn_relu(*filters: int, window: str = "3 s1 same") -> str:
    return joined(*(f"conv {n} {window}; bn; relu" for n in filters))


def _depthwise_block(filters: int, stride: int = 1) -> str:
    """A depthwise and a 1x1 convolution with biases, as in MLPerf Tiny and ML-KWS-for-MCU."""
    return f"dw 3 s{stride} same; bn; relu; conv {filters} 1 s1 same; bn; relu"


def _wakeword_block(filters: int, rows: int) -> str:
    conv = f"conv {filters} 1 s1 valid nobias; bn; relu"
    return f"dw ({rows}, 1) s1 valid nobias; {conv}; dropout 0.2"


def _resnet_block(filters: int, stride: int = 1, shortcut: str = "") -> str:
    """A block of MLPerf Tiny's ResNet-8."""
    second = f"conv {filters} 3 s1 same; bn"
    return f"residual(conv {filters} 3 s{stride} same; bn; relu; {second}{shortcut}); relu"


def _yunjey_block(filters: int, stride: int = 1, downsample: bool = False) -> str:
    first = f"conv {filters} 3 s{stride} p1 nobias; bn"
    body = f"{first}; relu; conv {filters} 3 s1 p1 nobias; bn"
    return f"residual({body}{' | ' + first if downsample else ''}); relu"


def _bottleneck(channels: int, filters: int, factor: int, stride: int) -> str:
    """A block of MobileFaceNet: 1x1, depthwise, 1x1 without activation."""
    wide = channels * factor
    body = (
        f"conv {wide} 1 s1 valid nobias; bn; prelu; dw 3 s{stride} p1 nobias; bn; prelu; "
        f"conv {filters} 1 s1 valid nobias; bn"
    )
    return f"residual({body})" if stride == 1 and channels == filters else body


def _mobile_face_net() -> str:
    blocks, channels = [], 64
    setting = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
    for factor, filters, n, stride in setting:
        for k in range(n):
            blocks.append(_bottleneck(channels, filters, factor, 1 if k else stride))
            channels = filters
    return joined(
        "conv 64 3 s2 p1 nobias; bn; prelu; dw 3 s1 p1 nobias; bn; prelu",
        *blocks,
        "conv 512 1 s1 valid nobias; bn; prelu",
        "dw (7, 6) s1 valid nobias; bn; conv 128 1 s1 valid nobias; bn; flatten",
    )


CLAMPED = "relu 0.9921875"
"""ReLU in ai8x-training, whose layers clamp their outputs to -1 .. 127/128 for the chip."""


def _ai8x(*convolutions: str, after: str = CLAMPED) -> str:
    return joined(*(f"conv {text} nobias; {after}" for text in convolutions))


def _ai8x_residual(filters: int) -> str:
    return f"residual(conv {filters} 3 s1 p1 nobias; {CLAMPED}); {CLAMPED}"


POOL = "maxpool 2 s2 valid"

MLPERF = "mlcommons/tiny, "
WAKEWORD = MLPERF + "benchmark/training/streaming_wakeword/"
ML_KWS = "ARM-software/ML-KWS-for-MCU, models.py and train_commands.txt"
TINYMAIX = "sipeed/TinyMaix, examples/mnist/mnist_train.ipynb"
AI8X = "analogdevicesinc/ai8x-training, models/"

TINY_NETWORKS: dict[str, PublicNetwork] = {
    "MLPerf Tiny DS-CNN": PublicNetwork(
        (49, 10, 1),
        joined(
            "conv 64 (10, 4) s2 same; bn; relu; dropout 0.2",
            *[_depthwise_block(64)] * 4,
            "dropout 0.4; avgpool (25, 5) s(25, 5) valid; flatten; dense 12",
        ),
        MLPERF + "v0.1/benchmarks/audio_wake_words/keras_model.py, with the published 10 features",
    ),
    "MLPerf Tiny ResNet-8": PublicNetwork(
        (32, 32, 3),
        joined(
            *(_conv_bn_relu(16), _resnet_block(16)),
            _resnet_block(32, 2, " | conv 32 1 s2 same"),
            _resnet_block(64, 2, " | conv 64 1 s2 same"),
            "avgpool 8 s8 valid; flatten; dense 10",
        ),
        MLPERF + "benchmark/training/image_classification/keras_model.py",
    ),
    "MLPerf Tiny MobileNetV1 0.25 (person detection)": PublicNetwork(
        (96, 96, 3),
        joined(
            _conv_bn_relu(8, window="3 s2 same"),
            *(_depthwise_block(16), _depthwise_block(32, 2), _depthwise_block(32)),
            *(_depthwise_block(64, 2), _depthwise_block(64), _depthwise_block(128, 2)),
            *[_depthwise_block(128)] * 5,
            *(_depthwise_block(256, 2), _depthwise_block(256)),
            "avgpool 3 s3 valid; flatten; dense 2",
        ),
        MLPERF + "v0.1/benchmarks/visual_wake_words/vww_model.py",
    ),
    "MLPerf Tiny KWS fc4": PublicNetwork(
        (49, 10, 1),
        joined("flatten", *["dense 256; relu; dropout 0.2; bn"] * 3, "dense 12"),
        WAKEWORD + "keras_model.py, with the keyword task's input and classes",
    ),
    # 30 frames of 40 features from a second of sound; its residual additions are switched off
    "MLPerf Tiny streaming wakeword": PublicNetwork(
        (30, 1, 40),
        joined(
            *(_wakeword_block(*size) for size in ((128, 3), (64, 5), (64, 10), (32, 15))),
            "flatten; dense 3",
        ),
        WAKEWORD + "keras_model.py and README.md",
    ),
    # five frames of 128 features; it is trained with the mean squared error
    "MLPerf Tiny autoencoder": PublicNetwork(
        (5, 128, 1),
        joined(
            "flatten",
            *(f"dense {n}; bn; relu" for n in (128, 128, 128, 128, 8, 128, 128, 128, 128)),
            "dense 640",
        ),
        MLPERF + "v0.1/benchmarks/anomaly_detection/keras_model.py",
    ),
    # the largest of three
    "ML-KWS cnn": PublicNetwork(
        (49, 10, 1),
        "conv 60 (10, 4) s1 valid; bn; relu; dropout 0.5; "
        "conv 76 (10, 4) s(2, 1) valid; bn; relu; dropout 0.5; "
        "flatten; dense 58; dense 128; bn; relu; dropout 0.5; dense 12",
        ML_KWS,
    ),
    "ML-KWS ds_cnn S": PublicNetwork(
        (49, 10, 1),
        joined(
            "conv 64 (10, 4) s2 same; bn; relu",
            *[_depthwise_block(64)] * 4,
            "avgpool (25, 5) s(25, 5) valid; flatten; dense 12",
        ),
        ML_KWS,
    ),
    # L; M has 172 filters and one block less
    "ML-KWS ds_cnn M, L": PublicNetwork(
        (49, 10, 1),
        joined(
            "conv 276 (10, 4) s(2, 1) same; bn; relu",
            *(_depthwise_block(276, 2), *[_depthwise_block(276)] * 4),
            "avgpool (13, 5) s(13, 5) valid; flatten; dense 12",
        ),
        ML_KWS,
    ),
    "NNoM keyword spotting": PublicNetwork(
        (63, 12, 1),
        "conv 16 5 s1 valid; bn; relu; maxpool (2, 1) s(2, 1) valid; "
        "conv 32 3 s1 valid; bn; relu; maxpool (2, 1) s(2, 1) valid; "
        "conv 64 3 s1 valid; bn; relu; dropout 0.2; conv 32 3 s1 valid; bn; relu; dropout 0.3; "
        "flatten; dense 35",
        "majianjia/nnom, examples/keyword_spotting/kws.py",
    ),
    "TinyMaix mnist": PublicNetwork(
        (28, 28, 1),
        f"{_conv_bn_relu(4, 8, 16, window='3 s2 valid')}; gap; dense 10",
        TINYMAIX,
    ),
    "TinyMaix mnist dw": PublicNetwork(
        (28, 28, 1),
        "conv 4 3 s2 same; bn; relu; dw 3 s1 same; bn; relu; "
        "conv 16 3 s2 same; bn; relu; dw 3 s1 same x2; bn; relu; gap; dense 10",
        TINYMAIX,
    ),
    "TinyMaix mnist, 4x4 end": PublicNetwork(
        (28, 28, 1),
        f"{_conv_bn_relu(12, 24, 48, window='3 s2 same')}; conv 96 4 s1 valid; flatten; dense 10",
        TINYMAIX,
    ),
    # the notebook's "mnist resnet": the census does not say that it needs an addition
    "TinyMaix mnist, flatten end": PublicNetwork(
        (28, 28, 1),
        f"{_conv_bn_relu(12, 24, window='3 s2 same')}; residual(conv 24 3 s1 same; bn); "
        "conv 48 3 s2 valid; flatten; dense 10",
        TINYMAIX,
    ),
    "ai8x AI85Net5 (CIFAR)": PublicNetwork(
        (32, 32, 3),
        joined(
            *(_ai8x("60 3 s1 p1"), POOL, _ai8x("60 3 s1 p1"), POOL, _ai8x("56 3 s1 p1")),
            *("avgpool 2 s2 valid", _ai8x("12 3 s1 p1"), "flatten; dense 10"),
        ),
        AI8X + "ai85net.py",
    ),
    "ai8x SimpleNet": PublicNetwork(
        (32, 32, 3),
        joined(
            _ai8x(*(f"{n} 3 s1 p1" for n in (16, 20, 20, 20)), after=f"bn; {CLAMPED}"),
            *(POOL, _ai8x(*(f"{n} 3 s1 p1" for n in (20, 20, 44)), after=f"bn; {CLAMPED}")),
            *(POOL, _ai8x("48 3 s1 p1", "48 3 s1 p1", after=f"bn; {CLAMPED}")),
            *(POOL, _ai8x("96 3 s1 p1", after=f"bn; {CLAMPED}")),
            *(POOL, _ai8x("512 1 s1 valid", "128 1 s1 valid", after=f"bn; {CLAMPED}")),
            *(POOL, _ai8x("128 3 s1 p1", after=f"bn; {CLAMPED}")),
            "conv 100 1 s1 valid nobias; flatten",
        ),
        AI8X + "ai85net-simplenet.py",
    ),
    "ai8x ResidualSimpleNet": PublicNetwork(
        (32, 32, 3),
        joined(
            *(_ai8x("16 3 s1 p1", "20 3 s1 p1"), _ai8x_residual(20), _ai8x("20 3 s1 p1")),
            *(POOL, _ai8x("20 3 s1 p1"), _ai8x_residual(20), _ai8x("44 3 s1 p1")),
            *(POOL, _ai8x("48 3 s1 p1"), _ai8x_residual(48), POOL, _ai8x("96 3 s1 p1")),
            *(POOL, _ai8x("512 1 s1 valid", "128 1 s1 valid"), POOL, _ai8x("128 3 s1 p1")),
            "conv 100 1 s1 valid nobias; flatten",
        ),
        AI8X + "ai85net-res-simplenet.py",
    ),
    # the last convolution has no bias, and its outputs are clamped to -1 .. 127/128: that is a bias
    # of 1, ReLU up to 1 + 127/128, and a shift by -1
    "ai8x FaceID": PublicNetwork(
        (160, 120, 3),
        joined(
            *(_ai8x("16 3 s1 p1"), POOL, _ai8x("32 3 s1 p1")),
            *(f"{POOL}; conv {n} 3 s1 p1; {CLAMPED}" for n in (32, 64, 64)),
            *[f"conv 64 3 s1 p1; {CLAMPED}"] * 2,
            f"{POOL}; conv 512 1 s1 valid; relu 1.9921875; scale",
            "avgpool (5, 3) s(5, 3) valid; flatten",
        ),
        AI8X + "ai85net-faceid.py",
    ),
    "MobileFaceNet (Xiaoccer)": PublicNetwork(
        (112, 96, 3), _mobile_face_net(), "Xiaoccer/MobileFaceNet_Pytorch, core/model.py"
    ),
    "PyTorch examples mnist_hogwild": PublicNetwork(
        (28, 28, 1),
        "conv 10 5 s1 valid; maxpool 2 s2 valid; relu; "
        "conv 20 5 s1 valid; drop2d 0.5; maxpool 2 s2 valid; relu; "
        "flatten; dense 50; relu; dropout 0.5; dense 10",
        "pytorch/examples, mnist_hogwild/main.py",
    ),
    "yunjey CNN": PublicNetwork(
        (28, 28, 1),
        "conv 16 5 s1 p2; bn; relu; maxpool 2 s2 valid; "
        "conv 32 5 s1 p2; bn; relu; maxpool 2 s2 valid; flatten; dense 10",
        "yunjey/pytorch-tutorial, 02-intermediate/convolutional_neural_network/main.py",
    ),
    "yunjey ResNet CIFAR": PublicNetwork(
        (32, 32, 3),
        joined(
            *("conv 16 3 s1 p1 nobias; bn; relu", _yunjey_block(16), _yunjey_block(16)),
            *(_yunjey_block(32, 2, True), _yunjey_block(32)),
            *(_yunjey_block(64, 2, True), _yunjey_block(64)),
            "avgpool 8 s8 valid; flatten; dense 10",
        ),
        "yunjey/pytorch-tutorial, 02-intermediate/deep_residual_network/main.py",
    ),
    "Flux mlp_mnist": PublicNetwork(
        (28, 28, 1),
        "flatten; dense 32; sigmoid; dense 10",
        "FluxML/model-zoo, vision/mlp_mnist/mlp_mnist.jl",
    ),
    "d2l LeNet": PublicNetwork(
        (28, 28, 1),
        "conv 6 5 s1 p2; sigmoid; avgpool 2 s2 valid; conv 16 5 s1 valid; sigmoid; "
        "avgpool 2 s2 valid; flatten; dense 120; sigmoid; dense 84; sigmoid; dense 10",
        "d2l-ai/d2l-en, chapter_convolutional-neural-networks/lenet.md",
    ),
    # Caffe's poolings round up: the last window is a pixel over the edge, and that does not count
    "Caffe cifar10_quick": PublicNetwork(
        (32, 32, 3),
        "conv 32 5 s1 p2; maxpool 3 s2 p((0, 1), (0, 1)); relu; "
        "conv 32 5 s1 p2; relu; avgpool 3 s2 p((0, 1), (0, 1)); "
        "conv 64 5 s1 p2; relu; avgpool 3 s2 p((0, 1), (0, 1)); flatten; dense 64; dense 10",
        "BVLC/caffe, examples/cifar10/cifar10_quick_train_test.prototxt",
    ),
    "darknet cifar": PublicNetwork(
        (28, 28, 3),
        joined(
            *["conv 128 3 s1 p1 nobias; bn; leaky 0.1"] * 3,
            *(f"{POOL}; dropout 0.5", *["conv 256 3 s1 p1 nobias; bn; leaky 0.1"] * 3),
            *(f"{POOL}; dropout 0.5", *["conv 512 3 s1 p1 nobias; bn; leaky 0.1"] * 3),
            "dropout 0.5; conv 10 1 s1 valid; leaky 0.1; gap",
        ),
        "pjreddie/darknet, cfg/cifar.cfg",
    ),
    "tinygrad beautiful_mnist": PublicNetwork(
        (28, 28, 1),
        "conv 32 5 s1 valid; relu; conv 32 5 s1 valid; relu; bn; maxpool 2 s2 valid; "
        "conv 64 3 s1 valid; relu; conv 64 3 s1 valid; relu; bn; maxpool 2 s2 valid; "
        "flatten; dense 10",
        "tinygrad/tinygrad, examples/beautiful_mnist.py",
    ),
    "dl-from-scratch DeepConvNet": PublicNetwork(
        (28, 28, 1),
        "conv 16 3 s1 p1; relu; conv 16 3 s1 p1; relu; maxpool 2 s2 valid; "
        "conv 32 3 s1 p1; relu; conv 32 3 s1 p2; relu; maxpool 2 s2 valid; "
        "conv 64 3 s1 p1; relu; conv 64 3 s1 p1; relu; maxpool 2 s2 valid; "
        "flatten; dense 50; relu; dropout 0.5; dense 10; dropout 0.5",
        "oreilly-japan/deep-learning-from-scratch, ch08/deep_convnet.py",
    ),
}
