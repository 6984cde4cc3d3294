"""What follows a convolution or a linear product inside its own kernel.

The tail is a list of steps in single-assignment form. Value 0 is the product plus its bias; value
i + 1 is made by `tail[i]`, a pointwise `Stage` of earlier values and of operands in memory, or one
`Pool`. Any of the values may be exported. The list reaches the kernel as a tuple of `@triton.jit`
functions and indices, so one kernel serves every tail. Values are float32. One that is exported is
read on as it was stored: rounded to its output's type, and infinite where it overflowed.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from .launch import Refused, Strided, Strides, View, ceil_div, constants, offset_refusal, require


@dataclass(frozen=True)
class Stage:
    """One pointwise step: `fn(*reads, *params)`.

    Attributes:
        fn: A function of `stages`.
        reads: What it is applied to: indices of values, negative ones counted back from this step;
            or operands in memory, views that broadcast to the value at this point.
        params: Numbers, known when the kernel is compiled.
        non_decreasing: Whether the result never falls where the first read value rises.
    """

    fn: Any
    reads: tuple[int | Any, ...] = (-1,)
    params: tuple[float, ...] = ()
    non_decreasing: bool = False


@dataclass(frozen=True)
class Pool:
    """A pool whose windows tile the image: stride equals kernel, no padding, floor mode."""

    kind: Literal["max", "avg"]
    kernel: tuple[int, ...]
    reads: tuple[int | Any, ...] = (-1,)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Pooled height and width."""
        return height // self.kernel[0], width // self.kernel[1]


Tail = tuple[Stage | Pool, ...]


@dataclass(frozen=True)
class Head:
    """What a kernel makes of its input before its product: a depthwise convolution and steps.

    Attributes:
        w: Its filter, packed to [C, taps]; here and below, what stands for a view in memory.
        bias: Its bias [C], or None.
        steps: Stages of its values, none of which leaves the kernel.
    """

    w: Any
    bias: Any | None = None
    steps: Tail = ()


def operands(tail: Tail) -> list[Any]:
    """What the steps read from memory, in order."""
    return [read for step in tail for read in step.reads if not isinstance(read, int)]


def map_operands(tail: Tail, change: Callable[[Any], Any]) -> Tail:
    """The steps with something else for each operand in memory, in order."""
    return tuple(
        replace(step, reads=tuple(r if isinstance(r, int) else change(r) for r in step.reads))
        for step in tail
    )


def pool_refusal(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    *,
    ceil_mode: bool = False,
    size: tuple[int, ...] | None = None,
) -> str | None:
    """Why a pool cannot be the tail of a convolution whose output has `size`, or None.

    The rule: windows must tile the output (stride equals kernel, no padding, no dilation), be
    powers of two, of 2 to 16 elements, and lie inside the output (floor mode, or sizes that
    divide).
    """
    if stride != kernel:
        how = "overlap" if any(s < k for s, k in zip(stride, kernel, strict=True)) else "leave gaps"
        return f"its windows {how}: kernel {_by(kernel)}, stride {_by(stride)}"
    if any(padding):
        return f"its windows reach into the padding {padding}"
    if any(d != 1 for d in dilation):
        return f"its windows are dilated by {dilation}"
    if any(k < 1 or k & (k - 1) for k in kernel):
        return f"its window {_by(kernel)} is not made of powers of two"
    if not 2 <= math.prod(kernel) <= 16:
        return f"its window {_by(kernel)} does not have 2 to 16 elements"
    if size is not None:
        if any(s < k for s, k in zip(size, kernel, strict=True)):
            return f"no whole window {_by(kernel)} fits in an output of {_by(size)}"
        if ceil_mode and any(s % k for s, k in zip(size, kernel, strict=True)):
            return f"ceil mode needs partial windows: {_by(size)} is no multiple of {_by(kernel)}"
    return None


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def tail_refusal(tail: Tail, size: tuple[int, int] | None) -> Refused | None:
    """Why no kernel can end in a tail, or None: the one statement of what a tail may hold.

    It depends on types only, not on where values lie.

    Args:
        tail: The steps.
        size: Height and width of value 0; None for a linear layer, whose values have no pixels.
    """
    first_pooled = 0
    for index, step in enumerate(_counted_from_the_front(tail)):
        if isinstance(step, Pool):
            if size is None:
                return Refused("a linear layer has no pixels to pool", index)
            if first_pooled:
                return Refused("a kernel holds at most one pool", index)
            if refusal := pool_refusal(step.kernel, step.kernel, size=size):
                return Refused(refusal, index)
        if any(isinstance(read, int) and read < first_pooled for read in step.reads):
            return Refused("it reads a value from before the kernel's pool", index)
        first_pooled = index + 1 if isinstance(step, Pool) else first_pooled
    return None


