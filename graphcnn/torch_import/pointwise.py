"""From ATen's functions of elements to ours: arithmetic, activations, comparisons, choices.

A row is a function of the operator's arguments in the order of its schema, defaults filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcnn.frontend import arithmetic, functional, movement
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.refusal import Refused

Conversion = Callable[..., Any]


def _scaled(function: Conversion) -> Conversion:
    """A sum or difference whose second operand has a factor."""
    return lambda x, y, alpha: function(x, y if alpha == 1 else _times(y, alpha))


def _times(y: Any, factor: Any) -> Any:
    return y * factor


def _reversed_difference(x: Any, y: Any, alpha: Any) -> Any:
    return arithmetic.sub(y, x if alpha == 1 else x * alpha)


def _elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    if (scale, input_scale) != (1, 1):
        raise Refused(f"scale={scale}, input_scale={input_scale}", "elu(x, alpha)")
    return functional.elu(x, alpha)


def _clamp(x: Tensor, low: Any, high: Any) -> Tensor:
    if low is not None and high is not None and low > high:
        raise Refused(f"clamp between {low} and {high}", "min <= max")
    if low is None and high is None:
        raise Refused("clamp without bounds", "clamp(min=...) or clamp(max=...)")
    bounds = {"min": low, "max": high}
    return functional.clamp(
        x, **{name: value for name, value in bounds.items() if value is not None}
    )


def _between(x: Tensor, low: Any, high: Any) -> Tensor:
    """A clamp by tensors."""
    if low is not None:
        x = arithmetic.maximum(x, low)
    return x if high is None else arithmetic.minimum(x, high)


def _between_both(x: Any, end: Any, weight: Any) -> Tensor:
    """From x to the end, `weight` of the way."""
    return arithmetic.add(x, arithmetic.mul(arithmetic.sub(end, x), weight))


def _same(x: Any, *_: Any) -> Any:
    return x


def _glu(x: Tensor, dim: int) -> Tensor:
    values, gates = movement.chunk(x, 2, dim)
    return arithmetic.mul(values, functional.sigmoid(gates))


def _rrelu(x: Tensor, low: float, high: float, training: bool, *_: Any) -> Tensor:
    if training:
        raise Refused("random slopes", "rrelu in eval mode")
    return functional.leaky_relu(x, (low + high) / 2)


def _prelu(x: Tensor, weight: Any) -> Tensor:
    return functional.prelu(x, weight if weight.shape else functional.reshape(weight, (1,)))


def _off(x: Tensor, p: float, training: bool) -> Tensor:
    if training and p > 0:
        raise Refused("drops elements while training", "dropout in eval mode")
    return functional.dropout(x, p)


def _divided(x: Any, y: Any, rounding_mode: str | None) -> Tensor:
    quotient = arithmetic.div(x, y)
    match rounding_mode:
        case "floor":
            return functional.floor(quotient)
        case "trunc":
            return functional.trunc(quotient)
    return quotient


def _power(x: Any, exponent: Any) -> Tensor:
    if isinstance(exponent, int | float):
        return functional.pow(x, float(exponent))
    return arithmetic.power(x, exponent)


def _sign(x: Tensor) -> Tensor:
    return arithmetic.sub(arithmetic.gt(x, 0.0), arithmetic.lt(x, 0.0))


def _not(x: Tensor) -> Tensor:
    return arithmetic.eq(x, 0.0)


def _both(x: Any, y: Any) -> Tensor:
    return arithmetic.mul(arithmetic.ne(x, 0.0), arithmetic.ne(y, 0.0))


def _either(x: Any, y: Any) -> Tensor:
    return arithmetic.maximum(arithmetic.ne(x, 0.0), arithmetic.ne(y, 0.0))


def _one_of(x: Any, y: Any) -> Tensor:
    return arithmetic.ne(arithmetic.ne(x, 0.0), arithmetic.ne(y, 0.0))


def _filled(x: Tensor, mask: Any, value: Any) -> Tensor:
    return arithmetic.where(mask, value, x)


# Functions of one tensor under the same name and with the same attributes.
_ALIKE = (
    *("abs", "ceil", "celu", "cos", "erf", "exp", "floor", "gelu", "hardsigmoid", "hardswish"),
    *("hardtanh", "leaky_relu", "log", "mish", "neg", "relu", "relu6", "round", "rsqrt", "selu"),
    *("sigmoid", "silu", "sin", "softplus", "sqrt", "tanh", "trunc"),
)
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")

ROWS: dict[str, Conversion] = {
    **{f"{name}.default": getattr(functional, name) for name in _ALIKE},
    **{
        f"{name}.{form}": getattr(arithmetic, name)
        for name in _COMPARED
        for form in ("Tensor", "Scalar")
    },
    **{f"add.{form}": _scaled(arithmetic.add) for form in ("Tensor", "Scalar")},
    **{f"sub.{form}": _scaled(arithmetic.sub) for form in ("Tensor", "Scalar")},
    **{f"rsub.{form}": _reversed_difference for form in ("Tensor", "Scalar")},
    **{f"mul.{form}": arithmetic.mul for form in ("Tensor", "Scalar")},
    **{f"div.{form}": arithmetic.div for form in ("Tensor", "Scalar")},
    **{f"true_divide.{form}": arithmetic.div for form in ("Tensor", "Scalar")},
    **{f"div.{form}": _divided for form in ("Tensor_mode", "Scalar_mode")},
    "floor_divide.default": lambda x, y: _divided(x, y, "floor"),
    **{f"{name}.default": arithmetic.maximum for name in ("maximum",)},
    **{f"{name}.default": arithmetic.minimum for name in ("minimum",)},
    "max.other": arithmetic.maximum,
    "min.other": arithmetic.minimum,
    "addcmul.default": lambda x, a, b, value: arithmetic.add(
        x, _scaled(arithmetic.mul)(a, b, value)
    ),
    "addcdiv.default": lambda x, a, b, value: arithmetic.add(x, arithmetic.div(a, b) * value),
    **dict.fromkeys(("lerp.Scalar", "lerp.Tensor"), _between_both),
    "clamp.default": _clamp,
    "clamp.Tensor": _between,
    "clamp_min.default": lambda x, low: functional.clamp(x, min=low),
    "clamp_max.default": lambda x, high: functional.clamp(x, max=high),
    "clamp_min.Tensor": arithmetic.maximum,
    "clamp_max.Tensor": arithmetic.minimum,
    "elu.default": _elu,
    "glu.default": _glu,
    "log_sigmoid.default": functional.logsigmoid,
    "prelu.default": _prelu,
    "_prelu_kernel.default": _prelu,
    "rrelu.default": _rrelu,
    "threshold.default": lambda x, at, value: arithmetic.where(arithmetic.gt(x, at), x, value),
    "hardshrink.default": lambda x, at: arithmetic.mul(
        x, _either(arithmetic.gt(x, at), arithmetic.lt(x, -at))
    ),
    "softshrink.default": lambda x, at: arithmetic.sub(x, functional.clamp(x, min=-at, max=at)),
    "square.default": lambda x: functional.pow(x, 2.0),
    "reciprocal.default": lambda x: arithmetic.div(1.0, x),
    **dict.fromkeys(("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar"), _power),
    "sign.default": _sign,
    "dropout.default": _off,
    "feature_dropout.default": _off,
    "alpha_dropout.default": _off,
    "feature_alpha_dropout.default": _off,
    "where.self": arithmetic.where,
    "where.ScalarSelf": arithmetic.where,
    "where.ScalarOther": arithmetic.where,
    "masked_fill.Scalar": _filled,
    "masked_fill.Tensor": _filled,
    "logical_not.default": _not,
    "bitwise_not.default": _not,
    **dict.fromkeys(("logical_and.default", "bitwise_and.Tensor"), _both),
    **dict.fromkeys(("logical_or.default", "bitwise_or.Tensor"), _either),
    **dict.fromkeys(("logical_xor.default", "bitwise_xor.Tensor"), _one_of),
    **dict.fromkeys(
        ("clone.default", "detach.default", "alias.default", "contiguous.default"), _same
    ),
    **dict.fromkeys(("lift_fresh_copy.default", "_to_copy.default", "to.dtype"), _same),
    **dict.fromkeys(("type_as.default", "to.dtype_layout", "to.device", "to.other"), _same),
    **dict.fromkeys(("positive.default", "resolve_conj.default", "view_as_real_copy"), _same),
}
# Operators that make truth values of truth values, as 1 and 0.
TRUTHS = frozenset(
    (
        *(*_COMPARED, "where", "masked_fill", "mul", "maximum", "minimum"),
        *("logical_not", "logical_and", "logical_or", "logical_xor"),
        *("bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor"),
        *("clone", "detach", "alias", "contiguous", "lift_fresh_copy"),
    )
)
