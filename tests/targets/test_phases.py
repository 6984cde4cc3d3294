"""Transposed convolutions as plain ones: every geometry, tails, what no kernel holds."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphcnn as gx
from graphcnn.ir import Fused
from graphcnn.ops import ConvTranspose2d
from graphcnn.targets.phases import phases

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (2, 1), (3, 0), (5, 4)])
def test_phases_cover_each_output_once_and_each_product(stride, dilation, kernel, padding):
    """Summed over its taps, each output is what torch makes of the same line."""
    x, w = RNG.standard_normal(7), RNG.standard_normal(kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    wanted = F.conv_transpose1d(
        torch.from_numpy(x)[None, None], torch.from_numpy(w)[None, None], **options
    )[0, 0].numpy()
    op = ConvTranspose2d((stride, 1), (padding, 0), (0, 0), (dilation, 1))
    got = np.full(len(wanted), np.nan)
    for phase, one in phases(op, (kernel, 1), (len(wanted), 1)):
        assert (one.start, one.count, one.taps) == (0, 1, (0,))
        for j in range(phase.count):
            at = phase.start + phase.stride * j
            assert np.isnan(got[at])
            reads = [j + t * phase.dilation - phase.padding for t in range(len(phase.taps))]
            got[at] = sum(w[r] * x[i] for r, i in zip(phase.taps, reads, strict=True) if 0 <= i < 7)
    np.testing.assert_allclose(got, wanted, 1e-12, 1e-12)


def up(x, filters, **options):
    weight = RNG.standard_normal((x.shape[1], filters, 4, 4), np.float32)
    return gx.conv_transpose2d(x, weight, stride=2, padding=1, name="up", **options)


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_tail_is_computed_where_each_phase_lies(dtype):
    """Bias, a batch norm, a residual of the full size and an activation: kernels, no copy."""
    x, skip = gx.input("x", (2, 8, 5, 6), dtype), gx.input("skip", (2, 6, 10, 12), dtype)
    bias, mean, beta = RNG.standard_normal((3, 6), np.float32)
    var, gamma = RNG.uniform(0.5, 2, (2, 6)).astype(np.float32)
    h = gx.batch_norm(up(x, 6, bias=bias), mean, var, gamma, beta)
    net = gx.graph("g", gx.relu(h + gx.tanh(skip)))
    model = gx.compile(net)
    images = {name: RNG.standard_normal(net.type_of(name).shape) for name in ("x", "skip")}
    images = {name: image.astype(dtype) for name, image in images.items()}
    verdict = gx.verify(model, **images)
    assert verdict.ok, verdict
    fused = [node for node in model.graph.nodes if isinstance(node.op, Fused)]
    assert [len(node.members) for node in fused] == [3]


def test_no_kernel_pools_what_phases_compute():
    net = gx.graph("g", gx.max_pool2d(up(gx.input("x", (1, 2, 4, 4)), 3), 2, name="pool"))
    assert "pixel in so many" in str(gx.explain(gx.compile(net)))


def test_batch_norm_folds_unless_groups_share_the_filter_axis():
    x = gx.input("x", (1, 4, 3, 3))
    for groups, folded in ((1, True), (2, False)):
        ones = np.arange(1, 1 + 3 * groups, dtype=np.float32)
        norm = gx.batch_norm(up(x, 3, groups=groups), ones, ones, ones, ones)
        model = gx.compile(gx.graph("g", norm), target="numpy")
        names = {member.op.name for node in model.graph.nodes for member in node.members}
        assert ("batch_norm" not in names) == folded
        assert gx.verify(model, x=RNG.standard_normal((1, 4, 3, 3), np.float32)).ok
