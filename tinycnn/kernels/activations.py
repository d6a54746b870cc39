"""Applies the activation that is a part of an operation, in place.

Each of these activations can do its backward pass from its output alone.  (PReLU cannot: it is an
operation by itself.)

    op  the record
    y   flat: the input of the activation, which becomes its output
    dy  flat: the gradient of its output y, which becomes the gradient of its input
"""

from ._jit import helper
from .leaky_relu import leaky_relu_backward, leaky_relu_forward
from .relu import clipped_relu_backward, clipped_relu_forward, relu_backward, relu_forward
from .sigmoid import sigmoid_backward, sigmoid_forward
from .tanh import tanh_backward, tanh_forward


@helper
def relu_activate(op, y):
    relu_forward(y, y)


@helper
def relu_activate_backward(op, y, dy):
    relu_backward(y, dy, dy)


@helper
def clipped_relu_activate(op, y):
    clipped_relu_forward(y, op.activation_value, y)


@helper
def clipped_relu_activate_backward(op, y, dy):
    clipped_relu_backward(y, op.activation_value, dy, dy)


@helper
def leaky_relu_activate(op, y):
    leaky_relu_forward(y, op.activation_value, y)


@helper
def leaky_relu_activate_backward(op, y, dy):
    leaky_relu_backward(y, op.activation_value, dy, dy)


@helper
def sigmoid_activate(op, y):
    sigmoid_forward(y, y)


@helper
def sigmoid_activate_backward(op, y, dy):
    sigmoid_backward(y, dy, dy)


@helper
def tanh_activate(op, y):
    tanh_forward(y, y)


@helper
def tanh_activate_backward(op, y, dy):
    tanh_backward(y, dy, dy)
