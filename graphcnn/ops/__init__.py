"""The operators: one class each, with attributes, shape rule, reference, cost and error bound.

The functions of one element are in `activation`, `linear_units` and `elementary`; nothing lists
them.
"""

from graphcnn.ops import activation as activation
from graphcnn.ops import elementary as elementary
from graphcnn.ops import linear_units as linear_units
from graphcnn.ops.activation import Unary as Unary
from graphcnn.ops.adaptive_pool import AdaptiveAvgPool as AdaptiveAvgPool
from graphcnn.ops.adaptive_pool import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from graphcnn.ops.adaptive_pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from graphcnn.ops.adaptive_pool import AdaptiveMaxPool as AdaptiveMaxPool
from graphcnn.ops.adaptive_pool import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from graphcnn.ops.adaptive_pool import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from graphcnn.ops.adaptive_pool import AdaptivePool as AdaptivePool
from graphcnn.ops.anchor import Anchor as Anchor
from graphcnn.ops.arithmetic import Add as Add
from graphcnn.ops.arithmetic import Arithmetic as Arithmetic
from graphcnn.ops.arithmetic import Div as Div
from graphcnn.ops.arithmetic import Maximum as Maximum
from graphcnn.ops.arithmetic import Minimum as Minimum
from graphcnn.ops.arithmetic import Mul as Mul
from graphcnn.ops.arithmetic import Sub as Sub
from graphcnn.ops.conv import Conv as Conv
from graphcnn.ops.conv import Conv1d as Conv1d
from graphcnn.ops.conv import Conv2d as Conv2d
from graphcnn.ops.conv_transpose import ConvTranspose as ConvTranspose
from graphcnn.ops.conv_transpose import ConvTranspose1d as ConvTranspose1d
from graphcnn.ops.conv_transpose import ConvTranspose2d as ConvTranspose2d
from graphcnn.ops.interpolate import Interpolate as Interpolate
from graphcnn.ops.linear import Linear as Linear
from graphcnn.ops.norm import BatchNorm as BatchNorm
from graphcnn.ops.norm import LocalResponseNorm as LocalResponseNorm
from graphcnn.ops.pool import AvgPool as AvgPool
from graphcnn.ops.pool import AvgPool1d as AvgPool1d
from graphcnn.ops.pool import AvgPool2d as AvgPool2d
from graphcnn.ops.pool import GlobalAvgPool2d as GlobalAvgPool2d
from graphcnn.ops.pool import MaxPool as MaxPool
from graphcnn.ops.pool import MaxPool1d as MaxPool1d
from graphcnn.ops.pool import MaxPool2d as MaxPool2d
from graphcnn.ops.pool import Pooling as Pooling
from graphcnn.ops.reduction import Amax as Amax
from graphcnn.ops.reduction import Amin as Amin
from graphcnn.ops.reduction import Mean as Mean
from graphcnn.ops.reduction import Reduction as Reduction
from graphcnn.ops.reduction import Sum as Sum
from graphcnn.ops.shape import Concat as Concat
from graphcnn.ops.shape import Dropout as Dropout
from graphcnn.ops.shape import Flatten as Flatten
from graphcnn.ops.shape import Pad as Pad
from graphcnn.ops.shape import Reshape as Reshape
from graphcnn.ops.softmax import LogSoftmax as LogSoftmax
from graphcnn.ops.softmax import Normalized as Normalized
from graphcnn.ops.softmax import Softmax as Softmax
from graphcnn.ops.standardize import GroupNorm as GroupNorm
from graphcnn.ops.standardize import InstanceNorm as InstanceNorm
from graphcnn.ops.standardize import LayerNorm as LayerNorm
from graphcnn.ops.standardize import Standardize as Standardize
from graphcnn.ops.window import Window as Window