def commute_pool(tail: Tail, exports: Sequence[int]) -> Tail:
    """Move a max pool before the non-decreasing stages that precede it.

    max(f(a), f(b)) = f(max(a, b)) for every non-decreasing f, so the values after the pool stay
    the same and f runs on the pooled tile only. Nothing else may read the values between, and
    none be exported. Indices keep their meaning for every value that is read or exported.
    """
    steps = list(_counted_from_the_front(tail))
    at = next((i for i, step in enumerate(steps) if isinstance(step, Pool)), 0)
    while at > 0:
        pool, stage = steps[at], steps[at - 1]
        assert isinstance(pool, Pool)
        if pool.kind != "max" or not isinstance(stage, Stage) or not _commutes(stage):
            break
        readers = [step for step in steps if at in step.reads]
        if pool.reads != (at,) or readers != [pool] or at in exports:
            break
        value, *operands = stage.reads
        narrow = (_one_pixel(view) for view in operands)
        steps[at - 1] = replace(pool, reads=(value,))
        steps[at] = replace(stage, reads=(at, *narrow))
        at -= 1
    return tuple(steps)


def _counted_from_the_front(tail: Tail) -> Tail:
    return tuple(
        replace(
            step,
            reads=tuple(at + 1 + r if isinstance(r, int) and r < 0 else r for r in step.reads),
        )
        for at, step in enumerate(tail)
    )


def _commutes(stage: Stage) -> bool:
    """Whether a stage does the same before and after a max pool."""
    value, *others = stage.reads
    flat = all(not isinstance(other, int) and _is_flat(other) for other in others)
    return stage.non_decreasing and isinstance(value, int) and flat


def _is_flat(view: View) -> bool:
    """Whether a view is the same for all pixels of a channel."""
    return all(d == 1 or s == 0 for d, s in zip(view.shape[2:], view.strides[2:], strict=True))


def _one_pixel(view: Any) -> View:
    return View(view.buffer, (*view.shape[:2], 1, 1), (*view.strides[:2], 0, 0), view.dtype)


class Operand(NamedTuple):
    """An operand of a stage as an argument of a kernel; PER_CHANNEL: it is the same for all pixels.

    Strides are in the order of a tile's coordinates: N, H, W, C.
    """

    ptr: Any
    strides: Strides
    PER_CHANNEL: Any


class Step(NamedTuple):
    """A step as an argument of a kernel; `fn` is 0 for a pool.

    READS holds indices of values, and -1 - i for operand i; STORE is the output that takes the
    result, or -1.
    """

    fn: Any
    READS: Any
    PARAMS: Any
    STORE: Any


class Window(NamedTuple):
    """The pool of a tail: AT its step (-1: there is none), its window H x W, and whether windows
    that reach beyond the output are visited too, because their pixels are stored."""

    AT: Any = -1
    MAX: Any = False
    H: Any = 1
    W: Any = 1
    PARTIAL: Any = False


class TailArgument(NamedTuple):
    """A tail as an argument of a kernel; STORE is the output that takes value 0, or -1."""

    steps: tuple[Step, ...]
    outputs: tuple[Strided, ...]
    operands: tuple[Operand, ...]
    pool: Window
    STORE: Any


class HeadArgument(NamedTuple):
    """A head as an argument of a kernel."""

    w: Strided
    bias: Strided | None
    steps: TailArgument


