"""The public names are a fixed list, and numba is imported only when a kernel is needed."""

import ast
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

import tinycnn

PUBLIC = [
    *("Adam", "AdamW", "ArrayBatches", "AveragePool2D", "BatchNorm", "Batches", "Callback"),
    *("CheckpointError",),
    *("Classification", "Constant", "Conv2D", "CosineWithWarmup", "CrossEntropy", "CustomLayer"),
    *("DecoupledDistillation", "Dense", "DepthwiseConv2D", "Distillation", "DivergedError"),
    *("Dropout", "EpochRecord", "Evaluation", "Flatten", "GlobalAveragePool2D", "History"),
    *("InputSpec", "Layer", "LeakyReLU", "Loss", "MaxPool2D", "ModelFileError", "Network"),
    *("OneCycle", "Optimizer", "PReLU", "QuantizedNetwork", "RMSprop", "ReLU", "ReduceLROnPlateau"),
    *(
        "RelationDistillation",
        "Residual",
        "SGD",
        "ScaleShift",
        "Schedule",
        "Sigmoid",
        "SpatialDropout2D",
        "Step",
    ),
    *("StepRecord", "Summary", "Tanh", "Validation"),
    *(
        "__version__",
        "adjust_logits",
        "evaluate",
        "fit",
        "iter_epochs",
        "load",
        "load_pretrained",
        "load_quantized",
        "log_softmax",
    ),
    *("models", "plots", "save", "softmax", "sweep", "testing", "with_classes"),
]
NEED_SKLEARN = ["TinyCNNClassifier"]


def run(code):
    """Run code in a new interpreter and return its standard output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names():
    assert tinycnn.__all__ == sorted(tinycnn.__all__) == PUBLIC
    assert dir(tinycnn) == sorted([*PUBLIC, *NEED_SKLEARN])


def test_type_checkers_see_the_same_names():
    """The imports that they read name what `__getattr__` loads, from the same modules."""
    (block,) = (
        node
        for node in ast.parse(Path(tinycnn.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {alias.name: part.module or "" for part in block.body for alias in part.names}
    assert seen == tinycnn._HOME


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_resolves_and_is_documented(name):
    value = getattr(tinycnn, name)
    if name == "__version__":
        assert [part.isdigit() for part in value.split(".")[:2]] == [True, True]
    else:
        assert value.__doc__ and callable(value) != isinstance(value, types.ModuleType)
        assert (value.__name__).endswith(name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tinycnn' has no attribute 'Conv3D'"):
        tinycnn.Conv3D
    with pytest.raises(ImportError):
        from tinycnn import Conv3D  # noqa: F401


def test_without_sklearn_the_error_names_the_extra():
    run("""
    import sys
    sys.modules["sklearn"] = None  # importing it raises ImportError
    from tinycnn import *
    try:
        from tinycnn import TinyCNNClassifier
    except ImportError as error:
        assert 'pip install "tinycnn[sklearn]"' in str(error), error
    else:
        raise AssertionError
    """)


def test_star_import_gives_the_list():
    code = "from tinycnn import *; import tinycnn; print(set(tinycnn.__all__) <= set(globals()))"
    assert run(code) == "True\n"


BUILD = """
    import sys
    import tinycnn
    names = [m for m in sys.modules if m.startswith(("tinycnn.", "ferdata"))]
    assert names == ["tinycnn.ground", "tinycnn.ground._version"], names
    network = tinycnn.models.microexpnet(dropout=0.5)
    assert network.n_parameters == 65_000
    heavies = "numba llvmlite scipy skimage matplotlib safetensors ferdata sklearn".split()
    for heavy in heavies:
        assert heavy not in sys.modules, heavy
"""


def test_import_and_building_a_network_import_no_numba():
    run(BUILD)


@pytest.mark.kernels
def test_the_first_kernel_does_import_numba():
    """Shows that the test above can fail: the same network, after one prediction."""
    use = """
    import numpy as np
    network.predict_logits(np.zeros((1, 84, 84), np.uint8))
    assert "numba" in sys.modules
    """
    run(BUILD + use)


def test_the_numpy_backend_needs_no_numba():
    """Prediction, training, saving, loading and the gradient checker."""
    run("""
    import sys
    sys.modules["numba"] = sys.modules["llvmlite"] = None  # importing them raises ImportError
    import os, tempfile
    import numpy as np
    import tinycnn
    network = tinycnn.models.microexpnet(backend="numpy", dropout=0.5)
    images = np.random.default_rng(0).integers(0, 256, (3, 84, 84), dtype=np.uint8)
    probs = network.predict_proba(images)
    assert probs.shape == (3, 8) and np.allclose(probs.sum(axis=1), 1)
    loss, optimizer = tinycnn.Distillation(), tinycnn.Adam(backend="numpy")
    logits = network.forward(network.scale(images), training=True)
    value, dlogits = loss(logits, np.array([0, 1, 2]), -logits, backend="numpy")
    network.backward(dlogits)
    optimizer.step(network.parameter_vector, network.gradient_vector)
    path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    tinycnn.save(network, path)
    again = tinycnn.load(path, backend="numpy")
    assert (again.predict_logits(images) == network.predict_logits(images)).all()
    tinycnn.testing.logit_error(logits, logits)
    try:
        tinycnn.models.microexpnet(backend="numba").predict_proba(images)
    except ImportError:
        pass
    else:
        raise AssertionError("numba was importable after all")
    """)
