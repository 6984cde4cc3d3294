"""A graph as a module of torch: for training, or for a second opinion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from graphcnn.ir import Graph, Node, by_name, check_names, inline, interpret, verify
from graphcnn.ops import BatchNorm, Dropout
from graphcnn.targets.torch_ops import function_of

# torch's default: the part of a batch's statistics that goes into the running ones.
MOMENTUM = 0.1


def to_torch(graph: Graph) -> nn.Module:
    """A module that computes a graph with torch's operators, in evaluation mode on the CPU.

    It is called with tensors, by name or in the graph's order, and returns what a call of the
    compiled graph does: one tensor, or several in the graph's structure or in a dict by name. Its
    `state_dict` has the names of the graph's params, whose values it copies, so that
    `load_weights(graph, module.state_dict())` takes them back after training. Running statistics
    of batch norms and indices are buffers, and so are constants, as the 2 of `2 * x`, which the
    `state_dict` has not; everything else is trained.

    In training mode dropout drops, and a batch norm takes the batch's statistics and updates its
    own with momentum 0.1: a graph does not say another.

    Args:
        graph: Any graph with weights; fused groups are taken apart.

    Raises:
        InvalidGraph: for what is not a valid graph.
        MissingWeights: when a param has no data.
        UnsupportedOp: for a padding that torch does not have.
    """
    verify(graph)
    return Network(inline(graph)).eval()


class Network(nn.Module):
    """A graph without fused nodes as a module; params are parameters of modules inside it, by the
    parts of their names.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        # The module's own are the values from now on.
        self._graph = graph.replace(params=tuple(replace(p, data=None) for p in graph.params))
        for node in graph.nodes:
            function_of(node)  # what torch lacks is refused here, not in a call
        statistics = {
            name
            for node in graph.nodes
            if isinstance(node.op, BatchNorm)
            for name in node.inputs[1:3]
        }
        for param in graph.params:
            dtype = getattr(torch, param.type.dtype.long_name)
            tensor = torch.tensor(param.values, dtype=dtype)
            trained = dtype.is_floating_point and param.name not in statistics
            if param.constant or not trained:
                _register(self, param.name, nn.Buffer(tensor, persistent=not param.constant))
            else:
                _register(self, param.name, nn.Parameter(tensor))

    def forward(self, /, *arrays: torch.Tensor, **inputs: torch.Tensor) -> Any:
        """The outputs.

        Raises:
            MissingInput, UnexpectedInput: for tensors that are not one for each input.
        """
        given = by_name(self._graph, arrays, inputs)
        check_names(self._graph, given)
        held = {
            **dict(self.named_parameters(remove_duplicate=False)),
            **dict(self.named_buffers(remove_duplicate=False)),
            **given,
        }

        def apply(node: Node, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
            match node.op:
                case Dropout(p):
                    return F.dropout(operands[0], p, self.training)
                case BatchNorm(eps):
                    x, mean, var, weight, bias = operands
                    return F.batch_norm(x, mean, var, weight, bias, self.training, MOMENTUM, eps)
            return function_of(node)(*operands)

        for name, value in interpret(self._graph.nodes, held.__getitem__, apply):
            if name in self._graph.outputs:
                held[name] = value
        return self._graph.returned([held[name] for name in self._graph.outputs])


def _register(module: nn.Module, name: str, tensor: nn.Parameter | nn.Buffer) -> None:
    """Give a module a parameter or buffer, in modules inside it named by the parts of the name.

    Not by `register_parameter` and `add_module`, which refuse the names of a module's methods, such
    as "half": nothing here reads them as attributes.
    """
    *path, leaf = name.split(".")
    for part in path:
        module = module._modules.setdefault(part, nn.Module()) or module
    if isinstance(tensor, nn.Parameter):
        module._parameters[leaf] = tensor
        return
    module._buffers[leaf] = tensor
    if not tensor.persistent:
        module._non_persistent_buffers_set.add(leaf)
