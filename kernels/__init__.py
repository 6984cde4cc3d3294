"""Triton kernels, and the functions that turn strided views into launches.

A leaf: imports torch and triton only. Each function checks its arguments, raises ValueError with
the reason where it cannot serve them, and returns a `Launch`.

    launch     View and Launch, the data types; what 32-bit offsets and grids can hold
    epilogue   the tail of a convolution: Stage, Pool, the stage functions, commute_pool
    finish     device code of the tail
    tile       tile shapes and the rules that choose them
    conv2d, depthwise, linear, pool, softmax, pointwise    one file per family of kernels
"""

from .conv2d import conv2d, conv_pressure
from .depthwise import depthwise_conv2d
from .epilogue import Pool, Stage, commute_pool, pool_refusal
from .launch import Launch, View
from .linear import linear
from .pointwise import copy, fill, pointwise
from .pool import avg_pool2d, global_avg_pool2d, max_pool2d
from .softmax import softmax
from .tile import (
    ConvTile,
    LinearTile,
    Pressure,
    choose_conv_tile,
    choose_depthwise_tile,
    choose_linear_tile,
    conv_tiles,
    depthwise_tiles,
    images_for_tile,
    linear_tiles,
)

__all__ = [
    "ConvTile",
    "Launch",
    "LinearTile",
    "Pool",
    "Pressure",
    "Stage",
    "View",
    "avg_pool2d",
    "choose_conv_tile",
    "choose_depthwise_tile",
    "choose_linear_tile",
    "commute_pool",
    "conv2d",
    "conv_pressure",
    "conv_tiles",
    "copy",
    "depthwise_conv2d",
    "depthwise_tiles",
    "fill",
    "global_avg_pool2d",
    "images_for_tile",
    "linear",
    "linear_tiles",
    "max_pool2d",
    "pointwise",
    "pool_refusal",
    "softmax",
]
