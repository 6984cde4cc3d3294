"""How masks and addresses lie to a dimension: within aligned blocks of it, and up to a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from graphcnn.cpu import analysis
from graphcnn.cpu.ttir import Value


def divisor(value: Value, block: int) -> int:
    """A number that divides an integer wherever its indices are multiples of `block`; 0 for 0."""
    known = analysis.constant(value)
    if known is not None:
        return abs(known)
    operation = value.owner
    if operation is None:
        return 1
    if operation.name == "tt.make_range":
        return math.gcd(operation.integer("start"), block)
    parts = [divisor(operand, block) for operand in operation.operands]
    if operation.name in ("arith.addi", "arith.subi"):
        return math.gcd(*parts)
    if operation.name == "arith.muli":
        return math.prod(parts)
    passes = operation.name in {"tt.splat", "tt.expand_dims", "tt.broadcast", "arith.extsi"}
    return parts[0] if passes else 1


def stride_within(value: Value, dimension: int, block: int) -> int | None:
    """As `analysis.stride`, of a step that does not leave a block."""

    def within(parts: Sequence[int], sizes: Sequence[int]) -> int | None:
        return parts[-1] if sizes[parts[-1]] % block == 0 else None

    return _stride(value, dimension, 1, within)


def stride_of_blocks(value: Value, dimension: int, block: int) -> int | None:
    """How an integer or pointer changes from each block to the next, throughout the blocks."""

    def outside(parts: Sequence[int], sizes: Sequence[int]) -> int | None:
        return parts[0] if len(parts) == 2 and sizes[parts[1]] == block else None

    return _stride(value, dimension, block, outside)


def _stride(
    value: Value,
    dimension: int,
    count: int,
    part_of: Callable[[Sequence[int], Sequence[int]], int | None],
) -> int | None:
    """How a value changes over `count` steps that are all alike, or, where a reshape made the
    dimension of several, over one of the part that is picked of these, given all sizes."""
    step = analysis.stride(value, dimension)
    operation = value.owner
    if step is not None or operation is None:
        return None if step is None else step * count
    operands = operation.operands
    if operation.name in ("tt.expand_dims", "tt.broadcast", "tt.trans"):
        source = analysis.source_dimension(operation, dimension)
        return None if source is None else _stride(operands[0], source, count, part_of)
    if operation.name in ("arith.addi", "tt.addptr"):
        steps = [_stride(operand, dimension, count, part_of) for operand in operands]
        return None if None in steps else sum(step for step in steps if step)
    if operation.name == "tt.reshape":
        before = operands[0].type.shape
        for parts, target in analysis.reshape_groups(before, value.type.shape):
            part = part_of(parts, before) if target == (dimension,) else None
            if part is not None:
                return analysis.stride(operands[0], part)
    return None


def is_uniform(mask: Value, dimension: int, block: int) -> bool:
    """The mask is the same throughout each block: it compares with a multiple of its size."""
    if dimension not in analysis.varying(mask):
        return True
    operation = mask.owner
    if operation is None:
        return False
    operands = operation.operands
    if operation.name in ("tt.expand_dims", "tt.broadcast", "tt.trans"):
        source = analysis.source_dimension(operation, dimension)
        return source is not None and is_uniform(operands[0], source, block)
    if operation.name == "arith.andi":
        return all(is_uniform(operand, dimension, block) for operand in operands)
    if operation.name != "arith.cmpi" or operation.text.split(",")[0] not in ("slt", "sge"):
        return False
    steps = [analysis.stride(operand, dimension) for operand in operands]
    whole = all(divisor(operand, block) % block == 0 for operand in operands)
    return steps == [1, 0] and whole


def limits(mask: Value) -> dict[Value, int]:
    """Comparisons that a mask implies and that hold up to a limit along one dimension, which each
    is given with: of a value that rises by 1 along it, with one that does not change."""
    operation = mask.owner
    if operation is None or not mask.type.shape:
        return {}
    operands = operation.operands
    if operation.name in ("tt.expand_dims", "tt.broadcast"):
        rank = range(len(mask.type.shape))
        source = {analysis.source_dimension(operation, d): d for d in rank}
        return {value: source[d] for value, d in limits(operands[0]).items()}
    if operation.name == "arith.andi":
        return limits(operands[0]) | limits(operands[1])
    varying = analysis.varying(mask)
    if operation.name != "arith.cmpi" or not operation.text.startswith("slt,") or len(varying) != 1:
        return {}
    (dimension,) = varying
    steps = [analysis.stride(operand, dimension) for operand in operands]
    return {mask: dimension} if steps == [1, 0] else {}


def besides(mask: Value | None, known: Collection[Value]) -> frozenset[int]:
    """The dimensions in which a mask changes where some comparisons are true."""
    if mask is None or mask in known or mask.owner is None:
        return frozenset()
    operation = mask.owner
    if operation.name == "arith.andi":
        return besides(operation.operands[0], known) | besides(operation.operands[1], known)
    if operation.name in ("tt.expand_dims", "tt.broadcast"):
        inner = besides(operation.operands[0], known)
        rank = range(len(mask.type.shape))
        return frozenset(d for d in rank if analysis.source_dimension(operation, d) in inner)
    return analysis.varying(mask)
