"""`from_torch` and `coverage`: a module or an exported program, and an example of its inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_unflatten

from graphcnn.errors import UnsupportedModule
from graphcnn.frontend import functional, graph, sources
from graphcnn.frontend.expr import Call, Input, Tensor
from graphcnn.frontend.weights import numbers_of
from graphcnn.ir.graph import Graph, Value
from graphcnn.ir.structure import structure_of
from graphcnn.ir.types import DType
from graphcnn.torch_import.check import as_array, check
from graphcnn.torch_import.exporting import exported, made_functional
from graphcnn.torch_import.origin import valid
from graphcnn.torch_import.program import Program
from graphcnn.torch_import.refusal import Coverage, unsupported
from graphcnn.torch_import.walk import Walk


def from_torch(module: Any, /, *example: Any) -> Graph:
    """The graph of a PyTorch module, with its weights.

    Nodes are called as the modules that compute them (`layer1.0.conv1`), params as in the
    module's `state_dict`, and errors name the line of the module's own code. What depends on
    weights alone, such as a weight_norm, is computed at once. Any batch size is free to change
    unless the module uses it as a number. What a call of the compiled graph returns has the
    module's structure: tuples, lists, dicts, named tuples, and None. A dataclass becomes a named
    tuple of its fields; a named tuple has the name and fields of the module's, not its class.

    In the end every node is compared with what torch computes on the example.

    Args:
        module: An `nn.Module` in eval mode, or a program that `torch.export.export` made.
        example: What the module is called with; for a program, its own example by default.

    Raises:
        InputKindError: for another kind of module or example.
        UnsupportedModule: for training mode, where torch fails on the example, and where
            torch.export cannot follow the module: torch's own error, which names the line, is the
            cause.
        NonFiniteWeights: for a parameter that holds NaN or infinity, where the module reads it.
        UnsupportedOp: with everything that the module calls and graphcnn lacks.
        ImportDeviates: naming the first node whose numbers are not torch's.
    """
    program = _program(module, example)
    walk, outputs = _walked(program)
    if walk.gaps:
        for name, weight in program.exported.named_parameters():
            if weight.is_floating_point() and weight.itemsize > 1:  # no float8
                numbers_of(weight, DType.of(weight.dtype), name)
        raise unsupported(_coverage(program, walk))
    if walk.pinned or not program.symbols:
        walk, outputs = _walked(program, fixed=True)
    imported = graph(valid(program.title), outputs, structured=True)
    # Those that the module never reads are inputs as well: a call is the module's.
    held = (walk.values[node] for node in program.fed)
    given = (x.operands[0] if isinstance(x, Call) else x for x in held)
    inputs = tuple(Value(x.name, x.type) for x in given if isinstance(x, Input) and x.name)
    imported = imported.replace(inputs=inputs)
    tensors = {
        value.name: program.computed[node]
        for node, value in walk.values.items()
        if isinstance(value, Tensor) and value.name
    }
    fed = {valid(str(node.target)): value for node, value in program.fed.items()}
    arrays = {
        name: as_array(value)
        for name, value in (fed | tensors).items()
        if isinstance(value, torch.Tensor)
    }
    check(imported, arrays)
    return imported


def coverage(module: Any, /, *example: Any) -> Coverage:
    """What of a module `from_torch` can take, with every operator that it cannot.

    Args:
        module: As for `from_torch`.
        example: As for `from_torch`.

    Raises:
        InputKindError, UnsupportedModule: as `from_torch`.
    """
    program = _program(module, example)
    return _coverage(program, _walked(program)[0])


def _program(module: Any, example: tuple[Any, ...]) -> Program:
    if not isinstance(module, ExportedProgram):
        return exported(module, example)
    given: Any = (example, {}) if example else module.example_inputs or ((), {})
    return Program("program", made_functional(module), tuple(tree_leaves(given)))


def _coverage(program: Program, walk: Walk) -> Coverage:
    return Coverage(program.title, walk.calls, tuple(walk.gaps))


def _walked(program: Program, *, fixed: bool = False) -> tuple[Walk, Any]:
    """The program's calls converted, and its outputs in their structure.

    `fixed` for this batch size alone.
    """
    walk = Walk(program.symbols)
    for node, (name, value) in program.state.items():
        walk.hold(node, value, name)
    for node, value in program.fed.items():
        walk.values[node] = value
        if isinstance(value, torch.Tensor):
            name = walk.fresh(valid(str(node.target)))
            made = sources.input(name, tuple(value.shape), value.dtype)
            if fixed and made.dtype.is_float and made.shape:
                # A shape in numbers is the same for every batch size.
                made = functional.reshape(made, made.shape, name=walk.fresh(f"{made.name}.fixed"))
            walk.values[node] = made
    with torch.no_grad():
        leaves = tree_leaves(walk.run(program.exported.graph))
    outputs = tree_unflatten(leaves, program.exported.call_spec.out_spec)
    values = structure_of(outputs)[1]
    whole = values and all(isinstance(one, Tensor) for one in values)
    if not whole and not walk.gaps:
        raise UnsupportedModule(
            "a module returns tensors that depend on its inputs",
            where=program.title,
            got=", ".join(type(one).__name__ for one in values) or "no output",
            wanted="tensors, also in tuples, lists, dicts, named tuples and dataclasses",
            remedy="leave constants out of what the module returns, and other containers",
        )
    return walk, outputs
