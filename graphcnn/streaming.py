"""Causal networks of sequences, fed piece by piece as the sequence comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from graphcnn import ops
from graphcnn.arguments import check_array
from graphcnn.compiler import optimize
from graphcnn.errors import BatchError, InputKindError, InputShapeError, NotCausal, counted
from graphcnn.ir import CompileLog, Fused, Graph, Node, Op, OpKind, TensorType, Value, inline
from graphcnn.ir.calls import by_name
from graphcnn.passes import Canonicalize, Simplify, journal, run_passes
from graphcnn.runtime.boundary import check_inputs, torch_dtype
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.dlpack import Kept, exported, imported


def stream(model: CompiledModel) -> Stream:
    """A stream through a causal network: its outputs, piece by piece, are those of the whole.

    The network reads sequences [N, C, steps] of one length. Its convolutions have stride 1 and all
    of their padding in front; besides it has functions of each element, functions and reductions
    over the channels and, behind the last step alone, anything.

    Args:
        model: A compiled model; the pieces are compiled for its target, fused where it is.

    Raises:
        InputKindError: for what is no compiled model.
        NotCausal: naming the node that would read ahead, or that is not known not to.
    """
    check_model(model)
    return Stream(model)


@dataclass(frozen=True, slots=True)
class Past:
    """What a piece's convolutions read of the steps before it.

    Attributes:
        name: The graph input that holds these steps.
        kept: The output that holds the last steps of these and the piece, for the next one.
        type: Of the input, [N, C, steps].
    """

    name: str
    kept: str
    type: TensorType


class Stream:
    """One sequence, or a batch of them, on its way through a causal network.

    Calling it takes the next piece, [N, C, any number of steps] per input, as the model takes its
    inputs, and returns what the model returns, for these steps. What convolutions need of the past
    is kept between calls; before the first step it is zeros, which is what their padding holds. A
    number of steps that is met for the first time is compiled.
    """

    def __init__(self, model: CompiledModel) -> None:
        self._model = model
        self._pieces: dict[int, tuple[CompiledModel, tuple[Past, ...]]] = {}
        self._past: dict[str, Any] = {}
        self._kept = Kept(model.target.on)
        # Not the compiled graph, which may compute some of the steps only.
        self._graph = run_passes(model.source, (Simplify(), Canonicalize()), CompileLog())
        _piece(self._graph, 1)

    def reset(self) -> None:
        """Begin a new sequence."""
        self._past = {}

    def __call__(self, /, *arrays: object, **inputs: Any) -> Any:
        """The outputs for the next piece.

        Raises:
            InputShapeError: for pieces of different lengths, or of no sequences.
            BatchError, InputKindError: for another batch size, or kind of array, than before.
            MissingInput, UnexpectedInput, InputDTypeError, InputDeviceError: as a model's call.
        """
        given = by_name(self._graph, arrays, inputs)
        taken = imported(given)
        length = _length(self._graph, taken)
        # Before the model's own checks, which speak of the past as well.
        check_inputs(Graph(self._graph.name, _pieces(self._graph, length), (), (), ()), taken)
        if length not in self._pieces:
            self._pieces[length] = self._compiled(length)
        model, pasts = self._pieces[length]
        past = self._past or _silence(model, pasts, next(iter(taken.values())))
        _check_goes_on(past, taken)
        results = model.source.named(model(**taken, **past))
        if taken is not given:
            self._kept.keep(taken.values())
        self._past = {each.name: results[each.kept] for each in pasts}
        wanted = [results[name] for name in self._graph.outputs]
        return self._model.source.returned(exported(wanted, given))

    def _compiled(self, length: int) -> tuple[CompiledModel, tuple[Past, ...]]:
        graph, pasts = _piece(self._graph, length)
        fused = any(isinstance(node.op, Fused) for node in self._model.graph.nodes)
        target, log = self._model.target, journal()
        made = optimize(graph, target, log, fused)
        model = CompiledModel(graph, made, target, log, binder=self._model.binder)
        model.prepare()
        return model, pasts


def _pieces(graph: Graph, length: int) -> tuple[Value, ...]:
    """The inputs of a graph, of so many steps."""
    shapes = {value.name: (*value.type.shape[:2], length) for value in graph.inputs}
    return tuple(Value(v.name, v.type.with_shape(shapes[v.name])) for v in graph.inputs)


def _length(graph: Graph, inputs: Mapping[str, Any]) -> int:
    lengths = set()
    for name, array in inputs.items():
        check_array(array, f"input '{name}'")
        lengths.add(tuple(array.shape)[2:])
    if len(lengths) != 1 or len(next(iter(lengths))) != 1 or (0,) in lengths:
        raise InputShapeError(
            "a stream is fed pieces of sequences, all inputs as many steps",
            where=f"graph '{graph.name}'",
            got=", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            or "no input",
            wanted=", ".join(f"{v.name} [N, {v.type.shape[1]}, steps]" for v in graph.inputs),
            remedy="pass a piece for every input; one step is [N, C, 1]",
        )
    return int(lengths.pop()[0])


def _silence(model: CompiledModel, pasts: tuple[Past, ...], like: Any) -> dict[str, Any]:
    """The past before the first step, in the kind and batch of an array."""
    zeros: dict[str, Any] = {}
    for each in pasts:
        shape = (like.shape[0], *each.type.shape[1:])
        if isinstance(like, torch.Tensor):
            kind = torch_dtype(each.type.dtype)
            zeros[each.name] = torch.zeros(shape, dtype=kind, device=model.target.on.memory)
        else:
            zeros[each.name] = np.zeros(shape, each.type.dtype.numpy)
    return zeros


def _check_goes_on(past: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    for before in past.values():
        for name, array in inputs.items():
            if isinstance(before, torch.Tensor) is not isinstance(array, torch.Tensor):
                raise InputKindError(
                    "a stream goes on with the kind of arrays that it began with",
                    where=f"input '{name}'",
                    got=type(array).__name__,
                    wanted=type(before).__name__,
                    remedy="convert the piece, or begin a new sequence with reset()",
                )
            if before.shape[0] != array.shape[0]:
                raise BatchError(
                    "a stream goes on with the sequences that it began with",
                    where=f"input '{name}'",
                    got=counted(array.shape[0], "sequence"),
                    wanted=before.shape[0],
                    remedy="pass a piece of each, or begin new sequences with reset()",
                )


def _piece(graph: Graph, length: int) -> tuple[Graph, tuple[Past, ...]]:
    """The network of `length` steps, which reads what it needs of the past as further inputs.

    Raises:
        NotCausal: naming the node.
    """
    flat = inline(graph)
    rules = _Causality(flat)
    types = {param.name: param.type for param in flat.params}
    sequences = _pieces(flat, length)
    types |= {value.name: value.type for value in sequences}
    nodes: list[Node] = []
    pasts: dict[tuple[str, int], Past] = {}
    windows: dict[tuple[str, int], str] = {}

    def append(node: Node) -> None:
        types[node.name] = node.op.infer(*(types[name] for name in node.inputs))
        nodes.append(replace(node, outputs=(Value(node.name, types[node.name]),)))

    for node in flat.nodes:
        op, steps = rules.past_of(node)
        inputs = node.inputs
        if steps:
            read = inputs[0]
            if (read, steps) not in pasts:
                roles = ("past", "with", "kept")
                name, window, kept = (_fresh(f"{read}.{role}{steps}", flat) for role in roles)
                types[name] = types[read].with_shape((*types[read].shape[:2], steps))
                pasts[read, steps], windows[read, steps] = Past(name, kept, types[name]), window
                append(Node(window, ops.Concat(2), (name, read), (), node.where))
                append(Node(kept, ops.Slice(2, -steps), (window,), (), node.where))
            inputs = (windows[read, steps], *inputs[1:])
        append(replace(node, op=op, inputs=inputs))
    found = tuple(pasts.values())
    piece = Graph(
        flat.name,
        (*sequences, *(Value(each.name, each.type) for each in found)),
        flat.params,
        tuple(nodes),
        (*flat.outputs, *(each.kept for each in found)),
    )
    return piece, found


def _fresh(name: str, graph: Graph) -> str:
    while graph.defines(name):
        name += "_"
    return name


class _Causality:
    """Which values of a graph have a step per step of its inputs, and which are of the last one.

    The steps lie along the last dimension, also where the channels are reduced away.
    """

    def __init__(self, graph: Graph) -> None:
        shapes = {value.type.shape[2:] for value in graph.inputs}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise NotCausal(
                "a stream is of sequences [N, C, steps], all of the same length",
                where=f"graph '{graph.name}'",
                got=", ".join(map(str, graph.inputs)),
                remedy="call the model on whole inputs",
            )
        ((self._steps,),) = shapes
        self._graph = graph
        self._sequences = {value.name for value in graph.inputs}
        self._last: set[str] = set()

    def past_of(self, node: Node) -> tuple[Op, int]:
        """The node's op for a piece that has its past in front, and how many steps this has."""
        moving = [name for name in node.inputs if name in self._sequences]
        ending = [name for name in node.inputs if name in self._last]
        if not moving:
            self._last.update([node.name] if ending else [])
            return node.op, 0
        if ending:
            raise _refused(node, f"it reads '{ending[0]}', which is of the last step, at all steps")
        time = len(self._graph.type_of(moving[0]).shape) - 1
        match node.op:
            case ops.Conv1d() if moving == [node.inputs[0]]:
                self._sequences.add(node.name)
                return self._conv(node, node.op)
            case ops.Slice(dim=dim) if dim == time and self._is_last(node.op):
                self._last.add(node.name)
                return ops.Slice(time, -1), 0
            case ops.Pad():
                raise _refused(
                    node,
                    "it is no part of a convolution's own padding",
                    "give the convolutions that read it a padding (zeros in front) of their own",
                )
            case op if op.kind in (OpKind.ELEMENTWISE, OpKind.BROADCAST):
                self._check_fixed(node, moving)
            case op if _keeps_steps_apart(op, time):
                pass
            case _:
                raise _refused(node, "it is not known to keep the steps of a sequence apart")
        shape = node.type.shape
        if shape[-1] != self._steps or len(shape) > 3:
            raise _refused(node, f"it makes {node.type} of {self._steps} steps")
        self._sequences.add(node.name)
        return node.op, 0

    def _check_fixed(self, node: Node, moving: list[str]) -> None:
        """That the other operands of a pointwise op are alike at all steps."""
        if isinstance(node.op, ops.BatchNorm | ops.Prelu):
            time = len(self._graph.type_of(moving[0]).shape) - 1
            if len(moving) == 1 and time > 1:
                return
            raise _refused(node, "it reads a number for each step")
        for name in node.inputs:
            type = self._graph.type_of(name)
            if name not in moving and type.shape[-1:] not in ((), (1,)):
                raise _refused(
                    node,
                    f"it reads {type}, perhaps a number for each step",
                    f"pass '{name}' as an input [N, C, steps], or call the model on whole "
                    "sequences",
                )

    def _is_last(self, op: ops.Slice) -> bool:
        steps = range(self._steps)
        return steps[op.start : op.stop : op.step] == steps[-1:]

    def _conv(self, node: Node, conv: ops.Conv1d) -> tuple[Op, int]:
        (span,) = conv.window(self._graph.type_of(node.inputs[1]).shape).spans
        if conv.stride != (1,):
            raise _refused(
                node,
                f"its stride is {conv.stride[0]}: it has no output at some steps",
                "take stride=1, or call the model on whole sequences",
            )
        if conv.padding != (span - 1, 0):
            raise _refused(
                node,
                f"its padding is {conv.padding}, and all in front {span - 1, 0}",
                f"pass padding={span - 1, 0}, or call the model on whole sequences",
            )
        return replace(conv, padding=(0, 0)), span - 1


def _keeps_steps_apart(op: Op, time: int) -> bool:
    """Whether an op's value at a step, along dimension `time`, is of the operands' at this step."""
    inner = range(1, time)
    match op:
        case (
            ops.Slice()
            | ops.Concat()
            | ops.Softmax()
            | ops.LogSoftmax()
            | ops.Argmax()
            | ops.Squeeze()
        ):
            return op.dim in inner
        case ops.Unsqueeze():
            return 1 <= op.dim <= time
        case ops.Reduction():
            return all(dim in inner for dim in op.dim)
        case ops.LocalResponseNorm():
            return time > 1
        case _:
            return isinstance(op, ops.Dropout)


def _refused(node: Node, why: str, remedy: str = "call the model on whole sequences") -> NotCausal:
    return NotCausal(
        "the network cannot be streamed",
        where=node.place,
        got=f"{node.op}: {why}",
        wanted="operators whose output at a step depends on the steps up to it",
        remedy=remedy,
    )
