"""Functions of whole numbers: rows of a table, and rows of zeros with a one."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.frontend.expr import (
    Call,
    Tensor,
    Weight,
    WeightLike,
    apply,
    on_the_users_line,
    symbolic,
)
from graphcnn.frontend.short_forms import integer
from graphcnn.ir.types import DType


@on_the_users_line
def embedding(input: Tensor, weight: WeightLike, *, name: str | None = None) -> Tensor:
    """A row of weight[V, D] for each whole number of the input, 0 to V - 1: [..., D].

    A call with another number raises IndexOutOfRange. The result has the weight's dtype; but an
    array in float64, which is NumPy's habit, becomes float32.

    Raises:
        RankError, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    table = weight
    if not isinstance(weight, Tensor):
        given = str(getattr(weight, "dtype", "")).removeprefix("torch.")
        dtype = DType.of(given) if given in ("float16", "bfloat16") else DType.F32
        table = Weight.of(weight, dtype, f"{name or 'embedding'}.weight")
    return Call(ops.Embedding(), [symbolic(input), table], ("input", "weight"), name)


@on_the_users_line
def one_hot(
    input: Tensor, num_classes: int, dtype: object = "float32", *, name: str | None = None
) -> Tensor:
    """1 at the place of each whole number of the input, 0 to num_classes - 1, in a row of zeros:
    [..., num_classes], in a dtype in floating point.

    A call with another number raises IndexOutOfRange.

    Raises:
        DTypeMismatch, InvalidAttribute, UnknownDType: with the user's line.
    """
    return apply(ops.OneHot(integer(num_classes), DType.of(dtype).value), name, input)
