"""Triton kernels, and the functions that turn strided views into launches.

A leaf: imports torch and triton only. Each function checks its arguments, raises `Refused` with the
reason where no kernel can serve them, and returns a `Launch`.

    launch     View and Launch, the data types; what 32-bit offsets and grids can hold
    stages     the pointwise functions of a tail
    epilogue   the tail of a convolution: Stage, what it may hold, how it becomes an argument
    window     the pool of a tail: Pool, and how its windows lie in tiles
    finish     device code of the tail
    tf32       how float32 is multiplied, and rounded for it
    tile       shapes of tiles
    reach      how far masked lanes address
    pressure   how many registers a convolution takes beside its accumulator
    devices    the tiles and prices of each device, with forms and prices
    problem    what a layer asks of a kernel
    precisions the same where float32 is multiplied in another way
    choices    every kernel that can serve a layer, and the rule that picks one
    rows       views as rows, for kernels that reduce whole dimensions
    split      layers whose reduction is summed in parts
    toom_cook  the matrices of minimal filtering, of which winograd makes convolutions
    adaptive_pool, conv2d, conv2d_box, depthwise, interpolate, linear, lrn, movement, pointwise,
    pool, random, reduction, separable, softmax, standardize, stem, winograd    one file for each
    family of kernels
"""

from . import stages as stages
from .adaptive_pool import adaptive_pool2d as adaptive_pool2d
from .choices import Choice as Choice
from .choices import by_rule as by_rule
from .choices import choices as choices
from .choices import directly as directly
from .choices import work_of as work_of
from .conv2d import conv2d as conv2d
from .conv2d_box import box_refusal as box_refusal
from .conv2d_box import conv2d_box as conv2d_box
from .conv2d_box import pixel_rows as pixel_rows
from .depthwise import depthwise_conv2d as depthwise_conv2d
from .devices import BLACKWELL as BLACKWELL
from .devices import CPU as CPU
from .devices import CPU_BF16 as CPU_BF16
from .devices import CUDA as CUDA
from .devices import CUDA_SMALL as CUDA_SMALL
from .devices import DEPTHWISE as DEPTHWISE
from .devices import HOPPER as HOPPER
from .devices import SEPARABLE as SEPARABLE
from .devices import DeviceTraits as DeviceTraits
from .devices import cpu_traits as cpu_traits
from .devices import cuda_traits as cuda_traits
from .epilogue import TURN as TURN
from .epilogue import Half as Half
from .epilogue import Head as Head
from .epilogue import Stage as Stage
from .epilogue import Tail as Tail
from .epilogue import across as across
from .epilogue import commute_pool as commute_pool
from .epilogue import is_pointwise as is_pointwise
from .epilogue import map_operands as map_operands
from .epilogue import operands as operands
from .epilogue import tail_refusal as tail_refusal
from .interpolate import Places as Places
from .interpolate import interpolate as interpolate
from .launch import Block as Block
from .launch import Launch as Launch
from .launch import Refused as Refused
from .launch import View as View
from .linear import linear as linear
from .lrn import local_response_norm as local_response_norm
from .lrn import normalize_channels as normalize_channels
from .movement import copy as copy
from .movement import pad as pad
from .movement import roll as roll
from .pointwise import pointwise as pointwise
from .pool import avg_pool2d as avg_pool2d
from .pool import global_avg_pool2d as global_avg_pool2d
from .pool import max_pool2d as max_pool2d
from .precisions import in_precision as in_precision
from .pressure import conv_pressure as conv_pressure
from .pressure import full_size as full_size
from .prices import Prices as Prices
from .problem import Boxes as Boxes
from .problem import ConvProblem as ConvProblem
from .problem import LinearProblem as LinearProblem
from .problem import Maps as Maps
from .problem import Pooled as Pooled
from .problem import Problem as Problem
from .problem import SeparableProblem as SeparableProblem
from .random import random_normal as random_normal
from .random import random_uniform as random_uniform
from .reduction import reduction as reduction
from .separable import separable_conv2d as separable_conv2d
from .softmax import softmax as softmax
from .split import conv2d_in_parts as conv2d_in_parts
from .split import linear_in_parts as linear_in_parts
from .standardize import standardize as standardize
from .stem import LANES as LANES
from .stem import Stem as Stem
from .stem import padded as padded
from .stem import padded_shape as padded_shape
from .stem import run_length as run_length
from .stem import stem_conv2d as stem_conv2d
from .tf32 import IN_TF32 as IN_TF32
from .tf32 import Precision as Precision
from .tf32 import round_to_tf32 as round_to_tf32
from .tile import ConvTile as ConvTile
from .tile import LinearTile as LinearTile
from .tile import Pressure as Pressure
from .toom_cook import TRANSFORMS as TRANSFORMS
from .toom_cook import Transform as Transform
from .toom_cook import WinogradTile as WinogradTile
from .window import Pool as Pool
from .winograd import tile_refusal as tile_refusal
from .winograd import winograd_conv2d as winograd_conv2d
