"""Average pools folded into the convolution before them: when, when not and why."""

from __future__ import annotations

import pytest

from graphcnn.passes import FoldAveragePool
from tests.passes.before_after import becomes, declines

SOURCES = """
  input x: f64[1,4,12,11]
  input v: f64[1,4,20]
  param w: f64[4,4,3,3]
  param d: f64[4,1,3,3]
  param l: f64[6,4,3]
  param b: f64[4]
"""


@pytest.mark.parametrize(
    ("conv", "pool", "merged", "taps"),
    [
        (
            "h: f64[1,4,10,9] = conv2d(x, w, b)",
            "y: f64[1,4,5,4] = avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2))",
            "y: f64[1,4,5,4] = conv2d(x, y.averaged_weight, b, stride=(2, 2))",
            "4,4,4,4",
        ),
        (
            "h: f64[1,4,12,11] = conv2d(x, w, b, padding=(1, 1, 1, 1))",
            "y: f64[1,4,4,3] = avg_pool2d(h, kernel_size=(3, 3), stride=(3, 3))",
            "y: f64[1,4,4,3] = conv2d(x, y.averaged_weight, b, stride=(3, 3), "
            "padding=(1, 1, 1, 1))",
            "4,4,5,5",
        ),
        (
            "h: f64[1,4,12,11] = conv2d(x, d, padding=(1, 1, 1, 1), groups=4)",
            "y: f64[1,4,6,5] = avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2))",
            "y: f64[1,4,6,5] = conv2d(x, y.averaged_weight, stride=(2, 2), "
            "padding=(1, 1, 1, 1), groups=4)",
            "4,1,4,4",
        ),
        (
            "h: f64[1,4,8,7] = conv2d(x, w, dilation=(2, 2))",
            "y: f64[1,4,4,4] = avg_pool2d(h, kernel_size=(2, 1), stride=(2, 2))",
            "y: f64[1,4,4,4] = conv2d(x, y.averaged_weight, stride=(2, 2), dilation=(1, 2))",
            "4,4,6,3",
        ),
        (
            "h: f64[1,6,8] = conv1d(v, l, stride=(2,), dilation=(2,))",
            "y: f64[1,6,3] = avg_pool1d(h, kernel_size=(3,), stride=(2,))",
            "y: f64[1,6,3] = conv1d(v, y.averaged_weight, stride=(4,), dilation=(2,))",
            "6,4,5",
        ),
    ],
    ids=["2x2", "padded", "depthwise", "gaps", "one dimension"],
)
def test_one_convolution_of_fewer_products(conv: str, pool: str, merged: str, taps: str) -> None:
    body = f"{conv}\n{pool}\nreturn y"
    more = f"param y.averaged_weight: f64[{taps}]"
    log = becomes(FoldAveragePool(), body, f"{merged}\nreturn y", SOURCES, more)
    assert log.survivor("h") == "y"


CONV = "h: f64[1,4,10,9] = conv2d(x, w)"
POOL = "y: f64[1,4,5,4] = avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2))"


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (f"{CONV}\n{POOL}\nreturn y, h", ["'h' is also read by others [h]"]),
        (
            f"{CONV}\ny: f64[1,4,6,5] = avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2), "
            "padding=(1, 1, 1, 1))\nreturn y",
            ["at the border its windows average fewer products than inside"],
        ),
        (
            f"{CONV}\ny: f64[1,4,5,5] = avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2), "
            "ceil_mode=True)\nreturn y",
            ["at the border its windows average fewer products than inside"],
        ),
        (
            f"{CONV}\ny: f64[1,4,8,7] = avg_pool2d(h, kernel_size=(3, 3), stride=(1, 1))\nreturn y",
            ["1,400 products of each two channels, against 810 before the pool [h]"],
        ),
        (
            f"{CONV}\nr: f64[1,4,10,9] = relu(h)\n{POOL.replace('(h', '(r')}\nreturn y",
            [],
        ),
        (f"{CONV}\n{POOL.replace('avg', 'max')}\nreturn y", []),
    ],
    ids=["read elsewhere", "padding", "ceil mode", "more products", "relu between", "max"],
)
def test_refusals(body: str, reasons: list[str]) -> None:
    found = declines(FoldAveragePool(), body, SOURCES)
    assert found == [f"fold-average-pool: y: {reason}" for reason in reasons]
