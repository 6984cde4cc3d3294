"""Norms by a tensor's own statistics, against PyTorch's functions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn import errors, ir, ops

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 3, 4))
MEAN, VAR, WEIGHT, BIAS = (RNG.uniform(0.5, 1.5, 6) for _ in range(4))


def check(function, torchs, *args, **kwargs):
    y = function(gx.input("x", X.shape, "float64"), *args, name="y", **kwargs)
    got = ir.evaluate(gx.graph("g", y), {"x": X})["y"]
    args, kwargs = (_tensors(given) for given in (args, kwargs))
    wanted = torchs(torch.from_numpy(X), *args, **kwargs).numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    assert got.std() > 0.1


def _tensors(given):
    if isinstance(given, dict):
        return dict(zip(given, _tensors(given.values()), strict=True))
    return [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in given]


@pytest.mark.parametrize("affine", [{}, {"weight": WEIGHT}, {"bias": BIAS}])
def test_weight_and_bias_may_be_left_out(affine):
    check(gx.group_norm, F.group_norm, 3, **affine, eps=0.1)
    check(gx.instance_norm, F.instance_norm, **affine, eps=0.1)
    columns = {role: vector[:4] for role, vector in affine.items()}
    check(gx.layer_norm, F.layer_norm, [4], **columns, eps=0.1)


def test_positions_are_those_of_torch():
    check(gx.group_norm, F.group_norm, 2, WEIGHT, BIAS, 1e-3)
    check(gx.instance_norm, F.instance_norm, MEAN.copy(), VAR.copy(), WEIGHT, BIAS)
    check(gx.layer_norm, F.layer_norm, (3, 4), X[0, 0].copy(), X[0, 1].copy(), 1e-3)
    assert gx.layer_norm(gx.input("x", X.shape), 4).op == ops.LayerNorm((4,))


def test_running_statistics_are_a_batch_norms():
    check(gx.instance_norm, F.instance_norm, MEAN, VAR, WEIGHT, BIAS, use_input_stats=False)
    x = gx.input("x", X.shape)
    assert gx.instance_norm(x, MEAN, VAR, use_input_stats=False).op == ops.BatchNorm()
    with pytest.raises(errors.InvalidAttribute, match="running ones") as caught:
        gx.instance_norm(x, MEAN, use_input_stats=False)
    assert "test_norms.py" in caught.value.where
    with pytest.raises(errors.InvalidAttribute, match="is a flag"):
        gx.instance_norm(x, use_input_stats=1)
