"""Philox against its authors' answers, what is drawn from it, and what passes must not do to it."""

import numpy as np
import pytest

import graphcnn as gx
from graphcnn.ir import CompileLog, DType, TensorType, rebatch, with_he_weights
from graphcnn.ops import RandomNormal, RandomUniform
from graphcnn.ops.random import philox
from graphcnn.passes import default_pipeline, run_passes

MILLION = np.broadcast_to(0.0, (1000, 1000))

# Of Random123 1.14.0, tests/kat_vectors: counters whose high half is 0.
ANSWERS = [
    (0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
]


@pytest.mark.parametrize(("seed", "counter", "words"), ANSWERS)
def test_known_answers(seed, counter, words):
    got = philox(seed, np.array([counter], np.uint64))
    assert tuple(int(word[0]) for word in got) == words


def test_moments_of_uniform_numbers():
    """Within five standard deviations of what a million draws are expected to have."""
    u = RandomUniform(1).reference(MILLION)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 * (1 / 12 / u.size) ** 0.5
    assert abs(u.var() - 1 / 12) < 5 * (1 / 180 / u.size) ** 0.5
    counts = np.bincount((u.ravel() * 100).astype(int), minlength=100)
    # Chi-square of 99 degrees of freedom.
    assert abs(((counts - 1e4) ** 2 / 1e4).sum() - 99) < 5 * (2 * 99) ** 0.5


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (1, 0), (2**40 + 7, 2**50)])
def test_moments_of_normal_numbers(seed, offset):
    check_moments(RandomNormal(seed, offset).reference(MILLION))


def check_moments(x):
    """Mean, variance, skewness and kurtosis, within five standard deviations each."""
    x = np.asarray(x, np.float64).ravel()
    z = (x - x.mean()) / x.std()
    assert abs(x.mean()) < 5 * (1 / x.size) ** 0.5
    assert abs(x.var() - 1) < 5 * (2 / x.size) ** 0.5
    assert abs((z**3).mean()) < 5 * (6 / x.size) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (24 / x.size) ** 0.5


def test_streams_of_different_seeds_are_not_alike():
    draws = [RandomNormal(seed, offset).reference(MILLION) for seed, offset in ((1, 0), (2, 0))]
    assert abs(np.corrcoef(*(draw.ravel() for draw in draws))[0, 1]) < 5 / 1000


def test_an_offset_goes_on_where_another_ends():
    whole = RandomUniform(3).reference(np.zeros((4, 6)))
    rest = RandomUniform(3, 12).reference(np.zeros((2, 6)))
    np.testing.assert_array_equal(rest, whole[2:])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_numbers_stay_below_1_in_every_dtype(dtype):
    x = gx.input("x", (1000, 1000), dtype)
    op = gx.graph("g", gx.random_uniform(x, 5, name="u"))["u"].op
    drawn = op.reference(MILLION)
    held = DType.of(dtype).round(drawn)
    np.testing.assert_array_equal(held.astype(np.float64), drawn)
    assert 0.99 < held.max() < 1


def vae():
    """Two equal draws, one of a param's shape, one that nothing reads."""
    mu = gx.input("mu", (2, 5))
    same = [gx.random_normal(mu, 1, name=name) for name in ("first", "second")]
    gx.random_normal(mu, 2, name="dead")
    constant = gx.random_normal(gx.param("p", (2, 5)), 1, name="constant")
    return gx.graph("g", [mu + same[0] * same[1] + constant, gx.relu(same[0])])


def simplified(graph):
    log = CompileLog()
    return run_passes(graph, default_pipeline(), log), log


def test_draws_are_not_merged_folded_fused_or_moved():
    graph = with_he_weights(vae(), 0)
    made, _ = simplified(graph)
    names = [node.name for node in graph.nodes if isinstance(node.op, RandomNormal)]
    assert names == ["first", "second", "constant"]
    drawn = [node for node in made.nodes if isinstance(node.op, RandomNormal)]
    assert [node.name for node in drawn] == names
    assert [node.inputs for node in drawn] == [("mu",), ("mu",), ("p",)]


def test_a_draw_behind_a_convolution_is_a_step_of_its_own():
    x = gx.input("x", (1, 2, 4, 4))
    h = gx.conv2d(x, np.ones((3, 2, 1, 1)), name="conv")
    graph = gx.graph("g", gx.relu(h) + gx.random_normal(h, 1, name="eps"))
    made, _ = simplified(graph)
    assert made["eps"].name == "eps"
    assert made["eps"].members == (made["eps"],)


def test_a_sample_draws_the_same_at_every_batch_size():
    graph = gx.graph("g", gx.random_normal(gx.input("x", (2, 3, 4)), 1, name="eps"))
    op = rebatch(graph, 5)["eps"].op
    assert rebatch(graph, 5).type_of("eps") == TensorType((5, 3, 4))
    few, many = (op.reference(np.zeros((n, 3, 4))) for n in (2, 5))
    np.testing.assert_array_equal(few, many[:2])


def test_it_is_a_method_of_tensors():
    x = gx.input("x", (2, 3), "float16")
    assert x.random_normal(seed=3).shape == (2, 3)
    assert x.random_uniform(3, np.int64(4)).op == RandomUniform(3, 4, 11)
