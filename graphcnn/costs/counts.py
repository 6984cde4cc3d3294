"""Registers and instructions of kernels, as a compiler made them: `python -m bench.kernel_counts`.

By capability, dtype (that of half precision for both) and tile, in the order of its fields. Those
with scattered addresses are of channels that no block divides. Triton 3.9.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Count(NamedTuple):
    """What a kernel takes.

    Attributes:
        registers: Of a thread.
        step: Instructions of a warp for each step of the loop.
        around: Those before and behind the loop.
    """

    registers: int
    step: int
    around: int


Counted = Mapping[tuple[int, str, str], Count]

# 8.9 has the code of 8.6.
COUNTS: Counted = {
    (80, "f16", "128x256x64x8x3"): Count(254, 298, 1570),
    (80, "f16", "128x128x64x8x3"): Count(128, 173, 836),
    (80, "f16", "128x128x32x8x3"): Count(124, 107, 616),
    (80, "f16", "128x64x32x8x3"): Count(80, 82, 400),
    (80, "f16", "128x64x32x8x3 scattered"): Count(128, 251, 1007),
    (80, "f16", "64x128x64x4x3"): Count(168, 201, 1296),
    (80, "f16", "64x128x32x8x3"): Count(78, 99, 484),
    (80, "f16", "64x128x32x4x3"): Count(128, 122, 843),
    (80, "f16", "64x64x64x4x3"): Count(102, 132, 702),
    (80, "f16", "64x64x32x4x3"): Count(80, 97, 493),
    (80, "f16", "64x64x32x4x3 scattered"): Count(168, 320, 1583),
    (80, "f16", "64x64x16x4x3"): Count(70, 67, 397),
    (80, "f16", "64x64x16x4x3 scattered"): Count(96, 179, 948),
    (80, "f16", "64x16x128x4x4"): Count(72, 111, 437),
    (80, "f16", "32x128x64x4x3"): Count(120, 157, 1043),
    (80, "f16", "32x64x32x4x3"): Count(56, 89, 360),
    (80, "f16", "32x64x32x4x3 scattered"): Count(72, 159, 355),
    (80, "f16", "32x32x128x4x4"): Count(64, 116, 595),
    (80, "f32", "128x64x16x8x3"): Count(92, 436, 406),
    (80, "f32", "128x64x16x8x3 scattered"): Count(126, 511, 749),
    (80, "f32", "64x64x16x4x3"): Count(94, 448, 497),
    (80, "f32", "64x64x16x4x3 scattered"): Count(168, 570, 1216),
    (80, "f32", "32x64x16x4x3"): Count(80, 274, 393),
    (80, "f32", "32x64x16x4x3 scattered"): Count(123, 395, 989),
    (80, "f32", "32x16x64x4x4"): Count(152, 481, 381),
    (80, "f32", "16x32x64x4x4"): Count(118, 376, 528),
    (86, "f16", "128x128x64x8x3"): Count(128, 181, 841),
    (86, "f16", "128x128x32x8x3"): Count(121, 126, 636),
    (86, "f16", "128x64x32x8x3"): Count(76, 102, 406),
    (86, "f16", "128x64x32x8x3 scattered"): Count(115, 272, 1015),
    (86, "f16", "64x128x64x4x3"): Count(168, 209, 1303),
    (86, "f16", "64x128x32x8x3"): Count(75, 108, 493),
    (86, "f16", "64x128x32x4x3"): Count(128, 131, 857),
    (86, "f16", "64x64x64x4x3"): Count(96, 140, 711),
    (86, "f16", "64x64x32x4x3"): Count(77, 106, 495),
    (86, "f16", "64x64x32x4x3 scattered"): Count(139, 362, 1625),
    (86, "f16", "64x64x16x4x3"): Count(60, 87, 405),
    (86, "f16", "64x64x16x4x3 scattered"): Count(96, 197, 959),
    (86, "f16", "64x16x128x4x4"): Count(72, 120, 439),
    (86, "f16", "32x128x64x4x3"): Count(120, 166, 1079),
    (86, "f16", "32x64x32x4x3"): Count(48, 98, 366),
    (86, "f16", "32x64x32x4x3 scattered"): Count(56, 198, 345),
    (86, "f16", "32x32x128x4x4"): Count(72, 125, 622),
    (86, "f32", "128x64x16x8x3"): Count(94, 451, 409),
    (86, "f32", "128x64x16x8x3 scattered"): Count(125, 487, 774),
    (86, "f32", "64x64x16x4x3"): Count(94, 462, 505),
    (86, "f32", "64x64x16x4x3 scattered"): Count(128, 557, 1244),
    (86, "f32", "32x64x16x4x3"): Count(72, 290, 403),
    (86, "f32", "32x64x16x4x3 scattered"): Count(96, 362, 1094),
    (86, "f32", "32x16x64x4x4"): Count(152, 489, 383),
    (86, "f32", "16x32x64x4x4"): Count(113, 385, 535),
    (90, "f16", "128x256x64x8x3"): Count(194, 153, 1591),
    (90, "f16", "128x128x64x8x3"): Count(114, 124, 828),
    (90, "f16", "128x128x32x8x3"): Count(98, 93, 618),
    (90, "f16", "128x64x64x4x4"): Count(128, 141, 910),
    (90, "f16", "128x64x32x8x3"): Count(58, 97, 374),
    (90, "f16", "128x64x32x8x3 scattered"): Count(127, 236, 929),
    (90, "f16", "64x128x64x4x3"): Count(128, 151, 1256),
    (90, "f16", "64x128x32x8x3"): Count(58, 101, 453),
    (90, "f16", "64x128x32x4x3"): Count(94, 117, 827),
    (90, "f16", "64x64x64x4x3"): Count(80, 121, 667),
    (90, "f16", "64x64x32x4x3"): Count(62, 91, 453),
    (90, "f16", "64x64x32x4x3 scattered"): Count(168, 304, 1764),
    (90, "f16", "64x64x16x4x3"): Count(58, 79, 362),
    (90, "f16", "64x64x16x4x3 scattered"): Count(96, 177, 940),
    (90, "f16", "64x32x64x4x5"): Count(48, 118, 436),
    (90, "f16", "64x16x128x4x4"): Count(56, 138, 426),
    (90, "f16", "32x32x128x4x4"): Count(80, 126, 594),
    (90, "f32", "128x64x32x4x3"): Count(248, 593, 994),
    (90, "f32", "128x64x16x8x3"): Count(116, 263, 435),
    (90, "f32", "128x64x16x8x3 scattered"): Count(119, 339, 809),
    (90, "f32", "64x128x32x4x3"): Count(222, 617, 1345),
    (90, "f32", "64x64x32x4x3"): Count(130, 402, 754),
    (90, "f32", "64x64x16x4x3"): Count(102, 287, 531),
    (90, "f32", "64x64x16x4x3 scattered"): Count(148, 387, 1252),
    (90, "f32", "64x32x32x4x4"): Count(94, 296, 469),
    (90, "f32", "32x16x64x4x4"): Count(154, 490, 401),
    (90, "f32", "16x32x64x4x4"): Count(111, 386, 551),
    (100, "f16", "128x256x64x8x3"): Count(188, 158, 1878),
    (100, "f16", "128x128x64x8x3"): Count(98, 129, 1034),
    (100, "f16", "128x128x32x8x3"): Count(100, 101, 800),
    (100, "f16", "128x64x32x8x3"): Count(46, 96, 521),
    (100, "f16", "128x64x32x8x3 scattered"): Count(80, 438, 1113),
    (100, "f16", "64x128x64x4x3"): Count(92, 159, 1522),
    (100, "f16", "64x128x32x8x3"): Count(48, 101, 660),
    (100, "f16", "64x128x32x4x3"): Count(79, 116, 983),
    (100, "f16", "64x64x64x4x3"): Count(61, 140, 868),
    (100, "f16", "64x64x32x4x3"): Count(49, 101, 614),
    (100, "f16", "64x64x32x4x3 scattered"): Count(115, 485, 1821),
    (100, "f16", "64x64x16x4x3"): Count(49, 88, 504),
    (100, "f16", "64x64x16x4x3 scattered"): Count(87, 381, 1095),
    (100, "f16", "64x16x128x4x4"): Count(48, 155, 665),
    (100, "f16", "32x32x128x4x4"): Count(80, 121, 591),
    (100, "f32", "128x64x16x8x3"): Count(80, 513, 364),
    (100, "f32", "128x64x16x8x3 scattered"): Count(104, 553, 733),
    (100, "f32", "64x64x32x4x3"): Count(114, 546, 801),
    (100, "f32", "64x64x16x8x3"): Count(48, 334, 325),
    (100, "f32", "64x64x16x8x3 scattered"): Count(74, 350, 678),
    (100, "f32", "32x64x16x4x3"): Count(78, 291, 416),
    (100, "f32", "32x64x16x4x3 scattered"): Count(103, 365, 1054),
    (100, "f32", "64x64x16x4x3"): Count(86, 517, 471),
    (100, "f32", "32x16x64x4x4"): Count(154, 483, 391),
    (100, "f32", "16x32x64x4x4"): Count(115, 380, 546),
    (120, "f16", "128x128x64x8x3"): Count(132, 177, 860),
    (120, "f16", "128x128x32x8x3"): Count(118, 121, 666),
    (120, "f16", "128x64x32x8x3"): Count(74, 98, 402),
    (120, "f16", "128x64x32x8x3 scattered"): Count(128, 285, 1023),
    (120, "f16", "64x128x64x4x3"): Count(168, 205, 1310),
    (120, "f16", "64x128x32x8x3"): Count(76, 101, 476),
    (120, "f16", "64x128x32x4x3"): Count(130, 131, 836),
    (120, "f16", "64x64x64x4x3"): Count(100, 137, 692),
    (120, "f16", "64x64x32x4x3"): Count(76, 99, 485),
    (120, "f16", "64x64x32x4x3 scattered"): Count(138, 374, 1613),
    (120, "f16", "64x64x16x4x3"): Count(62, 84, 391),
    (120, "f16", "64x64x16x4x3 scattered"): Count(95, 205, 970),
    (120, "f16", "64x16x128x4x4"): Count(64, 123, 418),
    (120, "f16", "32x128x64x4x3"): Count(105, 162, 1098),
    (120, "f16", "32x64x32x4x3"): Count(56, 87, 374),
    (120, "f16", "32x64x32x4x3 scattered"): Count(64, 190, 363),
    (120, "f16", "32x32x128x4x4"): Count(72, 125, 576),
    (120, "f32", "128x64x16x8x3"): Count(128, 432, 440),
    (120, "f32", "128x64x16x8x3 scattered"): Count(128, 523, 823),
    (120, "f32", "64x64x16x4x3"): Count(106, 486, 534),
    (120, "f32", "64x64x16x4x3 scattered"): Count(144, 603, 1295),
    (120, "f32", "32x64x16x4x3"): Count(74, 286, 427),
    (120, "f32", "32x64x16x4x3 scattered"): Count(104, 373, 1090),
    (120, "f32", "32x16x64x4x4"): Count(152, 498, 393),
    (120, "f32", "16x32x64x4x4"): Count(113, 393, 566),
}
