"""What a kernel function takes and gives: strided views in, one launch out."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

Strides = tuple[int, ...]

# Arguments that follow the batch size. Triton would compile a kernel anew for a value of 1 and for
# multiples of 16, and gain nothing: they only bound loops over whole tiles.
BATCH = ("N",)
MAX_OFFSET = 2**31 - 1
MAX_GRID = (2**31 - 1, 65_535, 65_535)
# Bytes past either end of a tensor that masked lanes may address. On a GPU the mask of an
# asynchronous copy does not keep its address from being translated, so that much has to be mapped.
MASKED_REACH = 4 << 20


class Refused(Exception):
    """What no kernel can do, though its arguments are legal.

    Attributes:
        because: The reason, in words.
        step: Index of the step of a tail that is at fault; None for the launch as a whole.
    """

    def __init__(self, because: str, step: int | None = None) -> None:
        super().__init__(because)
        self.because, self.step = because, step


class Strided(NamedTuple):
    """A view as an argument of a kernel: its first element, and strides in elements."""

    ptr: Any
    strides: Strides


class Block(NamedTuple):
    """A view as an argument of a kernel that reads it block by block, through a descriptor.

    Attributes:
        ptr: Its first element, at a multiple of 16 bytes.
        shape: Of the view; elements beyond it are read as 0.
        strides: In elements, the last of them 1.
        block: The shape of a block.
    """

    ptr: Any
    shape: tuple[int, ...]
    strides: Strides
    block: tuple[int, ...]

    def descriptor(self, memory: Any) -> TensorDescriptor:
        """What the kernel gets, where the view begins in a tensor."""
        return TensorDescriptor(memory, [*self.shape], [*self.strides], [*self.block])


@dataclass(frozen=True)
class View:
    """A strided window on a buffer.

    `shape` and `strides` (in elements) follow the logical order (N, C, H, W for a 4-D value),
    so the physical layout lies entirely in the strides: channel stride 1 is NHWC. A stride of 0
    broadcasts. `buffer` starts at the view's first element and is handed on, never inspected.
    """

    buffer: Any
    shape: tuple[int, ...]
    strides: Strides
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements, repeated ones included."""
        return math.prod(self.shape)

    @property
    def reach(self) -> int:
        """Elements from the first one to the last, both included."""
        return 1 + sum((d - 1) * abs(s) for d, s in zip(self.shape, self.strides, strict=True))

    @property
    def argument(self) -> Strided:
        """What a kernel gets of it."""
        return Strided(self.buffer, self.strides)

    def expand(self, shape: tuple[int, ...]) -> "View":
        """Broadcast to `shape`: every dimension is equal or 1; those that grow get stride 0.

        Raises ValueError where a dimension is neither.
        """
        if len(self.shape) != len(shape) or any(
            d not in (1, want) for d, want in zip(self.shape, shape, strict=True)
        ):
            raise ValueError(f"a view of shape {self.shape} does not broadcast to {shape}")
        sizes = zip(self.shape, shape, self.strides, strict=True)
        strides = tuple(s if d == want else 0 for d, want, s in sizes)
        return View(self.buffer, shape, strides, self.dtype)

    def rows(self) -> "View | None":
        """A view [..., C] as [rows, C], with one stride from row to row; None where its leading
        dimensions do not follow one another."""
        *leading, channels = self.shape
        *steps, last = self.strides
        # The batch counts where it is one, too, so that its size changes no kernel.
        dims = enumerate(zip(leading, steps, strict=True))
        counted = [(d, s) for at, (d, s) in dims if d > 1 or at == 0]
        if any(s != inner[0] * inner[1] for (_, s), inner in pairwise(counted)):
            return None
        step = counted[-1][1]
        return View(self.buffer, (math.prod(leading), channels), (step, last), self.dtype)

    def permuted(self, *order: int) -> "View":
        """Dimensions in another order; -1 stands for a new one of size 1."""
        shape = tuple(1 if d < 0 else self.shape[d] for d in order)
        strides = tuple(0 if d < 0 else self.strides[d] for d in order)
        return View(self.buffer, shape, strides, self.dtype)


class Launch(NamedTuple):
    """One kernel launch: `kernel[grid](*args, **meta)`.

    `args` holds buffers, ints, constexprs, `@triton.jit` functions, None and (nested, named) tuples
    of these, positional in kernel order, and blocks, in no tuple; `meta` the tile, num_warps and
    num_stages; `masked_reach` the bytes past either end of its first operand that masked lanes may
    address.
    """

    kernel: Any
    grid: tuple[int, int, int]
    args: tuple[Any, ...]
    meta: dict[str, Any]
    masked_reach: int = 0

    def run(self) -> None:
        """Launch on the active Triton driver; the buffers must be tensors."""
        self.kernel[self.grid](*self.described(), **self.meta)

    def described(self) -> tuple[Any, ...]:
        """The arguments, with descriptors in place of blocks; their buffers must be tensors."""
        return tuple(a.descriptor(a.ptr) if isinstance(a, Block) else a for a in self.args)


def constants(value: Any) -> Any:
    """A number as a constexpr; of a (named) tuple, every number in it."""
    if not isinstance(value, tuple):
        return tl.constexpr(value)
    parts = tuple(map(constants, value))
    return type(value)(*parts) if hasattr(value, "_fields") else parts


def offset_refusal(*views: View) -> str | None:
    """Why 32-bit offsets cannot address these views, or None."""
    for view in views:
        if view.reach > MAX_OFFSET:
            return (
                f"a tensor of shape {view.shape} with strides {view.strides} spans {view.reach} "
                f"elements; kernels address at most {MAX_OFFSET}"
            )
    return None


def masked_reach(view: View, elements: int) -> int:
    """The bytes of `elements` past an end of a view, which masked lanes address.

    Raises:
        Refused: for more than are kept mapped.
    """
    nbytes = max(0, elements) * int(view.dtype.lstrip("bfi")) // 8
    if nbytes > MASKED_REACH:
        raise Refused(
            f"masked loads of a tensor of shape {view.shape} would address {nbytes} bytes past its "
            f"end; {MASKED_REACH} are kept mapped"
        )
    return nbytes


def grid_refusal(grid: tuple[int, int, int]) -> str | None:
    """Why a device would refuse this grid, or None."""
    for axis, programs, most in zip("xyz", grid, MAX_GRID, strict=True):
        if not 1 <= programs <= most:
            return f"the grid {grid} has {programs} programs along {axis}; 1 to {most} can run"
    return None


def require(refusal: str | None) -> None:
    """Raise Refused with the refusal's text, if there is one."""
    if refusal is not None:
        raise Refused(refusal)


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """Smallest power of two not below n (n >= 1)."""
    return 1 << (n - 1).bit_length()
