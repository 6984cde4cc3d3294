"""The backend that torch finds through the entry-point group `torch_dynamo_backends`.

Dynamo hands over one graph after the other, of any piece of a program: a model, or what lies
between two graph breaks. Each becomes a `Program`, or stays with torch as a whole, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from graphcnn import arguments, torch_api
from graphcnn.errors import InvalidAttribute
from graphcnn.report import captured
from graphcnn.report.captured import GraphReport, Piece
from graphcnn.torch_backend.program import Program, Traced
from graphcnn.torch_import.draws import is_drawn

if TYPE_CHECKING:
    from graphcnn.kernels import Precision

_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


class Eager:
    """A graph that stays with torch as a whole."""

    def __init__(self, module: fx.GraphModule, because: str) -> None:
        self._module, self.because = module, because

    def __call__(self, *args: Any) -> Any:
        """What Dynamo's graph computes."""
        return self._module.forward(*args)

    def report(self) -> GraphReport:
        """What `explain` shows of it."""
        calls = [n for n in self._module.graph.nodes if n.op.startswith("call_")]
        ops = tuple(dict.fromkeys(str(getattr(n.target, "__name__", n.target)) for n in calls))
        return GraphReport((Piece("torch", len(calls), 0, ops, self.because),))


def graphcnn(module: fx.GraphModule, inputs: Sequence[Any], **given: object) -> Callable[..., Any]:
    """Compile a graph of Dynamo's for inference: `torch.compile(model, backend="graphcnn")`.

    The largest parts that graphcnn supports run as its plans, the rest as torch's operators; so
    does everything when a gradient could be asked for, and in training mode. `gx.explain` of what
    `torch.compile` returned tells which and why. Weights stay the module's own: a call after they
    changed, in whatever way, computes with what they are then.

    Args:
        module: The graph.
        inputs: Its tensors and sizes. The batch, the first dimension, stays free; other
            sizes, and numbers, are fixed to what they are, so that Dynamo traces anew for others.
        given: `mode` and `options` of `torch.compile`; there are no modes, and one option,
            "precision", as `compile` takes it. What torch is told of tf32 is of its own operators.

    Raises:
        InvalidAttribute: for a mode, other options, or another precision.
    """
    options = given.get("options", {})
    if (
        given.keys() - {"options"}
        or not isinstance(options, dict)
        or options.keys() - {"precision"}
    ):
        raise InvalidAttribute(
            "the backend has no modes, and one option",
            where='torch.compile(backend="graphcnn")',
            got=", ".join(f"{name}={value!r}" for name, value in given.items()),
            remedy='for example options={"precision": "tf32"}',
        )
    made = _made(module, inputs, arguments.precision(options.get("precision", "tf32x3")))
    captured.note(torch_api.compiled_callers(), made)
    return made


def _made(module: fx.GraphModule, inputs: Sequence[Any], precision: Precision) -> Program | Eager:
    placeholders = module.graph.find_nodes(op="placeholder")
    because = _left_whole(module, inputs)
    if because:
        return Eager(module, because)
    batch = _specialized([node.meta.get("example_value") for node in placeholders])
    try:
        lowered, written = torch_api.lowered(_for_inference(module), inputs)
    except Exception as error:
        first = str(error).partition("\n")[0]
        return Eager(module, f"torch cannot lower it: {type(error).__name__}: {first}")
    if written:
        return Eager(module, "it writes to its inputs, or to the state of a module in training")
    if len(placeholders) != len(lowered.graph.find_nodes(op="placeholder")):
        return Eager(module, "it holds tensors of its own")
    if sum(map(is_drawn, lowered.graph.nodes)) > 1:
        return Eager(module, "it draws random numbers twice, and their order counts")
    state = {
        number: torch_api.source_of(node)
        for number, (node, value) in enumerate(zip(placeholders, inputs, strict=True))
        if isinstance(value, torch.Tensor) and torch_api.is_state(node, value)
    }
    return Program(Traced(module, lowered, state, batch, precision))


def _left_whole(module: fx.GraphModule, inputs: Sequence[Any]) -> str:
    """Why a graph stays with torch; "" where it does not."""
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    if not all(isinstance(value, torch.Tensor | torch.SymInt) for value in inputs):
        return "it takes more than tensors and sizes"
    if any(type(value) not in _PLAIN or value.layout is not torch.strided for value in tensors):
        return "it takes a subclass of torch.Tensor, or a sparse tensor"
    devices = {value.device for value in tensors}
    if len(devices) != 1 or next(iter(devices)).type not in ("cpu", "cuda"):
        return f"its tensors are on {', '.join(sorted(map(str, devices))) or 'no device'}"
    if any("autocast" in str(node.target) for node in module.graph.nodes) or (
        torch.is_autocast_enabled(next(iter(devices)).type)
    ):
        return "it runs under autocast"
    results = [n.meta.get("example_value") for n in module.graph.nodes if n.op != "placeholder"]
    if _records(module) and any(map(_requires_grad, results)):
        weights = sum(_requires_grad(one) for one in tensors if isinstance(one, torch.nn.Parameter))
        return (
            f"a gradient could be asked for: it runs outside of torch.no_grad(), and "
            f"{f'{weights} parameters require' if weights else 'an input requires'} one"
        )
    return ""


def _records(module: fx.GraphModule) -> bool:
    """Whether any operator runs while gradients are recorded."""
    records = torch.is_grad_enabled()
    for node in module.graph.nodes:
        if node.target is torch._C._set_grad_enabled:
            records = bool(node.args[0])
        elif records and node.op.startswith("call_"):
            return True
    return False


def _requires_grad(kind: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.requires_grad for one in tree_leaves(kind))


def _for_inference(module: fx.GraphModule) -> fx.GraphModule:
    """The graph without switches of gradients, which the whole of it runs without, and without
    dropouts outside of training: they are their input, but torch does not lower writing to one."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    for node in [*graph.nodes]:
        if node.target is torch.nn.functional.dropout:
            given = dict(zip(("input", "p", "training"), node.args, strict=False)) | node.kwargs
            if given.get("training", True) is False:
                node.replace_all_uses_with(given["input"])
                graph.erase_node(node)
        elif node.target is torch._C._set_grad_enabled:
            graph.erase_node(node)
    return fx.GraphModule(module, graph)


def _specialized(kinds: Sequence[Any]) -> int | None:
    """Fix every size but the batch: which input that is; None where it is a number."""
    firsts = {
        value.shape[0].node.expr
        for value in kinds
        if isinstance(value, torch.Tensor)
        and value.dim()
        and isinstance(value.shape[0], torch.SymInt)
    }
    free = [
        number
        for number, value in enumerate(kinds)
        if isinstance(value, torch.SymInt) and value.node.expr in firsts
    ]
    batch = kinds[free[0]].node.expr if free else None
    for value in kinds:
        for size in value.shape if isinstance(value, torch.Tensor) else (value,):
            if isinstance(size, torch.SymInt) and size.node.expr != batch:
                int(size)
    return free[0] if free else None
