"""What follows a convolution or a linear product inside its own kernel.

The tail is a chain of values. Value 0 is the product plus its bias; value i follows from value
i - 1 by `tail[i - 1]`, a pointwise `Stage` or one `Pool`. Any of the values may be exported. The
chain reaches the kernel as a tuple of `@triton.jit` functions, so one kernel serves every chain.
Values are float32. One that is exported is read on as it was stored: rounded to its output's type,
and infinite where it overflowed. A stage function takes the value and its operand, or the value and
its parameter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import triton
import triton.language as tl
from triton.language.extra import libdevice

from .launch import Strides, View, offset_refusal, require


@triton.jit
def relu(value, _: tl.constexpr):
    """0 where negative, value elsewhere: NaN stays NaN and -0 stays -0, as in torch."""
    return tl.where(value < 0.0, 0.0, value)


@triton.jit
def leaky_relu(value, PARAM: tl.constexpr):
    """Value where positive, PARAM * value elsewhere."""
    return tl.where(value > 0.0, value, value * PARAM)


@triton.jit
def sigmoid(value, _: tl.constexpr):
    """1 / (1 + exp(-value)).

    `libdevice.exp` is within 2 units in the last place everywhere. `tl.exp` is not on a GPU: it is
    an exponential of base 2 of a rounded product, off by up to |value| units.
    """
    return 1.0 / (1.0 + libdevice.exp(-value))


@triton.jit
def tanh(value, _: tl.constexpr):
    """Hyperbolic tangent, of small relative error everywhere; -0 stays -0.

    Below 0.625 in size, where 1 - exp(-2 |value|) would cancel, the odd polynomial of Cephes' tanhf
    (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989).
    """
    square = value * value
    series = -5.70498872745e-3 * square + 2.06390887954e-2
    series = series * square - 5.37397155531e-2
    series = series * square + 1.33314422036e-1
    series = series * square - 3.33332819422e-1
    small = value * (1.0 + series * square)
    decay = libdevice.exp(-2.0 * tl.abs(value))
    size = (1.0 - decay) / (1.0 + decay)
    large = tl.where(value < 0.0, -size, size)
    return tl.where(tl.abs(value) < 0.625, small, large)


@triton.jit
def silu(value, _: tl.constexpr):
    """Value * sigmoid(value)."""
    return value / (1.0 + libdevice.exp(-value))


@triton.jit
def add(value, operand):
    """Value + operand."""
    return value + operand


@triton.jit
def mul(value, operand):
    """Value * operand."""
    return value * operand


BINARY = (add, mul)


@dataclass(frozen=True)
class Stage:
    """One pointwise step: `fn(value, operand)` for add and mul; else `fn(value, param)`.

    `operand` broadcasts to the value at that point (stride 0 or size 1 in broadcast dimensions).
    """

    fn: Any
    operand: View | None = None
    param: float = 0.0

    def __post_init__(self) -> None:
        if (self.fn in BINARY) != (self.operand is not None):
            wants = "an operand" if self.fn in BINARY else "no operand"
            raise ValueError(f"stage {self.fn.__name__} takes {wants}")


@dataclass(frozen=True)
class Pool:
    """A pooling step whose windows tile the image: stride equals kernel, no padding, floor mode."""

    kind: Literal["max", "avg"]
    kernel: tuple[int, int]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Pooled height and width."""
        return height // self.kernel[0], width // self.kernel[1]


Tail = tuple[Stage | Pool, ...]


def pool_refusal(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    *,
    ceil_mode: bool = False,
    size: tuple[int, int] | None = None,
) -> str | None:
    """Why a pool cannot be the tail of a convolution whose output has `size`, or None.

    The rule: windows must tile the output (stride equals kernel, no padding, no dilation), be
    powers of two, of 2 to 16 elements, and lie inside the output (floor mode, or sizes that
    divide).
    """
    if stride != kernel:
        return f"pool windows overlap or leave gaps: kernel {kernel}, stride {stride}"
    if any(padding):
        return f"the pool pads its input by {padding}"
    if dilation != (1, 1):
        return f"the pool's windows are dilated by {dilation}"
    if any(k < 1 or k & (k - 1) for k in kernel):
        return f"the pool window {kernel} is not made of powers of two"
    if not 2 <= kernel[0] * kernel[1] <= 16:
        return f"the pool window {kernel} does not have 2 to 16 elements"
    if size is not None:
        if size[0] < kernel[0] or size[1] < kernel[1]:
            return f"no whole pool window {kernel} fits in an output of {size}"
        if ceil_mode and (size[0] % kernel[0] or size[1] % kernel[1]):
            return f"ceil mode needs partial windows: {size} is no multiple of {kernel}"
    return None


