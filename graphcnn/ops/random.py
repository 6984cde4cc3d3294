"""Random numbers inside a graph: the same ones on every target, device and call.

The generator is Philox-4x32-10 (J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3,
2011): a bijection of 128-bit counters for each 64-bit key, without a state. The seed is the key,
and element i in row-major order takes the block of counter `offset` + i, as `tl.randint4x` does. So
a sample draws the same numbers at every batch size of at least its own, and two tensors of one seed
share none where their ranges [offset, offset + size) are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_integer, check_operands
from graphcnn.ops.rounding import UNDERFLOW

_LARGEST_SEED = 2**63 - 1
_ROUNDS = 10
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

Words = NDArray[np.uint64]


def philox(seed: int, counter: Words) -> tuple[Words, Words, Words, Words]:
    """Four words of 32 bits for each 64-bit counter, as unsigned 64-bit numbers.

    The counter is the low half of Philox's, and the seed its key.
    """
    key = np.uint64(seed) & _LOW, np.uint64(seed) >> _HALF
    c = counter & _LOW, counter >> _HALF, np.zeros_like(counter), np.zeros_like(counter)
    for _ in range(_ROUNDS):
        first, second = c[0] * _FACTORS[0], c[2] * _FACTORS[1]
        c = (
            (second >> _HALF) ^ c[1] ^ key[0],
            second & _LOW,
            (first >> _HALF) ^ c[3] ^ key[1],
            first & _LOW,
        )
        key = (key[0] + _KEY_STEPS[0]) & _LOW, (key[1] + _KEY_STEPS[1]) & _LOW
    return c


@dataclass(frozen=True)
class Random(Op):
    """Numbers drawn for each element of a tensor of the operand's shape and dtype.

    Nothing of the operand but its type is read. Equal nodes draw equal numbers, and stay apart all
    the same: a draw is never merged with another, computed beforehand, or fused.

    Attributes:
        seed: Names a stream of 2^64 blocks of random bits.
        offset: Where in it the first element draws.

    Raises:
        InvalidAttribute: unless both are integers in [0, 2^63).
    """

    kind: ClassVar[OpKind] = OpKind.OPAQUE
    pure: ClassVar[bool] = False
    seed: int
    offset: int = 0

    def __post_init__(self) -> None:
        check_integer(self, "seed", 0, _LARGEST_SEED)
        check_integer(self, "offset", 0, _LARGEST_SEED)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The operand's type."""
        check_operands(self, inputs, input=FLOAT)
        return inputs[0]

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """Nothing is read; what the generator computes is whole numbers."""
        return Cost(writes=output.size)

    def _words(self, like: Array) -> tuple[Words, Words]:
        """The first two words of each element's block."""
        first = np.uint64(self.offset)
        counter = first + np.arange(like.size, dtype=np.uint64).reshape(like.shape)
        return philox(self.seed, counter)[:2]


def _fraction(words: Words, bits: int) -> Array:
    """The highest bits of 32-bit words as a number in [0, 1)."""
    return np.asarray((words >> np.uint64(32 - bits)) * 2.0**-bits)


@dataclass(frozen=True)
class RandomUniform(Random):
    """Multiples of 2^-bits, all of them as likely, in [0, 1).

    Attributes:
        bits: At most 24: what float32 holds. A dtype of fewer significant bits would round the
            largest numbers to 1, so the front end takes 11 for float16 and 8 for bfloat16.
    """

    name: ClassVar[str] = "random_uniform"
    bits: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self, "bits", 1, 24)

    def reference(self, *inputs: Array) -> Array:
        """The highest bits of the first word, as a fraction."""
        return _fraction(self._words(inputs[0])[0], self.bits)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """None: float32 holds the number."""
        return np.zeros(output.shape)


@dataclass(frozen=True)
class RandomNormal(Random):
    """Standard normal numbers, at most 5.77 in size.

    Source: G. E. P. Box and M. E. Muller, A note on the generation of random normal deviates, 1958.
    """

    name: ClassVar[str] = "random_normal"

    def reference(self, *inputs: Array) -> Array:
        """sqrt(-2 log u) cos(2 pi v) of two uniform numbers u in (0, 1] and v in [0, 1)."""
        first, second = self._words(inputs[0])
        return np.asarray(_radius(first) * np.cos(2 * pi * _fraction(second, 24)))

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The cosine and the logarithm are within two units in the last place, the root and the
        product are rounded."""
        bound: Array = _radius(self._words(inputs[0])[0]) * (8 * unit) + UNDERFLOW
        return bound


def _radius(words: Words) -> Array:
    radius: Array = np.sqrt(-2 * np.log(_fraction(words, 24) + 2.0**-24))
    return radius
