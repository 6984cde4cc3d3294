import pytest
import torch

from graphcnn.kernels import CPU, LinearTile, linear
from tests.kernels.buffers import RELU, Output, chain, product_bound, randn, stage, view_of

TILES = {
    "dot": LinearTile(32, 16, 16),
    "matrix-vector": LinearTile(8, 1, 64),
}


def in_panels(w, width):
    features, reduction = w.shape
    whole = torch.zeros(-(-features // width) * width, reduction, dtype=w.dtype)
    whole[:features] = w
    return whole.view(-1, width, reduction).transpose(1, 2).contiguous()


def check(
    run, rows, features, reduction, tile, *, dtype="f32", bias=True, reduction_major=True, panel=0
):
    x = randn(rows, reduction, dtype=dtype, seed=1)
    w = randn(features, reduction, dtype=dtype, seed=2)
    if not reduction_major:
        w = w.t().contiguous().t()
    b = randn(features, dtype=dtype, seed=3) if bias else None
    tail = (stage("add", view_of(randn(rows, features, dtype=dtype, seed=4))), RELU)
    want, sizes = x.double() @ w.double().t(), x.double().abs() @ w.double().abs().t()
    if b is not None:
        want, sizes = want + b.double(), sizes + b.double().abs()
    values = chain(want, product_bound(reduction, sizes), tail, exports=(0, 2), dtype=dtype)
    outputs = [Output((rows, features), dtype) for _ in range(2)]
    views = [o.view for o in outputs]
    bias_view = None if b is None else view_of(b)
    packed, counted = (in_panels(w, panel), {"features": features}) if panel else (w, {})
    run(
        linear(
            view_of(x),
            view_of(packed),
            bias_view,
            views,
            tail=tail,
            exports=(0, 2),
            tile=tile,
            **counted,
        )
    )
    outputs[0].check(*values[0])
    outputs[1].check(*values[2])


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(("rows", "tile"), [(1, "matrix-vector"), (1, "dot"), (5, "dot")])
def test_dtypes(run, rows, tile, dtype):
    check(run, rows, 37, 100, TILES[tile], dtype=dtype)


@pytest.mark.parametrize("rows", [1, 2, 19, 70])
@pytest.mark.parametrize(
    "tile", [t for t in CPU.linear_tiles("f32") if t.rows > 1 and t.reduction in (4, 64)]
)
def test_panels_serve_any_number_of_rows(run, tile, rows):
    check(run, rows, 70, 192, tile, bias=False, panel=CPU.panel)


@pytest.mark.parametrize("tile", TILES.values(), ids=TILES)
def test_weight_may_be_stored_either_way(run, tile):
    check(run, 1, 16, 64, tile, reduction_major=False)


def test_matrix_vector_tile_refuses_more_rows():
    x, w = view_of(randn(2, 8)), view_of(randn(4, 8))
    with pytest.raises(ValueError, match="cannot serve"):
        linear(x, w, None, [view_of(randn(2, 4))], tile=TILES["matrix-vector"])


def test_refuses_a_weight_of_another_length():
    x, w = view_of(randn(2, 8)), view_of(randn(4, 9))
    with pytest.raises(ValueError, match="does not fit"):
        linear(x, w, None, [view_of(randn(2, 4))], tile=TILES["dot"])
