"""Symbolic tensors: what the functional front end passes around until `graph` collects them."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from graphcnn.arguments import sequence
from graphcnn.errors import (
    GraphCNNError,
    InputKindError,
    InvalidAttribute,
    InvalidGraph,
    Where,
    shown,
)
from graphcnn.frontend.short_forms import integers
from graphcnn.ir.graph import Graph, Node, Param, Value
from graphcnn.ir.op import Array, Op
from graphcnn.ir.types import DType, TensorType
from graphcnn.ir.verify import check_name, verify

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_order = itertools.count()
P = ParamSpec("P")
R = TypeVar("R")


class Tensor:
    """A value of the network being written: a type, and how it comes about.

    Attributes:
        type: Shape and dtype.
        name: The name the user chose, or None.
        where: The user's line.
        order: Position among all tensors ever created; the schedule of the graph.
    """

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
        self.where = users_line()
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
        from graphcnn.frontend import functional

        return functional.add(self, other)

    def __mul__(self, other: object) -> Tensor:
        from graphcnn.frontend import functional

        return functional.mul(self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name or 'unnamed'}: {self.type}>"


class Input(Tensor):
    """What a call of the compiled network passes in."""


class Weight(Tensor):
    """A parameter.

    Attributes:
        data: Its values, or None for a type without data.
        key: What makes two uses one parameter: the identity of the user's object, and the dtype.
    """

    def __init__(
        self, type: TensorType, name: str | None, data: Array | None, source: object
    ) -> None:
        super().__init__(type, name)
        self.data, self.source = data, source

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


def _type(shape: Sequence[int], dtype: object) -> TensorType:
    sizes = integers(shape)
    if not isinstance(sizes, tuple):
        raise InvalidAttribute(
            "a shape is a tuple of positive integers",
            got=shown(shape),
            remedy="for example shape=(1, 3, 224, 224)",
        )
    return TensorType(sizes, DType.of(dtype))


@on_the_users_line
def graph(name: str, outputs: Tensor | Sequence[Tensor]) -> Graph:
    """Collect the graph that computes `outputs`.

    Nodes stand in the order in which they were written; what no output depends on is left out. A
    value is called by its `name=`, or by its operator: `conv2d`, `conv2d_1`, `conv2d_2`, ...; the
    parameters of node `conv2d` are `conv2d.weight` and `conv2d.bias`. One array object that is
    used twice is one parameter.

    Args:
        name: Name of the network.
        outputs: What a call returns; one tensor or several.

    Returns:
        A verified graph. Its parameters share memory with the arrays passed in, where no
        conversion was needed.

    Raises:
        InvalidName, InvalidGraph: for a bad name or two equal ones, or no outputs.
        InputKindError: for an output that is not a symbolic tensor.
    """
    check_name(name)
    returned = (outputs,) if isinstance(outputs, Tensor) else outputs
    returned = sequence(returned, "outputs", Tensor, "what the functions of graphcnn return")
    tensors = _reachable(returned)
    names = _names(tensors)
    inputs = tuple(Value(names[t], t.type) for t in tensors if isinstance(t, Input))
    nodes = tuple(
        Node(
            names[call],
            call.op,
            tuple(names[operand] for operand in call.operands),
            (Value(names[call], call.type),),
            call.where,
        )
        for call in tensors
        if isinstance(call, Call)
    )
    weights = {names[t]: t for t in tensors if isinstance(t, Weight)}
    params = tuple(Param(name, weight.type, weight.data) for name, weight in weights.items())
    result = Graph(name, inputs, params, nodes, tuple(names[t] for t in returned))
    verify(result)
    return result


def _reachable(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Everything the outputs depend on, in order of creation."""
    found: set[Tensor] = set()
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor not in found:
            found.add(tensor)
            if isinstance(tensor, Call):
                waiting.extend(tensor.operands)
    return sorted(found, key=lambda tensor: tensor.order)


def _names(tensors: list[Tensor]) -> dict[Tensor, str]:
    """A unique name for every tensor; equal ones for the uses of one weight."""
    names: dict[Tensor, str] = {}
    chosen: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name is None:
            continue
        if tensor.name in chosen:
            raise InvalidGraph(
                "two values have the same name",
                where=f"{tensor.where}, and {chosen[tensor.name].where}",
                got=tensor.name,
                wanted="unique names",
                remedy="pass another name=... to one of them",
            )
        chosen[tensor.name] = tensor
        names[tensor] = tensor.name
    taken = set(chosen)
    tied: dict[tuple[int, DType], str] = {}
    for call in (tensor for tensor in tensors if isinstance(tensor, Call)):
        if call not in names:
            names[call] = _fresh(call.op.name, taken)
        for operand, role in zip(call.operands, call.roles, strict=False):
            if isinstance(operand, Weight) and operand not in names:
                if operand.key not in tied:
                    tied[operand.key] = _fresh(f"{names[call]}.{role}", taken)
                names[operand] = tied[operand.key]
    for tensor in tensors:
        if isinstance(tensor, Weight) and tensor not in names:
            names[tensor] = _fresh("param", taken)
    return names


def _fresh(stem: str, taken: set[str]) -> str:
    candidates = itertools.chain((stem,), (f"{stem}_{number}" for number in itertools.count(1)))
    name = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(name)
    return name
