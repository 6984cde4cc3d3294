"""How many registers a convolution takes beside its accumulator, by its views and its tail."""

from collections.abc import Sequence

from .conv2d import MASK_TAPS
from .epilogue import Tail, across, operands
from .launch import View
from .tile import Pressure
from .window import Pool


def full_size(tail: Tail) -> list[View]:
    """Operands of a tail that have a number for every pixel."""
    return [v for v in operands(tail) if v.shape[2:] != (1, 1) and any(v.strides[2:])]


def conv_pressure(
    x: View, outputs: Sequence[View], tail: Tail, kernel: tuple[int, ...]
) -> Pressure:
    """Register pressure of a convolution with these views (see `Pressure`)."""
    large = full_size(tail)
    pooled = any(isinstance(step, Pool) for step in tail)
    # The pixels that are left behind a pool are few enough for scattered addresses.
    stored = () if pooled and len(outputs) == 1 else outputs
    if any(v.shape[1] > 1 and v.strides[1] != 1 for v in (x, *stored, *large)):
        return Pressure.HIGH
    values = ((at, r) for at, step in enumerate(tail) for r in step.reads if isinstance(r, int))
    light = (
        len(outputs) == 1
        and (outputs[0].shape[1] == 1 or outputs[0].strides[1] == 1)
        and not across(tail)
        and (pooled or not large)
        and kernel[0] * kernel[1] <= MASK_TAPS.value
        and all(read in (-1, at) for at, read in values)
    )
    return Pressure.LOW if light else Pressure.NORMAL
