"""Random numbers by a seed."""

import torch

from graphcnn import errors, ops
from tests.opinfo.sample import INTEGERS, Bad, OpInfo, Sample


def _philox(seed, count, offset):
    """The first two words of some blocks, in torch's 64-bit integers."""
    low = 0xFFFFFFFF

    def product(word, factor):
        # 64 bits in two halves: torch's integers have signs.
        small, large = word * (factor & 0xFFFF), word * (factor >> 16)
        total = (small >> 16) + large
        return total >> 16, (total << 16 | small & 0xFFFF) & low

    counters = torch.arange(count) + offset
    a, b, c, d = counters & low, counters >> 32, torch.zeros_like(counters), 0 * counters
    first, second = seed & low, seed >> 32
    for _ in range(10):
        (high_a, low_a), (high_c, low_c) = product(a, 0xD2511F53), product(c, 0xCD9E8D57)
        a, b, c, d = high_c ^ b ^ first, low_c, high_a ^ d ^ second, low_a
        first, second = first + 0x9E3779B9 & low, second + 0xBB67AE85 & low
    return a, b


def _drawn(op, x, bits=24):
    words = _philox(op.seed, x.numel(), op.offset)
    return [(word >> (32 - bits)).reshape(x.shape).to(x.dtype) / 2**bits for word in words]


def _normal(op, x):
    u, v = _drawn(op, x)
    return torch.sqrt(-2 * torch.log(u + 2.0**-24)) * torch.cos(2 * torch.pi * v)


def _bad_random(op):
    return (
        Bad(lambda: op(-1), (), errors.InvalidAttribute, "seed=-1"),
        Bad(lambda: op(2**63), (), errors.InvalidAttribute, "at most 9223372036854775807"),
        Bad(lambda: op(1.0), (), errors.InvalidAttribute, "seed=1.0"),
        Bad(lambda: op(True), (), errors.InvalidAttribute, "seed=True"),
        Bad(lambda: op(1, -1), (), errors.InvalidAttribute, "offset=-1"),
        Bad(lambda: op(1), ((2, 3),), errors.DTypeMismatch, "floating point", INTEGERS),
        Bad(lambda: op(1), (), errors.InvalidGraph, "reads input"),
    )


def _random_samples(op, **more):
    far = op(2**62 + 12345678901, 2**40 - 3, **more)
    shapes = ((2, 3, 5, 4), (1, 7), (6,), (), (2, 3, 2, 3, 2))
    return (*(Sample(op(7, **more), (shape,)) for shape in shapes), Sample(far, ((3, 4),)))


INFO: dict[str, OpInfo] = {
    "random_normal": OpInfo(
        _normal, _random_samples(ops.RandomNormal), _bad_random(ops.RandomNormal)
    ),
    "random_uniform": OpInfo(
        lambda op, x: _drawn(op, x, op.bits)[0],
        (
            *_random_samples(ops.RandomUniform),
            *_random_samples(ops.RandomUniform, bits=8),
        ),
        (
            *_bad_random(ops.RandomUniform),
            Bad(lambda: ops.RandomUniform(1, bits=25), (), errors.InvalidAttribute, "at most 24"),
        ),
    ),
}
