"""Small ONNX models, built node by node, for the tests of the reader."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def node(operator, inputs, outputs, **attributes):
    """A node; inputs and outputs are names, separated by spaces."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def model(nodes, shape, constants=None, *, opset=17, output="y", producer="", metadata=None):
    """A model with the input x of `shape` (None: free) and one output.

    constants  initialisers, by name
    """
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    tensors = [
        numpy_helper.from_array(np.asarray(values), name)
        for name, values in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "graph", [given], [result], tensors)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], producer_name=producer
    )
    helper.set_model_props(made, metadata or {})
    return made


def floats(*shape, seed=0):
    """Normal values, in float32."""
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return np.asarray(values, np.float32)


def written(folder, made):
    """The path of a file with the model."""
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def answers(made, x):
    """The output of the model by onnx's own evaluator, in the dtype of x."""
    from onnx.reference import ReferenceEvaluator

    (y,) = ReferenceEvaluator(made).run(None, {"x": x})
    return y
