"""Triton kernels, and the functions that turn strided views into launches.

A leaf: imports torch and triton only. Each function checks its arguments, raises `Refused` with the
reason where no kernel can serve them, and returns a `Launch`.

    launch     View and Launch, the data types; what 32-bit offsets and grids can hold
    stages     the pointwise functions of a tail
    epilogue   the tail of a convolution: Stage, Pool, what it may hold, how it becomes an argument
    finish     device code of the tail
    tile       the tiles of each device
    choices    every kernel that can serve a layer, and the rule that picks one
    conv2d, depthwise, linear, pool, softmax, pointwise    one file per family of kernels
"""

from . import stages
from .choices import (
    Choice,
    ConvProblem,
    LinearProblem,
    Policy,
    Problem,
    by_rule,
    choices,
    conv_pressure,
)
from .conv2d import conv2d
from .depthwise import depthwise_conv2d
from .epilogue import (
    Pool,
    Stage,
    Tail,
    commute_pool,
    map_operands,
    pool_refusal,
    tail_refusal,
)
from .launch import Launch, Refused, View
from .linear import linear
from .pointwise import copy, fill, pointwise
from .pool import avg_pool2d, global_avg_pool2d, max_pool2d
from .softmax import softmax
from .tile import (
    CPU,
    CUDA,
    CUDA_SMALL,
    DEPTHWISE,
    ConvTile,
    DeviceTraits,
    LinearTile,
    Pressure,
    cuda_traits,
)

__all__ = [
    "CPU",
    "CUDA",
    "CUDA_SMALL",
    "DEPTHWISE",
    "Choice",
    "ConvProblem",
    "ConvTile",
    "DeviceTraits",
    "Launch",
    "LinearProblem",
    "LinearTile",
    "Policy",
    "Pool",
    "Pressure",
    "Problem",
    "Refused",
    "Stage",
    "Tail",
    "View",
    "avg_pool2d",
    "by_rule",
    "choices",
    "commute_pool",
    "conv2d",
    "conv_pressure",
    "copy",
    "cuda_traits",
    "depthwise_conv2d",
    "fill",
    "global_avg_pool2d",
    "linear",
    "map_operands",
    "max_pool2d",
    "pointwise",
    "pool_refusal",
    "softmax",
    "stages",
    "tail_refusal",
]
