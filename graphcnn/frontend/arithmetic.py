"""Functions of several operands, which are broadcast: arithmetic, comparisons, a choice, products
of matrices.

There is no type of truth values: a comparison is 1 where it is true and 0 elsewhere, in the dtype
of its operands.
"""

from __future__ import annotations

from typing import Protocol

from graphcnn import ops
from graphcnn.errors import RankError, ShapeError
from graphcnn.frontend.expr import Call, Tensor, Weight, WeightLike, on_the_users_line, symbolic
from graphcnn.frontend.weights import as_array
from graphcnn.ir.op import Op
from graphcnn.ir.types import DType


class Binary(Protocol):
    """A function of two operands."""

    def __call__(self, input: WeightLike, other: WeightLike, *, name: str | None = None) -> Tensor:
        """The op applied to both."""


def binary(op: type[ops.Arithmetic]) -> Binary:
    """The function that applies an op to two operands, under the op's name."""

    def function(input: WeightLike, other: WeightLike, *, name: str | None = None) -> Tensor:
        return together(op(), name, input=input, other=other)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = f"""{op.__doc__}

    With NumPy's broadcasting; one of both may be an array or a number. A number keeps float32's
    precision beside half-precision tensors, as in PyTorch.

    Raises:
        InputKindError, ShapeError, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    return on_the_users_line(function)


def together(op: Op, name: str | None, **operands: WeightLike) -> Call:
    """The op applied to operands by role, one of which is a tensor; the others may be arrays."""
    values = operands.values()
    tensor = next((v for v in values if isinstance(v, Tensor)), None)
    dtype = symbolic(next(reversed(values)) if tensor is None else tensor).dtype
    placed = [_operand(v, dtype, f"{name or op.name}.{r}") for r, v in operands.items()]
    return Call(op, placed, tuple(operands), name)


def _operand(value: WeightLike, dtype: DType, name: str) -> Tensor:
    """A tensor, or the weight made from an array or a number beside one of `dtype`."""
    if isinstance(value, Tensor):
        return value
    array = as_array(value)
    # A number is as wide as its arithmetic.
    wide = getattr(array, "ndim", 0) == 0
    is_number = array is not value
    return Weight.of(array, dtype.arithmetic if wide else dtype, name, constant=is_number)


add = binary(ops.Add)
sub = binary(ops.Sub)
mul = binary(ops.Mul)
div = binary(ops.Div)
power = binary(ops.Power)
minimum = binary(ops.Minimum)
maximum = binary(ops.Maximum)
eq = binary(ops.Eq)
ne = binary(ops.Ne)
lt = binary(ops.Lt)
le = binary(ops.Le)
gt = binary(ops.Gt)
ge = binary(ops.Ge)


@on_the_users_line
def where(
    condition: WeightLike, input: WeightLike, other: WeightLike, *, name: str | None = None
) -> Tensor:
    """The input where the condition is not 0, elsewhere the other, with NumPy's broadcasting.

    The condition is a comparison, or any tensor of the others' dtype: NaN counts as not 0. Operands
    may be arrays or numbers, as those of `add`.

    Raises:
        InputKindError, ShapeError, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    return together(ops.Where(), name, condition=condition, input=input, other=other)


@on_the_users_line
def matmul(input: WeightLike, other: WeightLike, *, name: str | None = None) -> Tensor:
    """input[..., I, K] times other[..., K, J]: [..., I, J]. One of both may be an array.

    Dimensions before the last two are broadcast against each other.

    Raises:
        InputKindError, RankError, ShapeError, DTypeMismatch, NonFiniteWeights: with the user's
            line.
    """
    return together(ops.Matmul(), name, input=input, other=other)


@on_the_users_line
def bmm(input: WeightLike, mat2: WeightLike, *, name: str | None = None) -> Tensor:
    """input[B, I, K] times mat2[B, K, J]: [B, I, J]. It is `matmul` of as many matrices on both
    sides.

    Raises:
        InputKindError, RankError, ShapeError, DTypeMismatch, NonFiniteWeights: with the user's
            line.
    """
    product = together(ops.Matmul(), name, input=input, other=mat2)
    shapes = [operand.shape for operand in product.operands]
    ranks = all(len(shape) == 3 for shape in shapes)
    if not ranks or shapes[0][0] != shapes[1][0]:
        raise (ShapeError if ranks else RankError)(
            "bmm multiplies as many matrices by as many",
            got=" and ".join(str(operand.type) for operand in product.operands),
            wanted="[B, I, K] and [B, K, J]",
            remedy="use matmul, which broadcasts",
        )
    return product
