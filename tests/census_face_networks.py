"""The census's networks for facial expression that need more than the first layers of tinycnn.

Each was read from its own code, `PublicNetwork.source`.  The texts are those of `layer_text.py`.
"""

from layer_text import PublicNetwork, joined


def _conv_bn_relu(*filters: int, window: str = "3 s1 same") -> str:
    return joined(*(f"conv {n} {window}; bn; relu" for n in filters))


def _conv_relu_bn(*filters: int, window: str = "3 s1 same") -> str:
    return joined(*(f"conv {n} {window}; relu; bn" for n in filters))


def _separable(filters: int) -> str:
    """A separable convolution of oarriaga's networks, with the batch normalisation behind it."""
    return f"dw 3 s1 same nobias; conv {filters} 1 s1 same nobias; bn"


def _xception_block(filters: int, before: str = "") -> str:
    body = joined(_separable(filters), "relu", _separable(filters), "maxpool 3 s2 same")
    return f"residual({before}{body} | conv {filters} 1 s2 same nobias; bn)"


def _xception(first: int, *filters: int) -> str:
    stem = _conv_bn_relu(first, first, window="3 s1 valid nobias")
    return joined(stem, *map(_xception_block, filters), "conv 7 3 s1 same; gap")


def _simple_cnn_block(filters: int, window: int) -> str:
    conv = f"conv {filters} {window} s1 same; bn"
    return joined(conv, conv, "relu; avgpool 2 s2 same; dropout 0.5")


def _simpler_cnn_block(first: str, second: str) -> str:
    return f"conv {first} s1 same; bn; conv {second} s2 same; bn; relu; dropout 0.25"


POOL = "maxpool 2 s2 valid"
POOL_25 = f"{POOL}; dropout 0.25"
POOL_50 = f"{POOL}; dropout 0.5"
DENSE_3 = "; ".join(["dense 256; relu; bn; dropout 0.5"] * 3)

OARRIAGA = "oarriaga/face_classification, src/models/cnn.py"
AMINE = "amineHorseman/facial-expression-recognition-using-cnn, model.py (tflearn; pictures alone)"

