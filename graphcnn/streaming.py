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
from graphcnn.errors import BatchError, InputKindError, InputShapeError, NotCausal
from graphcnn.ir import (
    CompileLog,
    Fused,
    Graph,
    Node,
    Op,
    OpKind,
    TensorType,
    Value,
    by_name,
    inline,
)
from graphcnn.passes import Canonicalize, Simplify, journal, run_passes
from graphcnn.runtime.boundary import torch_dtype
from graphcnn.runtime.compiled import CompiledModel, check_model


def stream(model: CompiledModel) -> Stream:
    """A stream through a causal network: its outputs, piece by piece, are those of the whole.

    The network reads sequences [N, C, steps] of one length. Its convolutions have stride 1 and all
    of their padding in front; besides it has functions of each element, functions over the channels
    and, behind the last step alone, anything.

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
        window: The output whose last steps the next piece reads: the past and the piece.
        type: Of the input, [N, C, steps].
    """

    name: str
    window: str
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
        inputs = by_name(self._graph, arrays, inputs)
        length = _length(inputs)
        if length not in self._pieces:
            self._pieces[length] = self._compiled(length)
        model, pasts = self._pieces[length]
        past = self._past or _silence(model, pasts, next(iter(inputs.values())))
        _check_goes_on(past, inputs)
        results = model(**inputs, **past)
        if len(model.source.outputs) == 1:
            results = {model.source.outputs[0]: results}
        self._past = {
            each.name: results[each.window][:, :, -each.type.shape[2] :] for each in pasts
        }
        names = zip(self._model.source.outputs, self._graph.outputs, strict=True)
        found = {name: results[renamed] for name, renamed in names}
        return found if len(found) > 1 else next(iter(found.values()))

    def _compiled(self, length: int) -> tuple[CompiledModel, tuple[Past, ...]]:
        graph, pasts = _piece(self._graph, length)
        fused = any(isinstance(node.op, Fused) for node in self._model.graph.nodes)
        target, log = self._model.target, journal()
        model = CompiledModel(graph, optimize(graph, target, log, fused), target, log)
        model.prepare()
        return model, pasts


def _length(inputs: Mapping[str, Any]) -> int:
    lengths = set()
    for name, array in inputs.items():
        check_array(array, f"input '{name}'")
        lengths.add(tuple(array.shape)[2:])
    if len(lengths) != 1 or len(next(iter(lengths))) != 1 or (0,) in lengths:
        raise InputShapeError(
            "a stream is fed pieces of sequences, all inputs as many steps",
            got=", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items()),
            wanted="[N, C, steps]",
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
                    got=f"{array.shape[0]} sequences",
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
    types |= {
        value.name: value.type.with_shape((*value.type.shape[:2], length)) for value in flat.inputs
    }
    nodes: list[Node] = []
    pasts: dict[tuple[str, int], Past] = {}

    def append(node: Node) -> None:
        types[node.name] = node.op.infer(*(types[name] for name in node.inputs))
        nodes.append(replace(node, outputs=(Value(node.name, types[node.name]),)))

    for node in flat.nodes:
        op, steps = rules.past_of(node)
        inputs = node.inputs
        if steps:
            read = inputs[0]
            if (read, steps) not in pasts:
                name, window = (_fresh(f"{read}.{role}{steps}", flat) for role in ("past", "with"))
                types[name] = types[read].with_shape((*types[read].shape[:2], steps))
                pasts[read, steps] = Past(name, window, types[name])
                append(Node(window, ops.Concat(2), (name, read), (), node.where))
            inputs = (pasts[read, steps].window, *inputs[1:])
        append(replace(node, op=op, inputs=inputs))
    found = tuple(pasts.values())
    sequences = tuple(Value(value.name, types[value.name]) for value in flat.inputs)
    piece = Graph(
        flat.name,
        (*sequences, *(Value(each.name, each.type) for each in found)),
        flat.params,
        tuple(nodes),
        (*flat.outputs, *(each.window for each in found)),
    )
    return piece, found


def _fresh(name: str, graph: Graph) -> str:
    while graph.defines(name):
        name += "_"
    return name


class _Causality:
    """Which values of a graph have a step per step of its inputs, and which are of the last one."""

    def __init__(self, graph: Graph) -> None:
        shapes = {value.type.shape[2:] for value in graph.inputs}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise NotCausal(
                "a stream is of sequences [N, C, steps], all of the same length",
                where=f"graph '{graph.name}'",
                got=", ".join(map(str, graph.inputs)),
                remedy="call the model on whole inputs",
            )
        (self._steps,) = shapes
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
        fixed = [self._graph.type_of(name) for name in node.inputs if name not in moving]
        match node.op:
            case ops.Conv1d() if moving == [node.inputs[0]]:
                self._sequences.add(node.name)
                return self._conv(node, node.op)
            case ops.BatchNorm() | ops.LocalResponseNorm() | ops.Prelu() if len(moving) == 1:
                pass
            case ops.Slice(dim=2) if self._is_last(node, node.op):
                self._last.add(node.name)
                return ops.Slice(2, -1), 0
            case ops.Slice(dim=1) | ops.Concat(dim=1) | ops.Softmax(dim=1) | ops.LogSoftmax(dim=1):
                pass
            case op if op.kind in (OpKind.ELEMENTWISE, OpKind.BROADCAST):
                for type in fixed:
                    if type.shape[-1:] not in ((), (1,)):
                        raise _refused(node, f"it reads {type}, perhaps a number for each step")
            case ops.Dropout():
                pass
            case _:
                raise _refused(node, "it is not known to keep the steps of a sequence apart")
        if node.type.shape[2:] != self._steps:
            raise _refused(node, f"it makes {node.type} of {self._steps[0]} steps")
        self._sequences.add(node.name)
        return node.op, 0

    def _is_last(self, node: Node, op: ops.Slice) -> bool:
        (steps,) = self._steps
        return range(steps)[op.start : op.stop : op.step] == range(steps - 1, steps)

    def _conv(self, node: Node, conv: ops.Conv1d) -> tuple[Op, int]:
        (span,) = conv.window(self._graph.type_of(node.inputs[1]).shape).spans
        if conv.stride != (1,):
            raise _refused(node, f"its stride is {conv.stride[0]}: it has no output at some steps")
        if conv.padding != (span - 1, 0):
            raise _refused(node, f"its padding is {conv.padding}, and all in front {span - 1, 0}")
        return replace(conv, padding=(0, 0)), span - 1


def _refused(node: Node, why: str) -> NotCausal:
    return NotCausal(
        "the network cannot be streamed",
        where=node.place,
        got=f"{node.op}: {why}",
        wanted="operators whose output at a step depends on the steps up to it",
        remedy="pad convolutions in front only, or call the model on whole sequences",
    )
