"""What the emitter asks about values before it writes any code.

Tensors are functions of their indices here: `varying` says which indices matter, `stride` how an
integer or pointer moves with one of them, `contiguous` along which dimension memory runs.
"""

from __future__ import annotations

import math
import re
from functools import cache

from graphcnn.cpu.ttir import Operation, Value

VIEWS = {"tt.splat", "tt.expand_dims", "tt.broadcast", "tt.trans", "tt.reshape"}
_ADDITIVE = {"arith.addi", "tt.addptr"}
# Elementwise operations of the dialect `tt`.
_ON_ADDRESSES = {"addptr", "load", "ptr_to_int", "int_to_ptr"}
_ON_NUMBERS = {"clampf", "mulhiui", "precise_divf", "precise_sqrt", "extern_elementwise"}
_CONVERSIONS = {"bitcast", "fp_to_fp"}
# Integer, pointer and mask arithmetic that costs less to repeat on a tile than to store.
CHEAP = _ADDITIVE | {
    f"arith.{word}" for word in ["subi", "muli", "andi", "ori", "xori", "cmpi", "extsi"]
}
# A reduction over no more elements than this is written out inside the expression that uses it.
UNROLLED_REDUCTION = 8


@cache
def varying(value: Value) -> frozenset[int]:
    """The dimensions along which the value can change."""
    operation = value.owner
    everything = frozenset(d for d, size in enumerate(value.type.shape) if size > 1)
    if operation is None or not value.type.shape:
        return everything
    match operation.name:
        case "arith.constant" | "tt.splat":
            return frozenset()
        case "tt.broadcast" | "tt.expand_dims" | "tt.trans":
            source = varying(operation.operands[0])
            back = [source_dimension(operation, d) for d in range(len(value.type.shape))]
            return frozenset(d for d, s in enumerate(back) if s in source)
        case _ if is_elementwise(operation):
            return frozenset().union(*(varying(operand) for operand in operation.operands))
    return everything


def source_dimension(operation: Operation, dimension: int) -> int | None:
    """The operand dimension that `dimension` of the result of a view (not a reshape) reads."""
    if operation.name == "tt.expand_dims":
        axis = operation.integer("axis")
        return None if dimension == axis else dimension - (dimension > axis)
    if operation.name == "tt.trans":
        return permutation(operation)[dimension]
    return dimension


def permutation(operation: Operation) -> list[int]:
    """Result dimension d of a `tt.trans` is operand dimension `permutation[d]`."""
    match = re.search(r"array<i32: ([\d, ]+)>", operation.text)
    assert match, operation.text
    return [int(part) for part in match.group(1).split(",")]


