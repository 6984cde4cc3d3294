"""What a network starts from: its inputs, parameters without data, and constants."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.errors import DTypeMismatch, InvalidAttribute, shown
from graphcnn.frontend.expr import Input, Tensor, Weight, WeightLike, on_the_users_line
from graphcnn.frontend.short_forms import integers
from graphcnn.frontend.weights import as_array
from graphcnn.ir.types import DType, TensorType
from graphcnn.ir.verify import check_name


@on_the_users_line
def input(name: str, shape: Sequence[int], dtype: object = "float32") -> Tensor:
    """A graph input.

    Args:
        name: The keyword that a call passes it by.
        shape: Sizes, [N, C, H, W] for images.
        dtype: A name such as "float16" or "f16", a NumPy dtype or a torch dtype.

    Raises:
        InvalidName, InvalidAttribute, UnknownDType: for arguments out of their domain.
    """
    check_name(name)
    return Input(_type(shape, dtype), name)


@on_the_users_line
def param(name: str, shape: Sequence[int], dtype: object = "float32") -> Tensor:
    """A parameter without data: stands wherever a weight array does.

    `ir.with_he_weights` fills it.

    Raises:
        InvalidName, InvalidAttribute, UnknownDType: for arguments out of their domain.
    """
    return Weight(_type(shape, dtype), name, None, object())


@on_the_users_line
def constant(name: str, value: WeightLike, dtype: object = "float32") -> Tensor:
    """Numbers of the network that are no weights: `load_weights` and `refit` ask for none.

    A number beside a tensor, as in `2 * x`, is one as well.

    Args:
        name: What it is called in the graph.
        value: A number or an array.
        dtype: One in floating point, as of `input`.

    Raises:
        InvalidName, UnknownDType, DTypeMismatch, InputKindError, NonFiniteWeights: for arguments
            out of their domain.
    """
    check_name(name)
    kind = DType.of(dtype)
    if not kind.is_float:
        raise DTypeMismatch(
            "a constant holds floating-point numbers",
            got=kind.long_name,
            wanted="float32, float16, bfloat16 or float64",
            remedy="whole numbers are a param: gx.param(name, shape, dtype)",
        )
    made = Weight.of(as_array(value), kind, name, constant=True)
    made.name = name
    return made


def _type(shape: Sequence[int], dtype: object) -> TensorType:
    sizes = integers(shape)
    free = [n for n in sizes if n is None or type(n) is int] if isinstance(sizes, tuple) else []
    if None in free or -1 in free:
        raise InvalidAttribute(
            "every dimension of a shape has a size when the graph is built",
            got=shown(shape),
            wanted="positive integers",
            remedy="write 1 for the batch, as in (1, 3, 224, 224): a call may pass another number "
            "of samples",
        )
    if not isinstance(sizes, tuple):
        raise InvalidAttribute(
            "a shape is a tuple of positive integers",
            got=shown(shape),
            remedy="for example shape=(1, 3, 224, 224)",
        )
    return TensorType(sizes, DType.of(dtype))
