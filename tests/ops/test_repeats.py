"""Interpolations that repeat elements."""

import pytest

from graphcnn.ir import TensorType
from graphcnn.ops import Interpolate


@pytest.mark.parametrize(
    ("op", "counts"),
    [
        (Interpolate(scale_factor=(2.0, 3.0)), (2, 3)),
        (Interpolate(size=(5, 18)), (1, 3)),
        (Interpolate(size=(10, 13)), None),
        (Interpolate(size=(3, 6)), None),
        (Interpolate(scale_factor=(2.0, 2.5)), None),
        (Interpolate(scale_factor=(2.0, 2.0), mode="bilinear"), None),
        # In float32 1/41 is below a 41st: element 1 stands from place 42 on.
        (Interpolate(scale_factor=(2.0, 41.0)), None),
    ],
    ids=str,
)
def test_repeats(op: Interpolate, counts: tuple[int, ...] | None) -> None:
    assert op.repeats(TensorType((1, 1, 5, 6))) == counts
