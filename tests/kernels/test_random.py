import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from graphcnn.kernels import Launch, random_normal, random_uniform
from graphcnn.ops import RandomNormal, RandomUniform
from graphcnn.ops.random import philox
from tests.kernels.buffers import F32, Output, view_of
from tests.ops.test_random import check_moments

STREAMS = [(0, 0), (7, 1), (2**31, 2**32 - 2), (2**63 - 1, 2**63 - 200)]


@triton.jit
def words_kernel(y, seed, offset, COUNT: tl.constexpr):
    """The four words of COUNT blocks, by Triton's generator."""
    i = tl.arange(0, COUNT)
    words = tl.randint4x(tl.cast(seed, tl.int64), tl.cast(offset, tl.int64) + i)
    for w in tl.static_range(4):
        tl.store(y + w * COUNT + i, words[w].to(tl.int32, bitcast=True))


@pytest.mark.parametrize(("seed", "offset"), STREAMS)
def test_the_words_are_tritons(run_native, seed, offset):
    got = torch.zeros(4, 64, dtype=torch.int32)
    run_native(Launch(words_kernel, (1, 1, 1), (got, seed, offset), {"COUNT": 64}))
    wanted = philox(seed, np.uint64(offset) + np.arange(64, dtype=np.uint64))
    np.testing.assert_array_equal(got.numpy().view(np.uint32), np.stack(wanted))


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (3, 1000), (7,)])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_uniform_numbers_are_the_references_bit_for_bit(run, shape, layout, dtype):
    """In row-major order of the elements, however these lie in memory."""
    bits = {"f32": 24, "f16": 11, "bf16": 8}[dtype]
    for seed, offset in STREAMS:
        y = Output(shape, dtype, layout)
        run(random_uniform(y.view, seed=seed, offset=offset, bits=bits))
        wanted = RandomUniform(seed, offset, bits).reference(np.zeros(shape))
        y.check(torch.from_numpy(wanted), 0.0)
        np.testing.assert_array_equal(y.tensor.double(), wanted)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_normal_numbers(run, dtype):
    for seed, offset in STREAMS:
        y = Output((2, 3, 6, 7), dtype)
        run(random_normal(y.view, seed=seed, offset=offset))
        wanted = RandomNormal(seed, offset).reference(np.zeros((2, 3, 6, 7)))
        y.check(torch.from_numpy(wanted), 6 * 8 * F32)


def test_moments(run_native):
    y = torch.full((1000, 1000), torch.nan)
    run_native(random_normal(view_of(y), seed=1, offset=0))
    check_moments(y.numpy())


def test_bound_of_many_normal_numbers(run_native):
    """Within the op's own bound, and not by far."""
    y = torch.full((1000, 1000), torch.nan)
    run_native(random_normal(view_of(y), seed=2, offset=5))
    op, like = RandomNormal(2, 5), np.broadcast_to(0.0, y.shape)
    exact = op.reference(like)
    allowed = op.error((like,), (like,), exact, F32)
    off = np.abs(y.double().numpy() - exact)
    assert (off <= allowed).all()
    assert (off / allowed).max() > 0.1
