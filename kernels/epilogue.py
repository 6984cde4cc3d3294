"""What follows a convolution or a linear product inside its own kernel.

The tail is a list of steps in single-assignment form. Value 0 is the product plus its bias; value
i + 1 is made by `tail[i]`, a pointwise `Stage` of earlier values and of operands in memory, or one
`Pool`. Any of the values may be exported. The list reaches the kernel as a tuple of `@triton.jit`
functions and indices, so one kernel serves every tail. Values are float32. One that is exported is
read on as it was stored: rounded to its output's type, and infinite where it overflowed.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from .launch import Refused, Strided, Strides, View, ceil_div, constants, offset_refusal, require
from .window import Pool, Window, window_of


@dataclass(frozen=True)
class Stage:
    """One pointwise step: `fn(*reads, *params)`.

    Attributes:
        fn: A function of `stages`.
        reads: What it is applied to: indices of values, negative ones counted back from this step;
            or operands in memory, views that broadcast to the value at this point.
        params: Numbers, known when the kernel is compiled.
        non_decreasing: Whether the result never falls where the first read value rises.
        across: Whether it brings channels of a pixel together, and so wants all in one tile.
    """

    fn: Any
    reads: tuple[int | Any, ...] = (-1,)
    params: tuple[float, ...] = ()
    non_decreasing: bool = False
    across: bool = False


@dataclass(frozen=True)
class Half:
    """One half of the product's channels; the tail of a gated convolution begins with both.

    Two convolutions of one input are one whose filters alternate: `TURN` of the first, then as many
    of the second, so that a tile holds both halves of a channel.
    """

    which: Literal[0, 1]
    reads: tuple[int | Any, ...] = (0,)


# So apart, two rows of an accumulator lie in one thread of a tensor core.
TURN = 8
Tail = tuple[Stage | Pool | Half, ...]
# Channels that a tile of a convolution can have on every device.
TILE_CHANNELS = 128


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


def across(tail: Tail) -> bool:
    """Whether some step brings channels together."""
    return any(isinstance(step, Stage) and step.across for step in tail)


def is_pointwise(step: Stage | Pool | Half) -> bool:
    """Whether a step makes each element of elements at its own place, or of their other half."""
    return isinstance(step, Half) or (isinstance(step, Stage) and not step.across)


def map_operands(tail: Tail, change: Callable[[Any], Any]) -> Tail:
    """The steps with something else for each operand in memory, in order."""
    return tuple(
        replace(step, reads=tuple(r if isinstance(r, int) else change(r) for r in step.reads))
        for step in tail
    )


def tail_refusal(
    tail: Tail,
    size: tuple[int, int] | None,
    exports: Sequence[int] = (),
    channels: int = 1,
    groups: int = 1,
) -> Refused | None:
    """Why no kernel can end in a tail, or None: the one statement of what a tail may hold.

    It depends on types only, not on where values lie.

    Args:
        tail: The steps.
        size: Height and width of value 0; None for a linear layer, whose values have no pixels.
        exports: The stored values.
        channels: Of value 0.
        groups: Of the convolution.
    """
    first_pooled = 0
    for index, step in enumerate(_counted_from_the_front(tail)):
        if isinstance(tail[0], Half) and not is_pointwise(step):
            return Refused("a kernel that computes a gate brings nothing else together", index)
        if isinstance(step, Stage) and step.across:
            if size is None:
                return Refused("it brings channels together, and a linear layer has none", index)
            held = min(channels // groups, TILE_CHANNELS)
            if held < channels:
                because = f"it brings channels together, and a tile holds {held} of the {channels}"
                return Refused(because, index)
        if isinstance(step, Pool):
            if size is None:
                return Refused("a linear layer has no pixels to pool", index)
            if first_pooled:
                return Refused("a kernel holds at most one pool", index)
            if refusal := step.refusal(*size):
                return Refused(refusal, index)
            if any(step.halo) and any(value <= index for value in exports):
                because = "its windows overlap, and what tiles compute twice is stored before them"
                return Refused(because, index)
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

    Strides are in the order of a tile's coordinates: N, H, W, C; or N * H * W, C.
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
    placed = [Operand(*v, constants(not any(v.strides[:-1]))) for v in views]
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
    """How a kernel ends: its argument, its tiles of pixels, and channels of a half, or 0."""

    argument: TailArgument
    tiles: int
    half: int


def epilogue(
    shape: tuple[int, ...],
    tail: Tail,
    exports: Sequence[int] | None,
    outputs: Sequence[View],
    pixels: int,
    groups: int = 1,
    in_order: bool = True,
    boxes: bool = False,
) -> Epilogue:
    """Check a tail against the shape [N, C, H, W] of its value 0, and prepare it for a kernel.

    Args:
        shape: Of the product.
        tail: The steps; a max pool is moved ahead where that changes nothing.
        exports: The stored values, one output each; None is the last one.
        outputs: Views of the shapes of these values.
        pixels: Of a tile.
        groups: Of the convolution.
        in_order: Whether a tile's pixels follow one another, but for pools.
        boxes: Whether a tile is a box of an image, also where windows do not overlap.

    Raises:
        ValueError: when an export has no such value, an output or operand has the wrong shape, or a
            tile does not hold a window.
        Refused: where `tail_refusal` speaks, or 32-bit offsets cannot address a view.
    """
    exports = (len(tail),) if exports is None else exports
    if len(exports) != len(outputs) or len(set(exports)) != len(exports) or not exports:
        raise ValueError(f"{len(exports)} exports {tuple(exports)} and {len(outputs)} outputs")
    if not all(0 <= e <= len(tail) for e in exports):
        raise ValueError(f"exports {tuple(exports)} name no value of a tail of {len(tail)} steps")
    n, c, height, width = shape
    if refused := tail_refusal(tail, (height, width), exports, c, groups):
        raise refused
    half = 0
    if isinstance(tail[0] if tail else None, Half):
        half = outputs[0].shape[1]
        turns = ceil_div(half, TURN)
        if tail[:2] != (Half(0), Half(1)) or min(exports) < 3 or c != 2 * TURN * turns:
            raise ValueError(f"{c} channels, exports {exports} and tail {tail} are no two halves")
        c, shape = half, (n, half, height, width)
    tail = commute_pool(tail, exports)
    pool = next((step for step in tail if isinstance(step, Pool)), Pool("avg", (1, 1)))
    at = tail.index(pool) if pool in tail else -1
    small = (n, c, *pool.size(height, width))
    first_pooled = at + 1 if at >= 0 else len(tail) + 1
    for view, index in zip(outputs, exports, strict=True):
        if view.shape != (shape if index < first_pooled else small):
            raise ValueError(f"value {index} of {shape} has another shape than output {view.shape}")
    views = [v.expand(shape) for v in operands(tail[: first_pooled - 1])]
    views += [v.expand(small) for v in operands(tail[first_pooled - 1 :])]
    require(offset_refusal(*outputs, *views))
    if pool.pixels > pixels:
        raise ValueError(f"a window takes {pool.pixels} pixels, and a tile has {pixels}")
    stored = at >= 0 and min(exports) <= at
    window, tiles = window_of(pool, at, n, (height, width), pixels, stored=stored, boxes=boxes)
    in_order = in_order and not window.PARTIAL and window.ROWS * window.COLS == 1

    def placed(view: View) -> Strided:
        pixels = view.permuted(0, 2, 3, 1)
        rows = pixels.rows() if in_order and view.shape[2:] == small[2:] else None
        return (rows or pixels).argument

    argument = tail_argument(tail, exports, [*map(placed, outputs)], [*map(placed, views)], window)
    return Epilogue(argument, tiles, half)
