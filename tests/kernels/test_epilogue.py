import pytest

from graphcnn.kernels import Pool, Stage, commute_pool, normalize_channels, stages, tail_refusal
from tests.kernels.buffers import RELU, randn, stage, view_of

MAX2 = Pool("max", (2, 2))
BIAS = stage("add", view_of(randn(1, 8, 1, 1)))
RESIDUAL = stage("add", view_of(randn(2, 8, 6, 6)))
SCALE = stage("mul", view_of(randn(1, 8, 1, 1)))
LEAKY = stage("leaky_relu", param=0.1)


def names(tail):
    return [step.kind if isinstance(step, Pool) else step.fn.__name__ for step in tail]


@pytest.mark.parametrize(
    ("tail", "exports", "order"),
    [
        ((RELU, MAX2), (2,), ["max", "relu"]),
        ((BIAS, LEAKY, MAX2, RELU), (4,), ["max", "add", "leaky_relu", "relu"]),
        ((RESIDUAL, RELU, MAX2), (3,), ["add", "max", "relu"]),
        ((RELU, LEAKY, MAX2), (1, 3), ["relu", "max", "leaky_relu"]),
        ((RELU, MAX2), (1, 2), ["relu", "max"]),
        ((SCALE, MAX2), (2,), ["mul", "max"]),
        ((stage("silu"), MAX2), (2,), ["silu", "max"]),
        ((stage("leaky_relu", param=-1.0), MAX2), (2,), ["leaky_relu", "max"]),
        ((RELU, Pool("avg", (2, 2))), (2,), ["relu", "avg"]),
        ((stage("tanh"), Stage(stages.mul, (0, 1)), MAX2), (3,), ["tanh", "mul", "max"]),
        ((RELU, Stage(stages.sigmoid, (0,), (), True), MAX2), (1, 3), ["relu", "max", "sigmoid"]),
        ((RELU, stage("silu"), Pool("max", (2, 2), (1,))), (2, 3), ["relu", "silu", "max"]),
        ((RELU,), (1,), ["relu"]),
        ((), (0,), []),
    ],
)
def test_commute_pool(tail, exports, order):
    assert names(commute_pool(tail, exports)) == order


@pytest.mark.parametrize(
    ("tail", "size", "step", "reason"),
    [
        ((RELU, MAX2), None, 1, "no pixels to pool"),
        ((MAX2, RELU, MAX2), (8, 8), 2, "at most one pool"),
        ((RELU, MAX2, Stage(stages.add, (-1, 1))), (8, 8), 2, "from before the kernel's pool"),
        ((RELU, MAX2), (1, 8), 1, "no whole window"),
    ],
)
def test_tail_refusal(tail, size, step, reason):
    refused = tail_refusal(tail, size)
    assert reason in refused.because
    assert refused.step == step


def test_what_tiles_compute_twice_is_not_stored():
    tail = (RELU, Pool("max", (3, 3), stride=(2, 2)), RELU)
    assert tail_refusal(tail, (8, 8), (2, 3)) is None
    refused = tail_refusal(tail, (8, 8), (1, 3))
    assert "stored before them" in refused.because
    assert refused.step == 1


@pytest.mark.parametrize(
    ("size", "channels", "groups", "reason"),
    [
        ((8, 8), 96, 1, None),
        ((8, 8), 256, 1, "a tile holds 128 of the 256"),
        ((8, 8), 256, 2, "a tile holds 128 of the 256"),
        ((8, 8), 96, 4, "a tile holds 24 of the 96"),
        (None, 96, 1, "a linear layer has none"),
    ],
)
def test_a_tile_holds_the_channels_that_are_brought_together(size, channels, groups, reason):
    norm = Stage(normalize_channels, across=True)
    refused = tail_refusal((RELU, norm), size, (2,), channels, groups)
    assert (refused is None) if reason is None else (reason in refused.because)


def test_any_tail_without_a_pool_is_taken():
    tail = (RELU, RESIDUAL, Stage(stages.mul, (0, 2)), stage("silu"))
    assert tail_refusal(tail, None) is None
    assert tail_refusal((*tail, MAX2, RESIDUAL), (6, 6)) is None
