"""The tiles, prices and errors of a device by how it multiplies float32."""

from dataclasses import replace

from .devices import CUDA, DeviceTraits
from .tf32 import Precision

# A division of a GPU is off by up to two units in the last place. The products of a tensor core
# are exact in tf32, and its sums cut to half of that.
_UNIT = 2.0**-22
# Products of tf32 in the time of one of float32.
_FASTER = 3


def in_precision(traits: DeviceTraits, precision: Precision) -> DeviceTraits:
    """The row of a device, which is for "tf32x3", for another precision of float32.

    In tf32 a number takes twice the bytes of half precision: blocks of half the reduction take as
    many, and 256 pixels of it spill.
    One product stands for three, so that all else costs three times as many. What is computed
    outside of tensor cores takes the tiles of "tf32x3", which hold fewer operands there. Nobody has
    measured any of these. Minimal filtering would enlarge the rounding of operands to tf32, and
    outside of tensor cores its tiles spill on 12.0. On a CPU only the rounding of operands differs.
    """
    if precision == "tf32x3":
        return traits
    if traits.unit_f32 != CUDA.unit_f32:
        winograd = () if precision == "tf32" else traits.winograd_f32
        return replace(traits, precision=precision, winograd_f32=winograd)
    row = replace(
        traits,
        precision=precision,
        unit_f32=_UNIT,
        stem={dtype: tiles for dtype, tiles in traits.stem.items() if dtype != "f32"},
        conv_f32=CUDA.conv_f32,
        winograd_f32=(),
    )
    if precision == "ieee":
        return row
    prices = traits.prices_f32
    dearer = {
        name: _FASTER * getattr(prices, name)
        for name in ("balance", "exchange", "wide", "channels", "scattered")
    }
    halved = {t._replace(reduction=t.reduction // 2): most for t, most in traits.conv.items()}
    rows = (t._replace(reduction=t.reduction // 2) for t in traits.linear if t.rows > 1)
    return replace(
        row,
        conv_f32={t: most for t, most in halved.items() if t.reduction >= 16 and t.pixels < 256},
        linear_f32=(*rows, *(tile for tile in traits.linear_f32 if tile.rows == 1)),
        prices_f32=prices._replace(**dearer),
    )
