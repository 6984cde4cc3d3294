"""From a graph of ATen's operators to symbolic tensors, call by call.

Whatever depends on parameters and constants alone torch computes at once: what is left of a
weight_norm is its weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from graphcnn.errors import GraphCNNError
from graphcnn.frontend import functional, sources
from graphcnn.frontend.expr import Call, Tensor, Weight
from graphcnn.ir.types import DType
from graphcnn.torch_import import (
    movement,
    padding,
    places,
    pointwise,
    reductions,
    repeating,
    resizing,
    windows,
)
from graphcnn.torch_import.draws import is_drawn
from graphcnn.torch_import.movement import Size
from graphcnn.torch_import.origin import is_own_module, module_path, users_line, valid
from graphcnn.torch_import.refusal import Gap, Refused
from graphcnn.torch_import.reroll import needed, response_norm

CONVERSIONS: dict[str, pointwise.Conversion] = {
    **pointwise.ROWS,
    **movement.ROWS,
    **places.ROWS,
    **padding.ROWS,
    **windows.ROWS,
    **resizing.ROWS,
    **reductions.ROWS,
}
# Operators whose result of truth values has the numbers of its operands.
_KEEP = {name.partition(".")[0] for name in (*movement.ROWS, *places.ROWS, *movement.SHAPED)}
_TRUTHS = pointwise.TRUTHS | _KEEP
# Keyword arguments that say how, not what.
_IGNORED = ("out", "memory_format", "layout", "device", "pin_memory", "generator")
# What to use for a family of operators that graphcnn lacks.
_NEAREST = {
    "conv3d": "conv1d, conv2d",
    "conv_transpose3d": "conv_transpose1d, conv_transpose2d",
    "max_pool3d": "max_pool2d",
    "avg_pool3d": "avg_pool2d",
    "einsum": "matmul, bmm, linear",
    "linalg_matrix_norm": "linalg.vector_norm over two dimensions, Frobenius' norm",
}


class Walk:
    """What the calls of a graph have become so far.

    Attributes:
        values: By node: a symbolic tensor, a torch tensor that is constant, or a Python value.
        gaps: What could not be taken. A stand-in takes its place, so that all of it is found.
        calls: How many calls there were, but for those of constants.
        lacking: The gap of each node that has one.
        pinned: Whether a number was computed of the batch size, so that it cannot change.
    """

    def __init__(self, symbols: Mapping[Any, int]) -> None:
        self.values: dict[fx.Node, Any] = {}
        self.gaps: list[Gap] = []
        self.lacking: dict[fx.Node, Gap] = {}
        self.calls = 0
        self.pinned = False
        self._symbols, self._found = symbols, dict[Any, int]()
        self._taken, self._unknown = set[str](), set[fx.Node]()
        self._weights: dict[str, Weight] = {}
        self._named: dict[fx.Node, str] = {}
        # What depends on parameters: weights, unlike constants of the code.
        self._learned: set[fx.Node] = set()

    def hold(self, node: fx.Node, value: Any, name: str | None) -> None:
        """Take a parameter or constant as a node's value; a parameter has a name."""
        self.values[node] = value
        if name is not None:
            self._named[node] = valid(name)
            self._learned.add(node)
            self._taken.add(self._named[node])

    def run(self, graph: fx.Graph) -> Any:
        """Convert what the graph's output depends on, and return its values."""
        return fx.node.map_arg(self.convert(graph).args[0], self._returned)

    def convert(self, graph: fx.Graph) -> fx.Node:
        """Convert what the graph's output depends on, and return that node."""
        output = graph.output_node()
        wanted = needed(output)
        for node in graph.nodes:
            if node in wanted and node not in self.values:
                self.values[node] = self._call(node)
        return output

    def _returned(self, node: fx.Node) -> Any:
        """An output, which is no truth value: these are 1 and 0 here."""
        if _truth(node.meta.get("val")) and not self.gaps:
            self._gap(node, Refused("a result of truth values", "numbers: convert with .float()"))
        return self.values[node]

    def leave(self, node: fx.Node, because: str) -> None:
        """Take a call for one that is lacking."""
        self.values[node] = self._gap(node, Refused(because), node.meta.get("val"))

    def shape(self, value: Any) -> tuple[int, ...]:
        """The sizes of a node's tensor, those that follow the batch told apart."""
        return tuple(map(self.size, value.shape))

    def size(self, value: Any) -> int:
        """A size as a number; raises Refused for one that depends on what tensors hold."""
        if not isinstance(value, torch.SymInt):
            return int(value)
        size = value.node.expr.subs(self._found)
        found = size.subs(self._symbols)
        if found.free_symbols:
            raise Refused("a size that depends on numbers in tensors", "sizes that are known")
        return Size(found) if size.free_symbols else int(found)

    def _call(self, node: fx.Node) -> Any:
        kind = node.meta.get("val")
        if _family(node) not in movement.MADE and not self._learned.isdisjoint(
            node.all_input_nodes
        ):
            self._learned.add(node)
        unknown = [one for one in node.all_input_nodes if one in self._unknown]
        if unknown:
            return self._without(node, unknown[0])
        if isinstance(kind, torch.SymInt):
            return self.size(kind)
        if isinstance(kind, torch.SymFloat | torch.SymBool):
            self.pinned = True
            return kind.node.expr.subs(self._symbols)
        values = {one: self.values[one] for one in node.all_input_nodes if one in self.values}
        norm = response_norm(node)
        if norm and isinstance(self.values.get(norm.input), Tensor):
            return self._converted(
                node,
                lambda: functional.local_response_norm(
                    self.values[norm.input], norm.size, norm.alpha, norm.beta, norm.k
                ),
            )
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
        if str(node.target) == "<built-in function getitem>":
            return self._part(node, args)
        if not any(isinstance(value, Tensor) for value in values.values()):
            sample = repeating.sample(node, self.values, self.shape)
            if sample is None:
                return self._constant(node, args, kwargs)
            (source, *_), shape = node.all_input_nodes, self.shape(kind)
            x = self._weight(source, self.values[source], False)
            return self._converted(node, lambda: repeating.per_sample(x, shape, sample))
        if _family(node) in movement.MADE:
            # The numbers do not matter.
            args = (torch.empty(self.shape(node.all_input_nodes[0].meta["val"])), *args[1:])
            kwargs = {**kwargs, "dtype": node.meta["val"].dtype}
            self.pinned |= any(isinstance(n, Size) for n in self.shape(kind))
            return self._constant(node, args, kwargs)
        return self._converted(node, lambda: self._applied(node, args, kwargs))

    def _without(self, node: fx.Node, operand: fx.Node) -> None:
        """Leave a call aside, as one of its operands is lacking and no stand-in has its type."""
        self._unknown.add(node)
        if operand in self.lacking:
            self.lacking[node] = self.lacking[operand]

    def _part(self, node: fx.Node, args: Any) -> Any:
        parts, number = args
        part = parts[number]
        if part is None:
            return self._without(node, node.args[0])  # type: ignore[arg-type]
        if isinstance(part, Refused):
            return self._gap(node.args[0], part, node.meta["val"])  # type: ignore[arg-type]
        return part

    def _constant(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """What torch makes of constants."""
        self.pinned |= any(isinstance(leaf, Size) for leaf in _leaves((args, kwargs)))
        if is_drawn(node):
            self.calls += 1
            return self._gap(
                node, Refused("random numbers", "gx.random_normal by a seed"), node.meta["val"]
            )
        with torch.no_grad():
            return node.target(*args, **kwargs)  # type: ignore[operator]

    def _converted(self, node: fx.Node, convert: Any) -> Any:
        """The result of a conversion under the module's name and line, or a gap."""
        self.calls += 1
        known = {id(value) for value in self.values.values()}
        try:
            made = convert()
            self._check(made, node.meta["val"])
        except Refused as refused:
            return self._gap(node, refused, node.meta["val"])
        except GraphCNNError as error:
            got = f": {error.got}" if error.got is not None else ""
            return self._gap(node, Refused(error.what + got, error.remedy or ""), node.meta["val"])
        for one in made if isinstance(made, tuple) else (made,):
            if isinstance(one, Tensor) and id(one) not in known:
                self._place(one, node, known)
        return made

    def _applied(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target = str(node.target).removeprefix("aten.")
        bound = self._bound(node, args, kwargs)
        if target in movement.SHAPED:
            return movement.SHAPED[target](bound[0], self.shape(node.meta["val"]))
        convert = CONVERSIONS.get(target)
        if convert is None:
            raise Refused("graphcnn has no such operator", _NEAREST.get(_family(node), ""))
        if _truth(node.meta["val"]) and _family(node) not in _TRUTHS:
            raise Refused("a result of truth values", "numbers: convert with .float()")
        sizes = [leaf for leaf in _leaves(bound) if isinstance(leaf, Size)]
        if target in ("slice.Tensor", "slice_scatter.default", "narrow.default"):
            sizes = [size for size in sizes if size != bound[0].shape[0]]  # to the end
        self.pinned |= bool(sizes)
        return convert(*bound)

    def _bound(self, node: fx.Node, args: Any, kwargs: Any) -> list[Any]:
        """All arguments in the order of the schema; constants as weights."""
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        sources = [*node.args, *(node.kwargs.get(a.name) for a in schema[len(node.args) :])]
        given = [*args, *(kwargs.get(a.name, a.default_value) for a in schema[len(args) :])]
        pairs = [
            pair
            for pair, a in zip(zip(sources, given, strict=True), schema, strict=True)
            if not a.kwarg_only or a.name not in _IGNORED
        ]
        places = _family(node) in ("index", "index_select")
        return [self._operand(source, value, places) for source, value in pairs]

    def _operand(self, source: Any, value: Any, places: bool) -> Any:
        if isinstance(value, list | tuple) and isinstance(source, list | tuple):
            return [self._operand(s, v, places) for s, v in zip(source, value, strict=True)]
        if isinstance(value, torch.Tensor):
            return self._weight(source, value, places)
        return value

    def _weight(self, source: fx.Node, value: torch.Tensor, places: bool) -> Any:
        """A constant as a weight; a lone number of the code as such; whole numbers as they are.

        Truth values become 1 and 0, unless they say which `places` to take.
        """
        name, learned = self._named.get(source), source in self._learned
        is_number = not learned or (name is None and not value.is_floating_point())
        if value.dim() == 0 and is_number and not places:
            return float(value) if value.dtype is torch.bool else value.item()
        if value.dtype is torch.bool and not places:
            value = value.float()
        if not value.is_floating_point() or value.numel() == 0:
            return value
        if source.name not in self._weights:
            called = name or source.name
            weight = Weight.of(value, DType.of(value.dtype), called, constant=not learned)
            weight.name = name
            self._weights[source.name] = weight
        return self._weights[source.name]

    def _check(self, made: Any, kinds: Any) -> None:
        """Check a result's types against torch's own."""
        several = isinstance(kinds, list | tuple)
        for one, kind in zip(made, kinds, strict=False) if several else ((made, kinds),):
            if not isinstance(one, Tensor):
                continue
            self._learn(one, kind)
            if one.shape != self.shape(kind):
                raise Refused(f"a result of shape {self.shape(kind)}, not {one.shape}")
            if str(kind.dtype).removeprefix("torch.") not in ("bool", one.dtype.long_name):
                raise Refused(f"a result in {kind.dtype}", f"{one.dtype.long_name}")

    def _learn(self, made: Tensor, kind: Any) -> None:
        """Take sizes that torch.export left open, as how many places a constant mask has."""
        for size, found in zip(kind.shape, made.shape, strict=False):
            symbol = size.node.expr if isinstance(size, torch.SymInt) else None
            if symbol is not None and symbol.is_symbol and symbol not in self._symbols:
                self._found[symbol] = found

    def _gap(self, node: fx.Node, refused: Refused, kind: Any = None) -> Any:
        """Note a gap; a stand-in of the right type takes its place."""
        place = users_line(node)
        gap = Gap(str(node.target), module_path(node), refused.because, refused.nearest, place)
        self.gaps.append(gap)
        self.lacking[node] = gap
        try:
            found = self.stand_in(kind)
        except Refused:
            found = None
        if found is None:
            self._unknown.add(node)
        return found

    def stand_in(self, kind: Any) -> Any:
        """Symbolic tensors of the types of a node's result."""
        if isinstance(kind, list | tuple):
            return tuple(map(self.stand_in, kind))
        if not isinstance(kind, torch.Tensor) or 0 in self.shape(kind):
            return None
        try:
            dtype = DType.of(kind.dtype)
        except GraphCNNError:
            dtype = DType.F32
        return sources.input(self.fresh("lacking"), tuple(map(int, self.shape(kind))), dtype)

    def _place(self, made: Tensor, node: fx.Node, known: set[int]) -> None:
        """Give what a conversion made the module's name and the user's line."""
        where, waiting = users_line(node), [made]
        while waiting:
            one = waiting.pop()
            if isinstance(one, Call) and id(one) not in known:
                known.add(id(one))
                one.line = where
                waiting += one.operands
        path, stem = module_path(node), _family(node).strip("_")
        name = path if path and is_own_module(node) else f"{path}.{stem}".strip(".")
        made.name = self.fresh(valid(name))

    def fresh(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        number, found = 0, name
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found


def _family(node: fx.Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _truth(kind: Any) -> bool:
    return isinstance(kind, torch.Tensor) and kind.dtype is torch.bool


def _leaves(values: Any) -> list[Any]:
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in _leaves(value)]
    return [values]
