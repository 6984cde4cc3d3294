"""Loop nests: evaluate tensor expressions at symbolic indices, each part at the shallowest loop.

A `Nest` is a stack of open C loops. `value(v, index)` returns C text for one element of `v`;
what it computes on the way becomes temporaries placed in the outermost loop on which they depend,
so a row pointer or a row mask is computed once per row and the innermost loop is contiguous.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from graphcnn.cpu import analysis
from graphcnn.cpu.expressions import (
    c_type,
    contraction,
    expression,
    is_float,
    literal,
    rounded,
    size,
    unrounded_product,
)
from graphcnn.cpu.refusal import understanding
from graphcnn.cpu.terms import TRUE, ZERO, Array, Index, Term, linear
from graphcnn.cpu.ttir import Block, Operation, Value

EMPTY: Mapping[int, Term] = MappingProxyType({})


class Scope(Protocol):
    """What a nest needs from the emission around it."""

    arrays: dict[Value, Array]
    scalars: dict[Value, str]
    numbers: itertools.count[int]
    zeros: int
    checked: bool

    def site(self, where: str) -> int:
        """The number under which a checked access reports its line."""

    def origin(self, pointer: Value) -> int:
        """The position of the parameter that a pointer comes from, or -1."""


class Nest:
    """A stack of C loops under construction; closed ones end up in `lines`."""

    def __init__(self, scope: Scope, holding: Container[Value] = ()) -> None:
        self.scope = scope
        self._holding = holding  # comparisons known to be true everywhere
        self._levels: list[list[str]] = [[]]
        self._heads: list[str] = []
        self._extents: dict[str, int] = {}
        self._memo: list[dict[tuple[Value, Index], Term]] = [{}]

    @property
    def lines(self) -> list[str]:
        """The text at the level of the nest itself."""
        return self._levels[0]

    @property
    def depth(self) -> int:
        """How many loops are open."""
        return len(self._heads)

    def open(self, extent: int | Term, step: int = 1, start: int | str = 0, most: int = 0) -> Term:
        """Open a loop and return its index; `most` is the extent of one that is computed."""
        name = f"i{next(self.scope.numbers)}"
        known = extent if isinstance(extent, int) else most
        if known:
            self._extents[name] = known
        end = extent.text if isinstance(extent, Term) else extent
        self._heads.append(f"for (int {name} = {start}; {name} < {end}; {name} += {step}) {{")
        self._levels.append([])
        self._memo.append({})
        return Term(name, self.depth)

    def close(self, count: int = 1) -> None:
        """Close the innermost loops."""
        for _ in range(count):
            body = self._levels.pop()
            self._memo.pop()
            self._levels[-1] += [self._heads.pop(), *body, "}"]

    def open_all(
        self, shape: Sequence[int], order: Sequence[int], ends: Mapping[int, Term] = EMPTY
    ) -> Index:
        """Open loops over the dimensions in `order`, outermost first; the others stay at 0.

        `ends` are computed extents, by dimension, where there are such.
        """
        index = [ZERO] * len(shape)
        for dimension in order:
            extent = ends.get(dimension, shape[dimension])
            index[dimension] = self.open(extent, most=shape[dimension])
        return tuple(index)

    def independent(self) -> None:
        """Let the compiler know that no step of the innermost loop reads what another writes."""
        if self._heads:
            self._heads[-1] = f"#pragma omp simd\n{self._heads[-1]}"

    def rolled(self) -> None:
        """Let the compiler not write the steps of the innermost loop out."""
        if self._heads:
            self._heads[-1] = f"#pragma GCC unroll 1\n{self._heads[-1]}"

    def emit(self, text: str) -> None:
        """Append a statement to the innermost loop."""
        self._levels[-1].append(text)

    def bind(self, kind: str, text: str, depth: int) -> Term:
        """Name the value of a C expression at a loop level."""
        name = f"t{next(self.scope.numbers)}"
        self._levels[depth].append(f"{kind} const {name} = {text};")
        return Term(name, depth)

    def value(self, value: Value, index: Index) -> Term:
        """One element of a value."""
        if not value.type.shape and value in self.scope.scalars:
            return Term(self.scope.scalars[value], 0)
        if value in self._holding:
            return TRUE
        key = (value, index)
        for known in self._memo:
            if key in known:
                return known[key]
        term = self._evaluate(value, index)
        self._memo[term.depth][key] = term
        return term

    def element(self, array: Array, index: Index) -> Term:
        """The C lvalue of an array element."""
        used = [(term, step) for term, step in zip(index, array.strides, strict=True) if step != 0]
        offset = linear(used)
        return Term(f"{array.name}[{offset.text}]", offset.depth)

    def address(self, pointer: Value, index: Index) -> tuple[Term, list[tuple[Term, int]]]:
        """A pointer as a base and index-times-stride terms that move it."""
        moving = [
            (term, step)
            for dimension, term in enumerate(index)
            if (step := analysis.stride(pointer, dimension)) is not None and step and term != ZERO
        ]
        fixed = tuple(
            ZERO if analysis.stride(pointer, dimension) is not None else term
            for dimension, term in enumerate(index)
        )
        return self.value(pointer, fixed), moving

    def inline(self, block: Block, arguments: Sequence[Term]) -> list[Term]:
        """Evaluate a scalar region (the combiner of a reduction) on given arguments."""
        known = dict(zip(block.arguments, arguments, strict=True))
        for operation in block.operations[:-1]:
            terms = [
                known.get(operand) or self.value(operand, ()) for operand in operation.operands
            ]
            known[operation.result] = self._apply(operation, terms)
        return [known.get(value) or self.value(value, ()) for value in block.terminator.operands]

    def _evaluate(self, value: Value, index: Index) -> Term:
        if value in self.scope.arrays:
            element = self.element(self.scope.arrays[value], index)
            return self.bind(c_type(value.type), *element)
        operation = value.owner
        assert operation is not None, f"{value.name} was not computed"
        with understanding(operation.line, operation.where):
            return self._result(operation, value, index)

    def _result(self, operation: Operation, value: Value, index: Index) -> Term:
        operands = operation.operands
        match operation.name:
            case "arith.constant" | "ub.poison":
                return Term(literal(operation), 0)
            case "tt.make_range":
                start = operation.integer("start")
                return (
                    index[0] if start == 0 else Term(f"({start} + {index[0].text})", index[0].depth)
                )
            case "tt.splat":
                return self.value(operands[0], (ZERO,) * len(operands[0].type.shape))
            case "tt.expand_dims":
                axis = operation.integer("axis")
                return self.value(operands[0], index[:axis] + index[axis + 1 :])
            case "tt.broadcast":
                shape = operands[0].type.shape
                pairs = zip(index, shape, strict=True)
                return self.value(operands[0], tuple(ZERO if n == 1 else i for i, n in pairs))
            case "tt.trans":
                order = analysis.permutation(operation)
                source = [index[order.index(d)] for d in range(len(order))]
                return self.value(operands[0], tuple(source))
            case "tt.reshape":
                return self.value(operands[0], self._reshaped(operation, index))
            case "tt.join":
                return self._join(operands, index)
            case "tt.split":
                last = Term(str(operation.results.index(value)), 0)
                return self.value(operands[0], (*index, last))
            case "tt.cat":
                return self._cat(operands, index)
            case "tt.reduce":
                return self._unrolled(operation, value, index)
            case "tt.gather":
                return self._gather(operation, index)
            case "tt.load":
                return self._load(operation, index)
        return self._elementwise(operation, value, index)

    def _elementwise(self, operation: Operation, value: Value, index: Index) -> Term:
        affine = {d for d in analysis.varying(value) if index[d] != ZERO}
        steps = {d: analysis.stride(value, d) for d in affine}
        wraps = value.type.pointer and self.scope.checked
        if affine and not is_float(value.type) and not wraps and None not in steps.values():
            start = self.value(value, (ZERO,) * len(index))
            moved = linear([(index[d], step) for d, step in sorted(steps.items()) if step])
            return Term(f"({start.text} + {moved.text})", max(start.depth, moved.depth))
        product = unrounded_product(operation)
        if product is not None and product.result not in self.scope.arrays:
            return self._contracted(operation, product, index)
        terms = [self.value(operand, index) for operand in operation.operands]
        if operation.name == "arith.andi" and TRUE in terms and value.type.element == "i1":
            return terms[1] if terms[0] == TRUE else terms[0]
        return self._apply(operation, terms)

    def _apply(self, operation: Operation, terms: list[Term]) -> Term:
        text = expression(operation, [term.text for term in terms])
        return self._computed(operation, text, terms)

    def _contracted(self, operation: Operation, product: Operation, index: Index) -> Term:
        """A sum or difference with a product that is not rounded by itself."""
        first, second = operation.operands
        other = second if first is product.result else first
        terms = [self.value(operand, index) for operand in (*product.operands, other)]
        text = contraction(operation, product, [term.text for term in terms])
        return self._computed(operation, text, terms)

    def _computed(self, operation: Operation, text: str, terms: Sequence[Term]) -> Term:
        depth = max((term.depth for term in terms), default=0)
        return self.bind(c_type(operation.result.type), text, depth)

    def _load(self, operation: Operation, index: Index) -> Term:
        pointer, *rest = operation.operands
        kind = c_type(operation.result.type)
        zero = rounded("0", operation.result.type)
        mask = self.value(rest[0], index) if rest else TRUE
        other = self.value(rest[1], index) if len(rest) > 1 else Term(zero, 0)
        address = self.value(pointer, index)
        if self.scope.checked:
            depth = max(term.depth for term in (address, other, mask))
            where = f"{self.scope.origin(pointer)}, {self.scope.site(operation.where)}"
            guard = f"may_load({address.text}, sizeof(*{address.text}), {where})"
            chosen = f"({guard} ? *{address.text} : {zero})"
            return self.bind(kind, f"{mask.text} ? {chosen} : {other.text}", depth)
        base, moving = self.address(pointer, index)
        if mask == TRUE:
            return self._element_at(kind, base, moving)
        depth = max(mask.depth, base.depth)
        inner = [(term, step) for term, step in moving if term.depth > depth]
        bounded = all(term.text in self._extents and step > 0 for term, step in inner)
        if inner and bounded and (len(rest) < 2 or analysis.is_zero(rest[1])):
            # A masked row becomes a row of zeros, so that the loop along it needs no mask.
            fixed = linear([part for part in moving if part not in inner])
            length = 1 + sum(step * (self._extents[term.text] - 1) for term, step in inner)
            row = self.bind(
                f"{kind}*",
                f"{mask.text} ? {base.text} + {fixed.text} : (const {kind}*)zeros",
                max(depth, fixed.depth),
            )
            self.scope.zeros = max(self.scope.zeros, length * size(operation.result.type))
            return self._element_at(kind, row, inner)
        offset = linear(moving)
        depth = max(depth, offset.depth, other.depth)
        text = f"{mask.text} ? {base.text}[{offset.text}] : {other.text}"
        return self.bind(kind, text, depth)

    def _element_at(self, kind: str, base: Term, moving: list[tuple[Term, int]]) -> Term:
        offset = linear(moving)
        return self.bind(kind, f"{base.text}[{offset.text}]", max(base.depth, offset.depth))

    def _reshaped(self, operation: Operation, index: Index) -> Index:
        shape = operation.operands[0].type.shape
        target = operation.result.type.shape
        source = [ZERO] * len(shape)
        for before, after in analysis.reshape_groups(shape, target):
            rest = math.prod(target[d] for d in after)
            terms = []
            for dimension in after:
                rest //= target[dimension]
                terms.append((index[dimension], rest))
            flat = linear([part for part in terms if part[0] != ZERO])
            rest = math.prod(shape[d] for d in before)
            for dimension in before:
                rest //= shape[dimension]
                if shape[dimension] == 1 or flat == ZERO:
                    continue
                text = f"({flat.text}) / {rest}" if rest > 1 else flat.text
                if dimension != before[0]:
                    text = f"({text}) % {shape[dimension]}"
                source[dimension] = flat if text.isalnum() else self.bind("int", text, flat.depth)
        return tuple(source)

    def _gather(self, operation: Operation, index: Index) -> Term:
        source, places = operation.operands
        axis, kind = operation.integer("axis"), source.type
        place = self.value(places, index)
        position = (*index[:axis], place, *index[axis + 1 :])
        element = self.element(self.scope.arrays[source], position)
        text = element.text
        if self.scope.checked:
            there = f"{place.text} >= 0 && {place.text} < {kind.shape[axis]}"
            site = self.scope.site(f"{operation.where}: gather from beyond its operand")
            fault = f"(assertion_failed({site}), {rounded('0', kind)})"
            text = f"{there} ? {text} : {fault}"
        return self.bind(c_type(kind), text, max(element.depth, place.depth))

    def _join(self, operands: list[Value], index: Index) -> Term:
        first, second = (self.value(operand, index[:-1]) for operand in operands)
        last = index[-1]
        if last.text.isdigit():
            return second if last.text == "1" else first
        depth = max(first.depth, second.depth, last.depth)
        kind = c_type(operands[0].type)
        return self.bind(kind, f"{last.text} ? {second.text} : {first.text}", depth)

    def _cat(self, operands: list[Value], index: Index) -> Term:
        length = operands[0].type.shape[0]
        wrapped = self.bind("int", f"{index[0].text} % {length}", index[0].depth)
        first, second = (self.value(operand, (wrapped, *index[1:])) for operand in operands)
        depth = max(first.depth, second.depth, index[0].depth)
        text = f"{index[0].text} < {length} ? {first.text} : {second.text}"
        return self.bind(c_type(operands[0].type), text, depth)

    def _unrolled(self, operation: Operation, value: Value, index: Index) -> Term:
        axis = operation.integer("axis")

        def at(position: int) -> list[Term]:
            source = (*index[:axis], Term(str(position), 0), *index[axis:])
            return [self.value(operand, source) for operand in operation.operands]

        terms = at(0)
        for position in range(1, operation.operands[0].type.shape[axis]):
            terms = self.inline(operation.blocks[0], [*terms, *at(position)])
        return terms[operation.results.index(value)]