FACE_NETWORKS: dict[str, PublicNetwork] = {
    "oarriaga simple_CNN": PublicNetwork(
        (48, 48, 1),
        joined(
            *(_simple_cnn_block(*size) for size in ((16, 7), (32, 5), (64, 3), (128, 3))),
            "conv 256 3 s1 same; bn; conv 7 3 s1 same; gap",
        ),
        OARRIAGA,
    ),
    "oarriaga simpler_CNN": PublicNetwork(
        (48, 48, 1),
        joined(
            _simpler_cnn_block("16 5", "16 5"),
            _simpler_cnn_block("32 5", "32 5"),
            _simpler_cnn_block("64 3", "64 3"),
            _simpler_cnn_block("64 1", "128 3"),
            "conv 256 1 s1 same; bn; conv 128 3 s2 same",
            "conv 256 1 s1 same; bn; conv 7 3 s2 same; flatten",
        ),
        OARRIAGA,
    ),
    "oarriaga tiny_XCEPTION": PublicNetwork((64, 64, 1), _xception(5, 8, 16, 32, 64), OARRIAGA),
    "oarriaga mini_XCEPTION": PublicNetwork((64, 64, 1), _xception(8, 16, 32, 64, 128), OARRIAGA),
    "oarriaga big_XCEPTION": PublicNetwork(
        (64, 64, 1),
        joined(
            "conv 32 3 s2 valid nobias; bn; relu; conv 64 3 s1 valid nobias; bn; relu",
            _xception_block(128),
            _xception_block(256, before="relu; "),
            "conv 7 3 s1 same; gap",
        ),
        OARRIAGA,
    ),
    "amineHorseman model A": PublicNetwork(
        (48, 48, 1),
        "conv 64 5 s1 same; relu; bn; maxpool 3 s2 same; "
        "conv 64 5 s1 same; relu; bn; maxpool 3 s2 same; conv 128 4 s1 same; relu; bn; "
        "dropout 0.2; flatten; dense 1024; relu; bn; dense 5",
        AMINE,
    ),
    "amineHorseman model B": PublicNetwork(
        (48, 48, 1),
        "conv 64 3 s1 same; relu; bn; maxpool 3 s2 same; "
        "conv 128 3 s1 same; relu; bn; maxpool 3 s2 same; "
        "conv 256 3 s1 same; relu; bn; maxpool 3 s2 same; dropout 0.2; flatten; "
        "dense 4096; relu; dropout 0.2; dense 1024; relu; bn; dense 5",
        AMINE,
    ),
    "serengil / deepface Emotion": PublicNetwork(
        (48, 48, 1),
        "conv 64 5 s1 valid; relu; maxpool 5 s2 valid; "
        "conv 64 3 s1 valid; relu; conv 64 3 s1 valid; relu; avgpool 3 s2 valid; "
        "conv 128 3 s1 valid; relu; conv 128 3 s1 valid; relu; avgpool 3 s2 valid; flatten; "
        "dense 1024; relu; dropout 0.2; dense 1024; relu; dropout 0.2; dense 7",
        "serengil/tensorflow-101, python/facial-expression-recognition.py",
    ),
    "gitshanks / yuki-ominato": PublicNetwork(
        (48, 48, 1),
        joined(
            *("conv 64 3 s1 valid; relu", _conv_relu_bn(64), POOL_50),
            *(_conv_relu_bn(128, 128), POOL_50),
            *(_conv_relu_bn(256, 256), POOL_50),
            *(_conv_relu_bn(512, 512), POOL_50, "flatten; dense 512; relu; dropout 0.4"),
            "dense 256; relu; dropout 0.4; dense 128; relu; dropout 0.5; dense 7",
        ),
        "gitshanks/fer2013, fertrain.py; yuki-ominato/fer2013, fertrain.py",
    ),
    "shangeth": PublicNetwork(
        (48, 48, 1),
        "conv 8 3 s1 valid; bn; maxpool 2 s1 valid; relu; "
        "conv 16 3 s1 valid; dropout 0.3; bn; maxpool 2 s1 valid; relu; "
        "conv 32 3 s1 valid; bn; maxpool 2 s1 valid; relu; "
        "conv 64 3 s1 valid; dropout 0.3; bn; maxpool 2 s1 valid; relu; "
        "conv 128 3 s1 valid; bn; maxpool 2 s2 valid; relu; "
        "conv 256 3 s1 valid; dropout 0.3; bn; maxpool 2 s2 valid; relu; "
        "conv 256 3 s1 valid; dropout 0.3; bn; maxpool 2 s2 valid; relu; flatten; "
        "dense 512; dropout 0.3; relu; dense 256; dropout 0.3; relu; dense 7",
        "shangeth/Facial-Emotion-Recognition-PyTorch-ONNX, PyTorch/model.py",
    ),
    "susantabiswas": PublicNetwork(
        (48, 48, 1),
        joined(
            *(_conv_relu_bn(32, 32), POOL, _conv_relu_bn(64, 64), POOL_25),
            *(_conv_relu_bn(128, 128), POOL_25, "flatten", DENSE_3, "dense 7"),
        ),
        "susantabiswas/realtime-facial-emotion-analyzer, emotion_analyzer/model_utils.py",
    ),
    "akmadan": PublicNetwork(
        (48, 48, 1),
        joined(
            *(_conv_bn_relu(64), POOL_25, _conv_bn_relu(128, window="5 s1 same"), POOL_25),
            *(_conv_bn_relu(512), POOL_25, _conv_bn_relu(512), POOL_25),
            "flatten; dense 256; bn; relu; dropout 0.25; dense 512; bn; relu; dropout 0.25",
            "dense 7",
        ),
        "akmadan/Emotion_Detection_CNN, emotion-classification-cnn-using-keras.ipynb",
    ),
    "EmoPy ConvolutionalNNDropout": PublicNetwork(
        (48, 48, 1),
        joined(
            *("conv 10 4 s1 valid; relu", _conv_relu_bn(10, window="4 s1 same"), POOL_50),
            *(_conv_relu_bn(10, 10, window="4 s1 same"), POOL_50),
            *(_conv_relu_bn(10, 10, window="4 s1 same"), POOL_50, "flatten; dense 4"),
        ),
        "thoughtworksarts/EmoPy, EmoPy/src/neuralnets.py and "
        "EmoPy/examples/convolutional_dropout_model.py",
    ),
    "ut-tomo LeNet": PublicNetwork(
        (48, 48, 1),
        "conv 6 5 s1 valid; relu; avgpool 2 s2 valid; conv 16 5 s1 valid; relu; "
        "avgpool 2 s2 valid; flatten; dense 84; relu; dense 7",
        "ut-tomo/myLeNet_FER2013, src/model/lenet.py",
    ),
    "usef-kh VGG": PublicNetwork(
        (40, 40, 1),
        joined(
            *(_conv_bn_relu(64, 64, window="3 s1 p1"), POOL),
            *(_conv_bn_relu(128, 128, window="3 s1 p1"), POOL),
            *(_conv_bn_relu(256, 256, window="3 s1 p1"), POOL),
            *(_conv_bn_relu(512, 512, window="3 s1 p1"), POOL, "flatten"),
            "dense 4096; dropout 0.2; relu; dense 4096; dropout 0.2; relu; dense 7",
        ),
        "usef-kh/fer, models/vgg.py (crops of 40x40)",
    ),
    "mayurmadnani (3x1, 1x3)": PublicNetwork(
        (48, 48, 1),
        joined(
            *(
                f"conv {n} (3, 1) s1 same; conv {n} (1, 3) s1 same; bn; relu; maxpool 2 s2 same; "
                "dropout 0.25"
                for n in (64, 128, 256, 512)
            ),
            "flatten; dense 512; bn; relu; dropout 0.25; dense 256; bn; relu; dropout 0.25",
            "dense 7",
        ),
        "mayurmadnani/fer, model.json",
    ),
    "huqinwei": PublicNetwork(
        (48, 48, 1),
        joined(
            *(f"conv {n} 5 s1 same nobias; bn; relu; maxpool 3 s2 same" for n in (64, 64, 128)),
            "dropout 0.5; flatten; dense 512 nobias; bn; relu; dropout 0.5",
            "dense 512 nobias; bn; relu; dropout 0.5; dense 7",
        ),
        "huqinwei/my_fer2013_model, fer_forward.py (the dropout's rate is not in it)",
    ),
    "kanavtalwar": PublicNetwork(
        (48, 48, 1),
        "conv 32 3 s1 valid; relu; conv 64 3 s1 same; relu; bn; maxpool 2 s2 valid; dropout 0.5; "
        "conv 128 3 s1 same; relu; conv 128 3 s1 same; relu; bn; maxpool 2 s2 valid; dropout 0.5; "
        "flatten; dense 1024; relu; dropout 0.4; dense 512; relu; dropout 0.5; dense 7",
        "kanavtalwar/emotion-recognition-CNN-FER2013-dataset, model.py",
    ),
    "sunprinceS dnn": PublicNetwork(
        (48, 48, 1),
        joined(
            "flatten",
            *(f"dense {n}; prelu; dropout 0.2" for n in (1024, 512, 512, 256, 256, 512, 2048)),
            "dense 7",
        ),
        "sunprinceS/FER2013-assignment, src/model.py",
    ),
    # the largest of five: 1 and 2 have half the filters, 3 and 4 one or two layers less
    "JialeHu ImageNet1-5": PublicNetwork(
        (48, 48, 1),
        joined(
            *(f"{_conv_bn_relu(n, window='3 s1 p1')}; drop2d 0.5; {POOL}" for n in (64, 128, 256)),
            f"{_conv_bn_relu(512, window='3 s1 p1')}; drop2d 0.5",
            f"{_conv_bn_relu(512, window='1 s1 valid')}; drop2d 0.5; flatten",
            *(f"dense {n}; bn; dropout 0.5; relu" for n in (3072, 512, 128)),
            "dense 7",
        ),
        "JialeHu/fer2013, ImageLearning/Models/ImageNet5.py",
    ),
    "YasirOmerAlparslan93": PublicNetwork(
        (48, 48, 1),
        joined(
            *(_conv_bn_relu(32), POOL, _conv_bn_relu(64), POOL, _conv_bn_relu(128), POOL),
            "flatten; dense 128; relu; dropout 0.4; dense 8",
        ),
        "YasirOmerAlparslan93/fer2013-raw-pixel-cnn-8class, src/utils.py",
    ),
    "tomledeakin": PublicNetwork(
        (48, 48, 1),
        joined(
            *(f"{_conv_bn_relu(n, window='3 s1 p1')}; {POOL}" for n in (64, 128, 256)),
            "flatten; dense 512; relu; dropout 0.5; dense 256; relu; dropout 0.5; dense 7",
        ),
        "tomledeakin/fer2013-emotion-classification, src/models/cnn_model.py",
    ),
    "ratnajitmukherjee Emonet": PublicNetwork(
        (48, 48, 1),
        joined(
            *(
                f"conv {n} 3 s1 same; leaky 0.3; bn; conv {n} 3 s1 same; leaky 0.3; bn; "
                f"maxpool 2 s2 same; dropout {rate}"
                for n, rate in ((32, 0.3), (64, 0.3), (128, 0.25), (256, 0.25))
            ),
            "flatten; dense 256; leaky 0.3; bn; dropout 0.5; dense 256; leaky 0.3; bn; dropout 0.5",
            "dense 7",
        ),
        "ratnajitmukherjee/EmotionClassification_FER2013, VGGNet.py",
    ),
    "joshuakimchi9": PublicNetwork(
        (112, 112, 1),
        joined(
            *(_conv_bn_relu(64, window="3 s1 p1"), POOL_25),
            *(_conv_bn_relu(128, window="5 s1 p2"), POOL_25),
            *(_conv_bn_relu(512, window="3 s1 p1"), POOL_25),
            *(_conv_bn_relu(512, window="3 s1 p1"), POOL_25, "flatten"),
            "dense 256; bn; relu; dropout 0.25; dense 512; bn; relu; dropout 0.25; dense 7",
        ),
        "joshuakimchi9/fer2013-cnn-pytorch, the program that tests a picture",
    ),
    "hch661100 LeNet (Theano)": PublicNetwork(
        (48, 48, 1),
        "conv 32 5 s1 valid; maxpool 2 s2 valid; tanh; conv 64 5 s1 valid; maxpool 2 s2 valid; "
        "tanh; flatten; dense 500; tanh; dense 7",
        "hch661100/lenet_fer2013, code/convolutional_mlp.py",
    ),
}