def tail_argument(
    tail: Tail,
    exports: Sequence[int],
    outputs: Sequence[Strided],
    views: Sequence[Strided],
    pool: Window,
) -> TailArgument:
    """A tail as an argument of a kernel, its views as strides in the kernel's own order."""

    def store(value: int) -> int:
        return exports.index(value) if value in exports else -1

    slots = itertools.count(-1, -1)
    numbered = map_operands(_counted_from_the_front(tail), lambda _: next(slots))
    steps = [
        Step(
            getattr(step, "fn", constants(0)),
            constants(step.reads),
            constants(getattr(step, "params", ())),
            constants(store(index)),
        )
        for index, step in enumerate(numbered, 1)
    ]
    placed = [Operand(*v, constants(not any(v.strides[:3]))) for v in views]
    return TailArgument(
        tuple(steps), tuple(outputs), tuple(placed), constants(pool), constants(store(0))
    )


def head_argument(head: Head, shape: tuple[int, ...]) -> HeadArgument:
    """Check a head against the shape [N, C, H, W] of its values, and prepare it for a kernel.

    Raises:
        ValueError: when an operand has the wrong shape.
        Refused: where 32-bit offsets cannot address a view.
    """
    views = [view.expand(shape) for view in operands(head.steps)]
    require(offset_refusal(head.w, *views))
    placed = [view.permuted(0, 2, 3, 1).argument for view in views]
    steps = tail_argument(head.steps, (), (), placed, Window())
    return HeadArgument(head.w.argument, head.bias and head.bias.argument, steps)


class Epilogue(NamedTuple):
    """How a kernel ends: its argument, the pool's window, and how many windows it visits in all."""

    argument: TailArgument
    window: tuple[int, ...]
    windows: int


def epilogue(
    shape: tuple[int, ...],
    tail: Tail,
    exports: Sequence[int] | None,
    outputs: Sequence[View],
) -> Epilogue:
    """Check a tail against the shape [N, C, H, W] of its value 0, and prepare it for a kernel.

    Args:
        shape: Of the product.
        tail: The steps; a max pool is moved ahead where that changes nothing.
        exports: The stored values, one output each; None is the last one.
        outputs: Views of the shapes of these values.

    Raises:
        ValueError: when an export has no such value, or an output or operand has the wrong shape.
        Refused: where `tail_refusal` speaks, or 32-bit offsets cannot address a view.
    """
    exports = (len(tail),) if exports is None else exports
    if len(exports) != len(outputs) or len(set(exports)) != len(exports) or not exports:
        raise ValueError(f"{len(exports)} exports {tuple(exports)} and {len(outputs)} outputs")
    if not all(0 <= e <= len(tail) for e in exports):
        raise ValueError(f"exports {tuple(exports)} name no value of a tail of {len(tail)} steps")
    n, c, *size = shape
    if refused := tail_refusal(tail, (size[0], size[1])):
        raise refused
    tail = commute_pool(tail, exports)
    pool = next((step for step in tail if isinstance(step, Pool)), None)
    at = tail.index(pool) if pool else len(tail)
    window = pool.kernel if pool else (1, 1)
    small = (n, c, size[0] // window[0], size[1] // window[1])
    divides = size[0] % window[0] == size[1] % window[1] == 0
    partial = min(exports) <= at < len(tail) and not divides
    for view, index in zip(outputs, exports, strict=True):
        if view.shape != (shape if index <= at else small):
            raise ValueError(f"value {index} of {shape} has another shape than output {view.shape}")
    views = [v.expand(shape) for v in operands(tail[:at])]
    views += [v.expand(small) for v in operands(tail[at:])]
    require(offset_refusal(*outputs, *views))
    argument = tail_argument(
        tail,
        exports,
        [view.permuted(0, 2, 3, 1).argument for view in outputs],
        [view.permuted(0, 2, 3, 1).argument for view in views],
        Window(at, pool.kind == "max", window[0], window[1], partial) if pool else Window(),
    )
    rows, cols = small[2:]
    if partial:
        rows, cols = ceil_div(size[0], window[0]), ceil_div(size[1], window[1])
    return Epilogue(argument, window, n * rows * cols)
