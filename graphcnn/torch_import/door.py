"""`from_torch` and `coverage`: a module or an exported program, and an example of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_leaves

from graphcnn.errors import UnsupportedModule
from graphcnn.frontend import expr, functional, graph
from graphcnn.frontend.expr import Input, Tensor
from graphcnn.ir.graph import Graph
from graphcnn.torch_import.check import as_array, check, computed
from graphcnn.torch_import.exporting import exported, made_functional
from graphcnn.torch_import.refusal import Coverage, unsupported
from graphcnn.torch_import.walk import Walk, valid


def from_torch(module: Any, /, *example: Any) -> Graph:
    """The graph of a PyTorch module, with its weights.

    Nodes are called as the modules that compute them (`layer1.0.conv1`), params as in the
    module's `state_dict`, and errors name the line of the module's own code. What depends on
    weights alone, such as a weight_norm, is computed at once. Any batch size is free to change
    unless the module uses it as a number. Several outputs come in the order of
    `torch.utils._pytree`.

    In the end every node is compared with what torch computes on the example.

    Args:
        module: An `nn.Module` in eval mode, or a program that `torch.export.export` made.
        example: What the module is called with; for a program, its own example by default.

    Raises:
        InputKindError: for another kind of module or example.
        UnsupportedModule: for training mode, and where torch.export cannot follow the module:
            its own error, which names the line, is the cause.
        UnsupportedOp: with everything that the module calls and graphcnn lacks.
        ImportDeviates: naming the first node whose numbers are not torch's.
    """
    walked = _walked(module, example)
    if walked.walk.gaps:
        raise unsupported(walked.coverage)
    graph = walked.graph()
    check(graph, walked.values())
    return graph


def coverage(module: Any, /, *example: Any) -> Coverage:
    """What of a module `from_torch` can take, with every operator that it cannot.

    Args:
        module: As for `from_torch`.
        example: As for `from_torch`.

    Raises:
        InputKindError, UnsupportedModule: as `from_torch`.
    """
    return _walked(module, example).coverage


@dataclass(frozen=True)
class _Walked:
    """A program whose calls are converted, and the example it was converted on."""

    title: str
    program: ExportedProgram
    arguments: list[Any]
    walk: Walk
    outputs: list[Any]
    free: bool

    @property
    def coverage(self) -> Coverage:
        return Coverage(self.title, self.walk.calls, tuple(self.walk.gaps))

    def graph(self) -> Graph:
        """The graph of what the program returns."""
        outputs = [one for one in self.outputs if isinstance(one, Tensor)]
        if not self.free or self.walk.pinned:
            # A shape in numbers keeps the batch as it is.
            outputs = [
                functional.reshape(one, one.shape, name=f"{one.name}.fixed")
                if one.dtype.is_float and one.shape
                else one
                for one in outputs
            ]
        if not outputs:
            raise UnsupportedModule(
                "the module returns no tensor that depends on its inputs",
                where=self.title,
                got=f"{len(self.outputs)} outputs",
                remedy="return a tensor that is computed from an input",
            )
        return graph(valid(self.title), outputs)

    def values(self) -> dict[str, Any]:
        """What torch computes on the example, by the names of the graph."""
        found = computed(self.program.graph_module, self.arguments)
        tensors = {
            value.name: found[node]
            for node, value in self.walk.values.items()
            if isinstance(value, Tensor)
            and value.name
            and isinstance(found.get(node), torch.Tensor)
        }
        return {name: as_array(tensor) for name, tensor in tensors.items()}


def _walked(module: Any, example: tuple[Any, ...]) -> _Walked:
    if isinstance(module, ExportedProgram):
        program, title = made_functional(module), "program"
        given = example or tuple(module.example_inputs[0] if module.example_inputs else ())
    else:
        program, title = exported(module, example), type(module).__name__
        given = example
    _check_state(program, title)
    specs = program.graph_signature.input_specs
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    leaves = iter(tree_leaves((given, {})))
    taken: set[str] = set()
    arguments, fed = [], {}
    for node, spec in zip(placeholders, specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            fed[node] = next(leaves, None)
            arguments.append(fed[node])
        else:
            arguments.append(_state(program, spec))
    symbols = _symbols(fed)
    walk = Walk(symbols, taken)
    for node, spec, value in zip(placeholders, specs, arguments, strict=True):
        if node not in fed:
            walk.values[node] = value
            if spec.kind is not InputKind.CONSTANT_TENSOR and spec.target:
                walk.name_constant(node, _first_name(program, spec.target))
    for node, value in fed.items():
        walk.values[node] = _input(node, value, taken) if isinstance(value, torch.Tensor) else value
    with torch.no_grad():
        outputs = tree_leaves(walk.run(program.graph), is_leaf=lambda x: x is None)
    return _Walked(title, program, arguments, walk, outputs, bool(symbols))


def _input(node: fx.Node, value: torch.Tensor, taken: set[str]) -> Input:
    name = valid(str(node.target))
    taken.add(name)
    made = expr.input(name, tuple(value.shape), value.dtype)
    assert isinstance(made, Input)
    return made


def _state(program: ExportedProgram, spec: Any) -> Any:
    """A parameter, a buffer or a constant of a program."""
    if spec.target in program.state_dict:
        return program.state_dict[spec.target].detach()
    return program.constants[spec.target]


def _first_name(program: ExportedProgram, target: str) -> str:
    """The first of the names of one parameter."""
    state = program.state_dict
    same = (name for name, value in state.items() if value is state.get(target))
    return next(same, target)


def _symbols(fed: Mapping[fx.Node, Any]) -> dict[Any, int]:
    """The sizes that are free, as they are in the example."""
    return {
        size.node.expr: value.shape[axis]
        for node, value in fed.items()
        if isinstance(value, torch.Tensor)
        for axis, size in enumerate(node.meta["val"].shape)
        if isinstance(size, torch.SymInt)
    }


def _check_state(program: ExportedProgram, title: str) -> None:
    """Check that a call only returns."""
    written = [
        spec.target or spec.arg.name
        for spec in program.graph_signature.output_specs
        if spec.kind is not OutputKind.USER_OUTPUT
    ]
    if written:
        raise UnsupportedModule(
            "the module changes its state, or its inputs, when it is called",
            where=title,
            got=f"it writes to {', '.join(map(str, written[:4]))}",
            wanted="a result that depends on inputs and weights alone",
            remedy="return the new state as an output, and copy an input before changing it",
        )
