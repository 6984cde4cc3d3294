import pytest
import torch

from graphcnn.kernels import Refused, Stage, pointwise, stages
from tests.kernels.buffers import RELU, Output, chain, randn, stage, view_of

SCALE = stage("mul", view_of(randn(1, 70, 1, 1, seed=1)))
SHIFT = stage("add", view_of(randn(2, 70, 1, 1, seed=2)))


@pytest.mark.parametrize("layouts", [("nhwc", "nhwc"), ("nchw", "nhwc"), ("nhwc", "nchw")])
def test_chain_with_broadcast_operands(run, layouts):
    x = randn(2, 70, 5, 6, layout=layouts[0])
    tail = (SCALE, SHIFT, stage("add", view_of(randn(2, 70, 5, 6, seed=3))), RELU)
    y = Output(x.shape, "f32", layouts[1])
    run(pointwise(view_of(x), y.view, tail))
    y.check(*chain(x.double(), torch.zeros(()), tail)[-1])


@pytest.mark.parametrize("shape", [(7,), (3, 1), (1, 1, 1, 1), (2, 3, 70), (3, 4, 1, 2)])
def test_shapes(run, shape):
    x = randn(*shape, layout="nchw")
    tail = (stage("silu"),)
    y = Output(shape, "f32", "nchw")
    run(pointwise(view_of(x), y.view, tail))
    y.check(*chain(x.double(), torch.zeros(()), tail)[-1])


def test_input_broadcasts_too(run):
    x, tail = randn(1, 5, 1, 1), (stage("add", view_of(randn(2, 5, 3, 4))),)
    y = Output((2, 5, 3, 4))
    run(pointwise(view_of(x), y.view, tail))
    y.check(*chain(x.double(), torch.zeros(()), tail)[-1])


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision(run, dtype):
    x = randn(2, 7, 5, 3, dtype=dtype, layout="nchw")
    operand = stage("mul", view_of(randn(1, 7, 1, 1, dtype=dtype, seed=1)))
    tail = (operand, stage("tanh"))
    y = Output(x.shape, dtype)
    run(pointwise(view_of(x), y.view, tail))
    y.check(*chain(x.double(), torch.zeros(()), tail)[-1])


def test_refuses_what_does_not_broadcast():
    x, y = view_of(randn(2, 3)), view_of(randn(2, 4))
    with pytest.raises(ValueError, match="does not broadcast"):
        pointwise(x, y, ())


def test_a_stage_reads_any_earlier_values(run):
    x = randn(2, 5, 3, 4)
    tail = (stage("tanh"), Stage(stages.sigmoid, (0,)), Stage(stages.mul, (1, 2)), stage("silu"))
    y = Output(x.shape)
    run(pointwise(view_of(x), y.view, tail))
    y.check(*chain(x.double(), torch.zeros(x.shape), tail)[-1])


def test_refuses_more_than_four_dimensions():
    x = view_of(torch.randn(2, 3, 2, 3, 2).permute(4, 3, 2, 1, 0))
    with pytest.raises(Refused, match="at most four dimensions"):
        pointwise(x, view_of(torch.randn(x.shape)), (RELU,))
