"""Tiles of the forms of a convolution that serve some layers only."""

from .tile import ConvTile, Pressure

# Each with the highest pressure it bears without spills, which tests/kernels/test_gpu_compile.py
# holds. A block of 32 divides the runs of 5 to 8 taps, one of 16 any; that one has more stages, as
# its steps are short: the three of a filter of three rows are all copied at once. Where a block is
# of 32 x 16 weights, two warps copy 16 bytes a thread.
_STEM_HALF = {
    ConvTile(128, 128, 32, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(32, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(128, 128, 16, 8, 4): Pressure.NORMAL,
    ConvTile(64, 128, 16, 4, 4): Pressure.NORMAL,
    ConvTile(64, 64, 16, 4, 4): Pressure.HIGH,
    ConvTile(32, 64, 16, 2, 4): Pressure.NORMAL,
}
_STEM_F32 = {
    ConvTile(128, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
    ConvTile(32, 64, 16, 4, 3): Pressure.HIGH,
}
STEM = {"f32": _STEM_F32, "f16": _STEM_HALF, "bf16": _STEM_HALF}
# Of convolutions that read blocks of 64 channels by tensor descriptors, on 9.0 and newer.
BOX = {
    ConvTile(128, 256, 64, 8, 3): Pressure.LOW,
    ConvTile(128, 128, 64, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 64, 4, 4): Pressure.NORMAL,
}
# On 12.0 the widest one fills what a multiprocessor has.
BOX_SMALL = {tile: most for tile, most in BOX.items() if tile.pixels < 256}