def _is_non_decreasing(stage: Stage) -> bool:
    if stage.fn is add:
        assert stage.operand is not None
        flat = zip(stage.operand.shape[2:], stage.operand.strides[2:], strict=True)
        return all(d == 1 or s == 0 for d, s in flat)
    if stage.fn is leaky_relu:
        return stage.param >= 0
    return stage.fn in (relu, sigmoid, tanh)


def commute_pool(tail: Tail, exports: Sequence[int]) -> Tail:
    """Move a max pool before the non-decreasing stages that precede it.

    max(f(a), f(b)) = f(max(a, b)) for every non-decreasing f, so the values after the pool stay
    the same and f runs on the pooled tile only. No exported value may lie between. Value indices
    keep their meaning for every exported value.
    """
    chain = list(tail)
    at = next((i for i, step in enumerate(chain) if isinstance(step, Pool)), 0)
    if not chain or not isinstance(chain[at], Pool) or chain[at].kind != "max":
        return tail
    while at > 0 and at not in exports and _is_non_decreasing(chain[at - 1]):
        step = chain[at - 1]
        if step.operand is not None:
            view = step.operand
            narrow = View(
                view.buffer, (*view.shape[:2], 1, 1), (*view.strides[:2], 0, 0), view.dtype
            )
            step = Stage(step.fn, narrow, step.param)
        chain[at - 1], chain[at] = chain[at], step
        at -= 1
    return tuple(chain)


class Epilogue(NamedTuple):
    """A checked chain, ready to be a kernel's arguments."""

    pool: Pool | None
    outputs: tuple[Any, ...]
    output_strides: tuple[Strides, ...]
    operands: tuple[Any, ...]
    operand_strides: tuple[Strides, ...]
    meta: dict[str, Any]

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the pool's window; (1, 1) without a pool."""
        return self.pool.kernel if self.pool else (1, 1)

    def windows(self, images: int, height: int, width: int) -> int:
        """Pool windows (pixels without a pool) that the kernel has to visit."""
        rows, cols = self.window
        if self.meta["PARTIAL_WINDOWS"]:
            return images * math.ceil(height / rows) * math.ceil(width / cols)
        return images * (height // rows) * (width // cols)


def epilogue(
    shape: tuple[int, int, int, int],
    tail: Tail,
    exports: Sequence[int],
    outputs: Sequence[View],
) -> Epilogue:
    """Check a chain against the shape of its value 0 and prepare the kernel's arguments.

    Raises ValueError when an export has no such value, an output or operand has the wrong shape,
    a second pool follows, or `pool_refusal` speaks.
    """
    if len(exports) != len(outputs) or len(set(exports)) != len(exports) or not exports:
        raise ValueError(f"{len(exports)} exports {tuple(exports)} and {len(outputs)} outputs")
    if not all(0 <= e <= len(tail) for e in exports):
        raise ValueError(f"exports {tuple(exports)} name no value of a tail of {len(tail)} stages")
    pool_at, pool, stages = -1, None, []
    shapes = [shape]
    operands: list[View] = []
    slots: list[int] = []
    for step in tail:
        n, c, h, w = shapes[-1]
        if isinstance(step, Pool):
            if pool is not None:
                raise ValueError("a tail holds at most one pool")
            require(pool_refusal(step.kernel, step.kernel, size=(h, w)))
            pool_at, pool = len(stages), step
            shapes.append((n, c, *step.size(h, w)))
            continue
        stages.append(step)
        shapes.append(shapes[-1])
        slots.append(-1 if step.operand is None else len(operands))
        if step.operand is not None:
            operands.append(step.operand.expand(shapes[-1]))
    for view, index in zip(outputs, exports, strict=True):
        if view.shape != shapes[index]:
            raise ValueError(f"value {index} has shape {shapes[index]}, its output {view.shape}")
    require(offset_refusal(*outputs, *operands))
    before = [e for e in exports if pool is not None and e <= pool_at]
    divides = pool is None or not (shape[2] % pool.kernel[0] or shape[3] % pool.kernel[1])
    meta = {
        "STAGES": tuple(s.fn for s in stages),
        "PARAMS": tuple(float(s.param) for s in stages),
        "SLOTS": tuple(slots),
        "PER_CHANNEL": tuple(v.strides[0] == v.strides[2] == v.strides[3] == 0 for v in operands),
        "STORES": tuple(exports.index(i) if i in exports else -1 for i in range(len(tail) + 1)),
        "POOL_AT": pool_at,
        "POOL_MAX": pool is not None and pool.kind == "max",
        "POOL_H": pool.kernel[0] if pool else 1,
        "POOL_W": pool.kernel[1] if pool else 1,
        "PARTIAL_WINDOWS": bool(before) and not divides,
    }
    return Epilogue(
        pool,
        tuple(v.buffer for v in outputs),
        tuple(v.strides for v in outputs),
        tuple(v.buffer for v in operands),
        tuple(v.strides for v in operands),
        meta,
    )
