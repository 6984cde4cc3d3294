"""Guarded buffers, views of them, and float64 references with error bounds.

A bound starts as (length + 2) * 2^-24 * sum |x| |w| for a float32 accumulation of that many
products, is carried through the tail, and gains one rounding of the output's type.
"""

import torch
import torch.nn.functional as F

from graphcnn.kernels import Pool, View, epilogue

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ROUNDING = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
F32 = ROUNDING["f32"]
GUARD = 64


def view_of(tensor):
    return View(tensor, tuple(tensor.shape), tuple(tensor.stride()), NAMES[tensor.dtype])


def randn(*shape, dtype="f32", layout="nhwc", seed=0):
    """Normal values in the given memory layout; the shape stays NCHW."""
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(*shape, generator=generator).to(DTYPES[dtype])
    if layout == "nhwc" and len(shape) == 4:
        return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return tensor


class Output:
    """A NaN-filled tensor between two bands that nobody may touch."""

    def __init__(self, shape, dtype="f32", layout="nhwc"):
        size = torch.Size(shape).numel()
        self.storage = torch.full((size + 2 * GUARD,), float("nan"), dtype=DTYPES[dtype])
        self.storage[:GUARD] = self.storage[-GUARD:] = 777.0
        inner = self.storage[GUARD : GUARD + size]
        if layout == "nhwc" and len(shape) == 4:
            n, c, h, w = shape
            self.tensor = inner.view(n, h, w, c).permute(0, 3, 1, 2)
        else:
            self.tensor = inner.view(shape)
        self.view = view_of(self.tensor)

    def check(self, want, bound):
        """Compare with the float64 `want`; `bound` is absolute, before the final rounding."""
        assert (self.storage[:GUARD] == 777.0).all(), "written before the output"
        assert (self.storage[-GUARD:] == 777.0).all(), "written after the output"
        got = self.tensor.double()
        assert got.shape == want.shape
        assert not got.isnan().any(), f"{int(got.isnan().sum())} outputs never written"
        assert want.numel() == 1 or want.std() > 1e-3, "a constant reference proves nothing"
        rounding = ROUNDING[NAMES[self.tensor.dtype]]
        allowed = bound + rounding * (want.abs() + bound) + 2.0**-24  # f16 has subnormals
        excess = ((got - want).abs() / allowed).max().item()
        assert excess <= 1.0, f"error is {excess:.3g} times its bound"


def _stage(step, value, bound):
    """One stage in float64, and the bound after it: stages lose at most four roundings."""
    operand = None if step.operand is None else step.operand.buffer.double()
    name = step.fn.__name__
    if name == "mul":
        result, bound = value * operand, bound * operand.abs()
    else:
        result = {
            "add": lambda: value + operand,
            "relu": value.relu,
            "leaky_relu": lambda: F.leaky_relu(value, step.param),
            "sigmoid": value.sigmoid,
            "tanh": value.tanh,
            "silu": lambda: F.silu(value),
        }[name]()
        # The steepest of them but for leaky_relu, silu, has slope 1.0998.
        bound = bound * max(1.1, abs(step.param))
    return result, bound + 4 * F32 * (result.abs() + value.abs() + 1)


def chain(value, bound, tail, exports=(), dtype="f32"):
    """Every value of a chain in float64, each with its bound before it is stored.

    Values in `exports` are read on as they were stored, with the rounding of `dtype`.
    """
    values = [(value, bound)]
    for index, step in enumerate(tail):
        if index in exports:
            bound = bound + ROUNDING[dtype] * (value.abs() + bound) + 2.0**-25
        if isinstance(step, Pool):
            pool = F.max_pool2d if step.kind == "max" else F.avg_pool2d
            value, bound = pool(value, step.kernel), pool(bound, step.kernel)
            bound = bound + 16 * F32 * value.abs()
        else:
            value, bound = _stage(step, value, bound)
        values.append((value, bound))
    return values


def product_bound(length, sum_of_sizes):
    """Bound of `length` products accumulated in float32, given sum |x| |w|."""
    return (length + 2) * F32 * sum_of_sizes


RELU = epilogue.Stage(epilogue.relu)
