"""Guarded buffers, views of them, and float64 references with error bounds.

A bound starts as (length + 2) * 2^-24 * sum |x| |w| for a float32 accumulation of that many
products, is carried through the tail, and gains one rounding of the output's type.
"""

import torch
import torch.nn.functional as F

from graphcnn.kernels import Pool, Stage, View, stages

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ROUNDING = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
F32 = ROUNDING["f32"]
GUARD = 64
# What outputs hold before, where some of them are to be NaN.
UNWRITTEN = 777.0


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
        self.storage[:GUARD] = self.storage[-GUARD:] = UNWRITTEN
        inner = self.storage[GUARD : GUARD + size]
        if layout == "nhwc" and len(shape) == 4:
            n, c, h, w = shape
            self.tensor = inner.view(n, h, w, c).permute(0, 3, 1, 2)
        else:
            self.tensor = inner.view(shape)
        self.view = view_of(self.tensor)

    def check(self, want, bound):
        """Compare with the float64 `want`; `bound` is absolute, before the final rounding."""
        assert (self.storage[:GUARD] == UNWRITTEN).all(), "written before the output"
        assert (self.storage[-GUARD:] == UNWRITTEN).all(), "written after the output"
        got = self.tensor.double()
        assert got.shape == want.shape
        assert not got.isnan().any(), f"{int(got.isnan().sum())} outputs never written"
        assert want.numel() == 1 or want.std() > 1e-3, "a constant reference proves nothing"
        rounding = ROUNDING[NAMES[self.tensor.dtype]]
        allowed = bound + rounding * (want.abs() + bound) + 2.0**-24  # f16 has subnormals
        excess = ((got - want).abs() / allowed).max().item()
        assert excess <= 1.0, f"error is {excess:.3g} times its bound"


MONOTONE = ("add", "relu", "sigmoid", "tanh")


def stage(name, operand=None, param=None):
    """A step of one operator on the value before it, with an operand view or an attribute."""
    reads = (-1,) if operand is None else (-1, operand)
    rises = name in MONOTONE or (name == "leaky_relu" and param >= 0)
    return Stage(getattr(stages, name), reads, () if param is None else (param,), rises)


def _stage(step, reads, bounds):
    """One stage in float64, and the bound after it: stages lose at most four roundings."""
    value, *others = reads
    name = step.fn.__name__
    if name == "mul":
        (other,) = others
        result = value * other
        bound = bounds[0] * (other.abs() + bounds[1]) + value.abs() * bounds[1]
    elif name == "normalize_channels":
        size, alpha, beta, k, _ = step.params
        result = F.local_response_norm(value, size, alpha, beta, k)
        # The value's error and that of every square in the window, of a divisor of at least 1.
        wide = F.pad(bounds[0] * value.abs(), (0, 0, 0, 0, size // 2, (size - 1) // 2))
        spread = F.avg_pool3d(wide[:, None], (size, 1, 1), 1)[:, 0]
        bound = bounds[0] + 2 * alpha * beta * spread * value.abs() + 8 * F32 * value.abs()
        return result, bound + 4 * F32 * size * value.abs()
    elif name == "add":
        result, bound = value + others[0], bounds[0] + bounds[1]
    else:
        slope = abs(step.params[0]) if name == "leaky_relu" else 0.0
        result = {
            "relu": value.relu,
            "leaky_relu": lambda: F.leaky_relu(value, step.params[0]),
            "sigmoid": value.sigmoid,
            "tanh": value.tanh,
            "silu": lambda: F.silu(value),
            "hardswish": lambda: F.hardswish(value),
            "gelu": lambda: F.gelu(value, approximate="tanh" if step.params[0] else "none"),
        }[name]()
        # The steepest of them but for leaky_relu, hardswish, has slope 1.5.
        bound = bounds[0] * max(1.5, slope)
    return result, bound + 4 * F32 * (result.abs() + value.abs() + 1)


def pooled(value, pool):
    """A pool of a tail in float64."""
    top, left, bottom, right = pool.padding
    sides = (left, right, top, bottom)
    if pool.kind == "max":
        return F.max_pool2d(F.pad(value, sides, value=-torch.inf), pool.kernel, pool.steps)
    parts = (F.pad(part, sides) for part in (value, torch.ones_like(value)))
    total, inside = (F.avg_pool2d(part, pool.kernel, pool.steps) for part in parts)
    return total / inside


def chain(value, bound, tail, exports=(), dtype="f32"):
    """Every value of a chain in float64, each with its bound before it is stored.

    Values in `exports` are read on as they were stored, with the rounding of `dtype`.
    """

    def stored(index, value, bound):
        if index in exports and index < len(tail):
            bound = bound + ROUNDING[dtype] * (value.abs() + bound) + 2.0**-25
        return value, bound

    values = [stored(0, value, bound)]
    for index, step in enumerate(tail, 1):
        reads = [(r.buffer.double(), 0.0) if isinstance(r, View) else values[r] for r in step.reads]
        if isinstance(step, Pool):
            value, bound = (pooled(part, step) for part in reads[0])
            bound = bound + 16 * F32 * value.abs()
        else:
            value, bound = _stage(step, *zip(*reads, strict=True))
        values.append(stored(index, value, bound))
    return values


def product_bound(length, sum_of_sizes):
    """Bound of `length` products accumulated in float32, given sum |x| |w|."""
    return (length + 2) * F32 * sum_of_sizes


RELU = stage("relu")
