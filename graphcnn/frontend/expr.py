"""Symbolic tensors and their arithmetic: what the functional front end passes around until `graph`
collects them."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from inspect import signature
from pathlib import Path
from typing import Any, Never, ParamSpec, TypeVar

from graphcnn.errors import (
    GraphCNNError,
    InputKindError,
    Where,
)
from graphcnn.frontend.index import indexed
from graphcnn.frontend.near import near
from graphcnn.frontend.weights import numbers_of
from graphcnn.ir.op import Array, Op
from graphcnn.ir.types import DType, TensorType
from graphcnn.ir.verify import check_name

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_order = itertools.count()
# Methods of tensors that are made of other operators.
_COMPOSED = (
    *("bmm", "chunk", "global_avg_pool1d", "global_max_pool1d", "global_max_pool2d"),
    *("lp_pool1d", "lp_pool2d", "narrow", "split", "transpose"),
)
P = ParamSpec("P")
R = TypeVar("R")
# A NumPy array, a torch tensor or a Tensor. torch is not imported, so mypy cannot name its class.
WeightLike = Any


class Tensor:
    """A value of the network being written: a type, and how it comes about.

    The functions of operators are methods too: `x.flatten(1)` is `gx.flatten(x, 1)`.

    Attributes:
        type: Shape and dtype.
        name: The name the user chose, or None.
        line: The user's.
        order: Position among all tensors ever created; the schedule of the graph.
    """

    # Methods that return several tensors, for type checkers.
    chunk: Callable[..., tuple[Tensor, ...]]
    split: Callable[..., tuple[Tensor, ...]]

    # NumPy hands `array + tensor` to our __radd__ instead of broadcasting over the array.
    __array_ufunc__ = None

    def __init__(self, type: TensorType, name: str | None) -> None:
        if self.__class__ is Tensor:
            raise InputKindError(
                "a symbolic tensor is an input, a param or the result of an operator",
                got="Tensor(...)",
                wanted="what gx.input, gx.param or another function of graphcnn returns",
                remedy="for example gx.input(name, shape)",
            )
        if name is not None:
            check_name(name)
        self.type, self.name = type, name
        self.line = users_line()
        self.order = next(_order)

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape, NCHW for images."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    def __add__(self, other: object) -> Tensor:
        return self.add(other)

    def __sub__(self, other: object) -> Tensor:
        return self.sub(other)

    def __rsub__(self, other: object) -> Tensor:
        return _reflected("sub", self, other)

    def __mul__(self, other: object) -> Tensor:
        return self.mul(other)

    def __truediv__(self, other: object) -> Tensor:
        return self.div(other)

    def __rtruediv__(self, other: object) -> Tensor:
        return _reflected("div", self, other)

    def __neg__(self) -> Tensor:
        return self.neg()

    def __lt__(self, other: object) -> Tensor:
        return self.lt(other)

    def __le__(self, other: object) -> Tensor:
        return self.le(other)

    def __gt__(self, other: object) -> Tensor:
        return self.gt(other)

    def __ge__(self, other: object) -> Tensor:
        return self.ge(other)

    def __pow__(self, exponent: object) -> Tensor:
        return self.power(exponent) if isinstance(exponent, Tensor) else self.pow(exponent)

    def __rpow__(self, base: object) -> Tensor:
        return _reflected("power", self, base)

    def __matmul__(self, other: object) -> Tensor:
        return self.matmul(other)

    def __rmatmul__(self, other: object) -> Tensor:
        return _reflected("matmul", self, other)

    def __bool__(self) -> bool:
        raise InputKindError(
            "a symbolic tensor is not true or false: it has no numbers yet",
            got=repr(self),
            wanted="a Python condition, or an operator",
            remedy="choose between tensors with gx.where(condition, a, b)",
        )

    # Elementwise, as in torch; so `in` tells nothing of a list of tensors, but dicts and sets do.
    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else self.eq(other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else self.ne(other)

    __hash__ = object.__hash__

    def __abs__(self) -> Tensor:
        return self.abs()

    def __and__(self, other: object) -> Never:
        raise _no_truth("&", "gx.mul(a, b) of two comparisons")

    def __or__(self, other: object) -> Never:
        raise _no_truth("|", "gx.maximum(a, b) of two comparisons")

    def __xor__(self, other: object) -> Never:
        raise _no_truth("^", "gx.ne(a, b) of two comparisons")

    def __invert__(self) -> Never:
        raise _no_truth("~", "gx.eq(a, 0) of a comparison")

    def __getitem__(self, key: object) -> Tensor:
        return getitem(self, key)

    __radd__ = __add__
    __rmul__ = __mul__
    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    # Brackets alone would make Python try x[0], x[1], ... until an IndexError.
    __iter__ = None

    def __getattr__(self, name: str) -> Callable[..., Tensor]:
        function = _method(name)
        if function is None:
            hint = near(name, dir(self), "dir() lists what it has")
            raise AttributeError(f"a symbolic tensor has no attribute '{name}'; {hint}")
        return partial(function, self)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *filter(_method, (*Op.registry, *_COMPOSED))]

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name or 'unnamed'}: {self.type}>"


def _no_truth(symbol: str, instead: str) -> InputKindError:
    return InputKindError(
        f"symbolic tensors hold numbers, which have no {symbol}",
        where=str(users_line() or "built in"),
        got=symbol,
        wanted="an operator of numbers; a comparison is 1 where it is true, elsewhere 0",
        remedy=f"write {instead}",
    )


def _method(name: str) -> Callable[..., Any] | None:
    """The public function of an operator or several, if its first parameter is `input`."""
    if name not in Op.registry and name not in _COMPOSED:
        return None
    function = public(name)
    takes_input = function is not None and next(iter(signature(function).parameters)) == "input"
    return function if takes_input else None


def public(name: str) -> Callable[..., Tensor] | None:
    """The public function of a name, or None.

    The package loads it by its name: an import would be a circle, as functions import this file.
    """
    public = sys.modules[__name__.partition(".")[0]]
    function: Callable[..., Tensor] | None = getattr(public, name, None)
    return function


def _reflected(name: str, tensor: Tensor, first: object) -> Tensor:
    """A function of two operands, of which the tensor is the second."""
    function = public(name)
    assert function is not None
    return function(first, tensor)


class Input(Tensor):
    """What a call of the compiled network passes in."""


class Weight(Tensor):
    """A parameter.

    Attributes:
        data: Its values, or None for a type without data.
        key: What makes two uses one parameter: the identity of the user's object, and the dtype.
        constant: Whether it is one of the code's numbers: see `ir.Param`.
    """

    def __init__(
        self,
        type: TensorType,
        name: str | None,
        data: Array | None,
        source: object,
        constant: bool = False,
    ) -> None:
        super().__init__(type, name)
        self.data, self.source, self.constant = data, source, constant

    @classmethod
    def of(cls, value: object, dtype: DType, name: str, *, constant: bool = False) -> Weight:
        """A weight from an array: see `numbers_of`, also for the errors; `name` is for these."""
        data = numbers_of(value, dtype, name)
        return cls(TensorType(data.shape, dtype), None, data, value, constant)

    @property
    def key(self) -> tuple[int, DType]:
        """Equal for two uses of one object; `source` keeps the object, hence its id, alive."""
        return id(self.source), self.dtype


class Call(Tensor):
    """The result of an operator.

    Attributes:
        op: The operator.
        operands: What it reads.
        roles: Names of the operands, for those that are parameters: "weight", "bias".
    """

    def __init__(
        self, op: Op, operands: Sequence[Tensor], roles: Sequence[str], name: str | None
    ) -> None:
        super().__init__(op.infer(*(operand.type for operand in operands)), name)
        op.check_constants(*(o.data if isinstance(o, Weight) else None for o in operands))
        self.op, self.operands, self.roles = op, tuple(operands), tuple(roles)


def symbolic(value: object) -> Tensor:
    """The value, if it is a symbolic tensor.

    Raises:
        InputKindError: when it is not.
    """
    if not isinstance(value, Tensor):
        raise InputKindError(
            "an operator reads symbolic tensors",
            got=type(value).__name__,
            wanted="what gx.input(...) or another function of graphcnn returns",
            remedy="pass arrays as weights, or when the compiled network is called",
        )
    return value


def apply(op: Op, name: str | None, input: Tensor, **weights: WeightLike | None) -> Call:
    """The op applied to an input and its weights; a bias of None is left out."""
    first = symbolic(input)
    given = {
        role: weight for role, weight in weights.items() if weight is not None or role != "bias"
    }
    operands = [
        weight
        if isinstance(weight, Tensor)
        else Weight.of(weight, first.dtype, f"{name or op.name}.{role}")
        for role, weight in given.items()
    ]
    return Call(op, [first, *operands], ["input", *given], name)


def users_line() -> Where | None:
    """File and line of the innermost frame outside this package; None when no file has it."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith("<frozen"):  # `python -m graphcnn`
        return None
    return Where(frame.f_code.co_filename, frame.f_lineno)


def on_the_users_line(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a front-end function so that its errors name the user's line; `name` is checked."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        name = kwargs.get("name")
        try:
            if name is not None:
                check_name(name)
            return function(*args, **kwargs)
        except GraphCNNError as error:
            named = f" '{name}'" if isinstance(name, str) else ""
            line = f"{function.__name__}{named} ({users_line() or 'built in'})"
            error.where = line if error.where is None else f"{error.where}, {line}"
            raise error from None

    return checked


@on_the_users_line
def getitem(input: Tensor, key: object) -> Tensor:
    """input[key]."""
    for op in indexed(input.shape, key):
        input = apply(op, None, input)
    return input