@cache
def reshape_groups(
    source: tuple[int, ...], target: tuple[int, ...]
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Split a reshape into the smallest runs of dimensions with equal element counts."""
    groups = []
    i = j = 0
    while i < len(source) or j < len(target):
        first: list[int] = []
        second: list[int] = []
        left = right = 1
        while not first or left != right or (not second and j < len(target)):
            if (left <= right and i < len(source)) or j >= len(target):
                first.append(i)
                left *= source[i]
                i += 1
            else:
                second.append(j)
                right *= target[j]
                j += 1
            if left == right and (i >= len(source) or j >= len(target) or (first and second)):
                break
        groups.append((tuple(first), tuple(second)))
    return tuple(groups)


def is_elementwise(operation: Operation) -> bool:
    """Each element of the result depends on the same element of the operands only."""
    dialect, _, word = operation.name.partition(".")
    if dialect == "tt":
        return word in _ON_ADDRESSES | _ON_NUMBERS | _CONVERSIONS
    return dialect in ("arith", "math") and operation.name != "arith.constant"


def is_unrolled(operation: Operation) -> bool:
    """A reduction short enough to be part of an expression."""
    return (
        operation.name == "tt.reduce"
        and operation.operands[0].type.shape[operation.integer("axis")] <= UNROLLED_REDUCTION
    )


def is_lazy(operation: Operation) -> bool:
    """The result is an expression that can be evaluated where it is used."""
    return (
        operation.name in VIEWS
        or operation.name in {"arith.constant", "ub.poison"}
        or operation.name in {"tt.make_range", "tt.join", "tt.split", "tt.cat"}
        or is_elementwise(operation)
        or is_unrolled(operation)
    )


@cache
def stride(value: Value, dimension: int) -> int | None:
    """How an integer or pointer (in elements) changes along a dimension; None when not constant."""
    if dimension not in varying(value):
        return 0
    operation = value.owner
    if operation is None:
        return None
    operands = operation.operands
    name = operation.name
    if name == "tt.make_range":
        return 1
    if name in {"tt.broadcast", "tt.expand_dims", "tt.trans"}:
        source = source_dimension(operation, dimension)
        return None if source is None else stride(operands[0], source)
    if name == "tt.reshape":
        return _reshaped_stride(operation, dimension)
    if name in _ADDITIVE:
        return _sum(stride(operands[0], dimension), stride(operands[1], dimension))
    if name == "arith.subi":
        second = stride(operands[1], dimension)
        return _sum(stride(operands[0], dimension), None if second is None else -second)
    if name in ("arith.extsi", "arith.index_cast"):
        return stride(operands[0], dimension)
    if name == "arith.muli":
        for factor, other in (operands, operands[::-1]):
            scale, step = constant(factor), stride(other, dimension)
            if scale is not None and step is not None:
                return scale * step
    return None


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _reshaped_stride(operation: Operation, dimension: int) -> int | None:
    source = operation.operands[0].type.shape
    target = operation.result.type.shape
    for before, after in reshape_groups(source, target):
        if dimension in after and len(before) == 1:
            step = stride(operation.operands[0], before[0])
            inner = math.prod(target[d] for d in after if d > dimension)
            return None if step is None else step * inner
    return None


@cache
def is_affine(value: Value, dimension: int) -> bool:
    """The value is linear in the index with a slope that no index changes."""
    if stride(value, dimension) is not None:
        return True
    operation = value.owner
    if operation is None:
        return False
    operands = operation.operands
    name = operation.name
    if name in {"tt.broadcast", "tt.expand_dims", "tt.trans"}:
        source = source_dimension(operation, dimension)
        return source is not None and is_affine(operands[0], source)
    if name in _ADDITIVE or name in ("arith.subi", "arith.extsi"):
        return all(is_affine(operand, dimension) for operand in operands)
    if name == "arith.muli":
        return any(
            not varying(factor) and is_affine(other, dimension)
            for factor, other in (operands, operands[::-1])
        )
    return False


def constant(value: Value) -> int | None:
    """The integer every element equals, when that is known."""
    operation = value.owner
    if operation is None:
        return None
    if operation.name in VIEWS:
        return constant(operation.operands[0])
    if operation.name != "arith.constant":
        return None
    match = re.match(r"(?:dense<)?(-?\d+)>? :|(?:dense<)?(true|false)(?:>? :|$)", operation.text)
    if not match:
        return None
    number, truth = match.groups()
    return int(number) if number else int(truth == "true")


def is_zero(value: Value) -> bool:
    """Every element is the constant zero."""
    if constant(value) == 0:
        return True
    operation = value.owner
    if operation is not None and operation.name in VIEWS:
        return is_zero(operation.operands[0])
    return (
        operation is not None
        and operation.name == "arith.constant"
        and bool(re.match(r"(?:dense<)?0\.0+e\+00>? :", operation.text))
    )


@cache
def contiguous(value: Value) -> int | None:
    """The dimension along which the memory behind a value runs, or None."""
    operation = value.owner
    if operation is None or not value.type.shape:
        return None
    if operation.name == "tt.load":
        pointer = operation.operands[0]
        return next((d for d in varying(pointer) if stride(pointer, d) == 1), None)
    if operation.name in VIEWS:
        source = contiguous(operation.operands[0])
        return None if source is None else target_dimension(operation, source)
    if is_unrolled(operation):
        source = contiguous(operation.operands[0])
        axis = operation.integer("axis")
        return None if source is None or source == axis else source - (source > axis)
    if is_elementwise(operation):
        found = (contiguous(operand) for operand in operation.operands)
        return next((d for d in found if d is not None), None)
    return None


def target_dimension(operation: Operation, source: int) -> int | None:
    """The result dimension of a view along which neighbours of an operand dimension lie."""
    if operation.name == "tt.reshape":
        shape = operation.operands[0].type.shape
        for before, after in reshape_groups(shape, operation.result.type.shape):
            if before and source == before[-1] and after:
                return after[-1]
        return None
    for dimension in range(len(operation.result.type.shape)):
        if source_dimension(operation, dimension) == source:
            return dimension
    return None


def vector_dimension(dot: Operation, flows: dict[Value, list[Value]]) -> int:
    """The dimension of a `tt.dot`'s result that is contiguous: of an operand, else of the store."""
    left, right = dot.operands[:2]
    rows, columns = contiguous(left) == 0, contiguous(right) == 1
    if rows != columns:
        return 0 if rows else 1
    return 0 if _stored_dimension(dot.result, flows) == 0 else 1


def _stored_dimension(value: Value, flows: dict[Value, list[Value]]) -> int | None:
    """The dimension in which the stores that a value reaches run through memory.

    `flows` maps a value to those it flows into across region boundaries (loop results).
    """
    seen: set[tuple[Value, int]] = set()

    def reaches(value: Value, dimension: int) -> bool:
        if (value, dimension) in seen:
            return False
        seen.add((value, dimension))
        if any(reaches(other, dimension) for other in flows.get(value, ())):
            return True
        for user in value.users:
            if user.name == "tt.store":
                if user.operands[1] is value and stride(user.operands[0], dimension) == 1:
                    return True
            elif user.name == "tt.reduce":
                axis = user.integer("axis")
                if dimension != axis and reaches(user.result, dimension - (dimension > axis)):
                    return True
            elif user.name == "tt.gather":
                if user.operands[0] is value and reaches(user.result, dimension):
                    return True
            elif user.name in VIEWS:
                target = target_dimension(user, dimension)
                if target is not None and reaches(user.result, target):
                    return True
            elif is_elementwise(user) and reaches(user.result, dimension):
                return True
        return False

    dimensions = range(len(value.type.shape))
    return next((d for d in dimensions if reaches(value, d)), None)


_BOUNDS = {"slt": -1, "sle": -1, "ult": -1, "ule": -1, "sgt": 1, "sge": 1, "uge": 1, "ugt": 1}


def bound(value: Value) -> tuple[int, ...] | None:
    """The index at which a comparison of linear terms fails first, if it fails at all.

    None for other values. When the comparison holds there, it holds everywhere: the way to know
    that a tile lies wholly inside a tensor.
    """
    operation = value.owner
    if operation is None or operation.name != "arith.cmpi" or not varying(value):
        return None
    sign = _BOUNDS.get(operation.text.split(",")[0].strip())
    if sign is None:
        return None
    corner = []
    for dimension, extent in enumerate(value.type.shape):
        first, second = (stride(operand, dimension) for operand in operation.operands)
        if first is None or second is None:
            return None
        corner.append(extent - 1 if (first - second) * sign < 0 else 0)
    return tuple(corner)


def is_recomputed(value: Value) -> bool:
    """Integers and masks that are linear in their indices: computing them again is free."""
    if bound(value) is not None:
        return True
    operation = value.owner
    if operation is not None and operation.name in ("arith.andi", "arith.ori"):
        return all(is_recomputed(operand) for operand in operation.operands)
    if "f" in value.type.element and not value.type.pointer:
        return False
    return all(stride(value, dimension) is not None for dimension in varying(value))


def forget() -> None:
    """Drop what was remembered about the values of a finished compilation."""
    for function in (varying, stride, is_affine, contiguous):
        function.cache_clear()
