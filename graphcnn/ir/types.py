"""Dtypes and tensor types: what a value is, without what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphcnn.errors import InvalidAttribute, TooLarge, UnknownDType, shown


class DType(StrEnum):
    """An element type; the value is its name in the text form."""

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"
    I8 = "i8"
    I32 = "i32"
    I64 = "i64"

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.value.lstrip("bfi")) // 8

    @property
    def is_float(self) -> bool:
        """Whether the type is a floating-point type."""
        return self.value[0] in "fb"

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding a real number to this type; 0 for integers."""
        return _UNIT_ROUNDOFF.get(self, 0.0)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that carries it; bf16, which NumPy lacks, is carried by float32."""
        return np.dtype("float32" if self is DType.BF16 else self.long_name)

    @property
    def arithmetic(self) -> DType:
        """The type in which its numbers are computed: float32 for half precision, or itself."""
        return DType.F32 if self in (DType.F16, DType.BF16) else self

    def round(self, array: ArrayLike) -> NDArray[Any]:
        """Round an array to this type, to nearest even, beyond its range to infinity; bf16 stays
        in float32."""
        with np.errstate(over="ignore"):
            if self is not DType.BF16:
                return np.asarray(array, self.numpy)
            bits = np.asarray(array, np.float32).view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
        return np.where(np.isnan(array), np.float32(np.nan), rounded.view(np.float32))

    @property
    def long_name(self) -> str:
        """The name that NumPy and torch use: "float16"."""
        return self.value.replace("f", "float").replace("i", "int")

    @classmethod
    def of(cls, dtype: object) -> DType:
        """The DType meant by a name ("f16", "float16"), a DType, a NumPy dtype or a torch dtype.

        Raises:
            UnknownDType: for anything else.
        """
        if isinstance(dtype, cls):
            return dtype
        kind = type(dtype)
        if isinstance(dtype, np.dtype):
            spelled = dtype.name
        elif isinstance(dtype, type) and issubclass(dtype, np.generic):
            spelled = dtype.__name__
        elif isinstance(dtype, str) or (kind.__module__, kind.__name__) == ("torch", "dtype"):
            spelled = str(dtype)
        else:
            spelled = shown(dtype)
        names = {d.value: d for d in cls} | {d.long_name: d for d in cls} | _ALIASES
        found = names.get(spelled.removeprefix("torch."))
        if found is None:
            raise UnknownDType(
                f"unknown dtype {shown(spelled)}",
                got=shown(spelled),
                wanted=", ".join(member.value for member in cls),
                remedy='use one of these names, or a long form such as "float16"',
            )
        return found


_UNIT_ROUNDOFF = {
    DType.F16: 2.0**-11,
    DType.BF16: 2.0**-8,
    DType.F32: 2.0**-24,
    DType.F64: 2.0**-53,
}
# Other names that torch uses; its and NumPy's own are `long_name`.
_ALIASES = {"half": DType.F16, "float": DType.F32, "double": DType.F64}
# The most that every NumPy since 1.26 has.
_MAX_RANK = 32
_TYPE = re.compile(r"(\w+)\[((?:[0-9]+(?:,[0-9]+)*)?)\]")


@dataclass(frozen=True)
class TensorType:
    """Shape (logical, NCHW for images) and dtype of a value; prints as `f16[32,64,56,56]`."""

    shape: tuple[int, ...]
    dtype: DType = DType.F32

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple) or not all(map(_is_size, self.shape)):
            raise InvalidAttribute(
                "every dimension of a shape is a positive integer",
                got=shown(self.shape),
                wanted="a tuple of Python ints, no bools and no NumPy numbers",
                remedy="check the sizes that were computed for this shape",
            )
        if len(self.shape) > _MAX_RANK:
            raise TooLarge(
                f"a tensor has at most {_MAX_RANK} dimensions",
                got=f"{len(self.shape)} dimensions",
                remedy="merge some of them",
            )
        if prod(self.shape) >= 2**63:
            raise TooLarge(
                "a tensor has fewer than 2^63 elements",
                got=f"{len(self.shape)} dimensions, 2^{prod(self.shape).bit_length() - 1} elements",
                remedy="check the sizes that were computed for this shape",
            )

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes, densely packed."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """The same dtype with another shape."""
        return TensorType(shape, self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @classmethod
    def parse(cls, text: str) -> TensorType:
        """Read the printed form back.

        Raises:
            ValueError: when the text is not of the form `dtype[sizes]`.
            UnknownDType: when the dtype is not one of ours.
        """
        match = _TYPE.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text!r} is not a tensor type such as f32[1,3,224,224]")
        sizes = tuple(map(int, match[2].split(","))) if match[2] else ()
        return cls(sizes, DType.of(match[1]))


def _is_size(size: object) -> bool:
    return type(size) is int and size >= 1


@contextmanager
def fitting(what: object) -> Iterator[None]:
    """Turn NumPy's refusals to make an array of a given size into an error that names the array.

    Raises:
        TooLarge: when it does not fit into memory.
    """
    try:
        yield
    except (MemoryError, ValueError) as error:
        raise TooLarge(
            "an array does not fit into memory",
            where=str(what),
            got=str(error),
            remedy="check its sizes",
        ) from None
