"""The operators: one class each, with attributes, shape rule, reference, cost and error bound.

The functions of one element are in `ops.activation`; nothing lists them.
"""

from graphcnn.ops.activation import LogSoftmax, Softmax, Unary
from graphcnn.ops.anchor import Anchor
from graphcnn.ops.arithmetic import Add, Arithmetic, Mul
from graphcnn.ops.conv import Conv, Conv1d, Conv2d
from graphcnn.ops.linear import Linear
from graphcnn.ops.norm import BatchNorm
from graphcnn.ops.pool import (
    AvgPool,
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    MaxPool,
    MaxPool1d,
    MaxPool2d,
    Pooling,
)
from graphcnn.ops.shape import Concat, Dropout, Flatten, Pad, Reshape

__all__ = [
    "Add",
    "Anchor",
    "Arithmetic",
    "AvgPool",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Linear",
    "LogSoftmax",
    "MaxPool",
    "MaxPool1d",
    "MaxPool2d",
    "Mul",
    "Pad",
    "Pooling",
    "Reshape",
    "Softmax",
    "Unary",
]
