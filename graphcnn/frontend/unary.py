"""Functions on one tensor, made from operators: fields are arguments, the docstring is the op's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, Protocol, cast, overload

from graphcnn.frontend.expr import Tensor, apply, on_the_users_line
from graphcnn.frontend.short_forms import number
from graphcnn.ir.op import Op

P = ParamSpec("P")


class Function(Protocol[P]):
    """A function of a tensor and of an op's attributes P; `name=` names its value."""

    # A type cannot say "P, and name=": with a name, attributes are checked when it is called.
    @overload
    def __call__(self, input: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, input: Tensor, *args: Any, name: str | None, **kwargs: Any) -> Tensor: ...


def unary(op: Callable[P, Op]) -> Function[P]:
    """The function that applies an op of one operand, under the op's name."""
    assert isinstance(op, type)
    assert issubclass(op, Op)
    kind = inspect.Parameter
    attributes = [
        kind(f.name, kind.POSITIONAL_OR_KEYWORD, default=f.default, annotation=f.type)
        for f in fields(op)  # type: ignore[arg-type]  # every op is a dataclass
    ]
    signature = inspect.Signature(
        [
            kind("input", kind.POSITIONAL_OR_KEYWORD, annotation="Tensor"),
            *attributes,
            kind("name", kind.KEYWORD_ONLY, default=None, annotation="str | None"),
        ],
        return_annotation="Tensor",
    )

    def function(*args: Any, **kwargs: Any) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        input, name = given.pop("input"), given.pop("name", None)
        made = op(**{field: number(value) for field, value in given.items()})
        return apply(made, name, input)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` looks for
    return cast(Function[P], on_the_users_line(function))
