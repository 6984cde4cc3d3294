"""The operators: one class each, with attributes, shape rule, reference, cost and error bound."""

from graphcnn.ops.activation import (
    Dropout,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from graphcnn.ops.arithmetic import Add, Mul
from graphcnn.ops.conv import Conv2d
from graphcnn.ops.linear import Linear
from graphcnn.ops.norm import BatchNorm
from graphcnn.ops.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from graphcnn.ops.shape import Concat, Flatten, Pad, Reshape

# Other names for the same elements in the same order: where memory allows, nothing moves.
VIEWS = (Dropout, Flatten, Reshape)

__all__ = [
    "VIEWS",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "LeakyRelu",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Tanh",
]
