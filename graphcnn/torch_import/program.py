"""An exported program beside an example of its inputs: what it holds, and what torch computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_leaves

from graphcnn.errors import InputShapeError, UnsupportedModule


@dataclass(frozen=True)
class Program:
    """A program without in-place operators, and the leaves of its example.

    Raises:
        UnsupportedModule: for one that changes its state or its inputs.
        InputShapeError: for an example that is not one of its inputs.
    """

    title: str
    exported: ExportedProgram
    leaves: tuple[Any, ...]

    def __post_init__(self) -> None:
        written = [
            spec.target or spec.arg.name
            for spec in self.exported.graph_signature.output_specs
            if spec.kind is not OutputKind.USER_OUTPUT
        ]
        if written:
            raise UnsupportedModule(
                "the module changes its state, or its inputs, when it is called",
                where=self.title,
                got=f"it writes to {', '.join(map(str, written[:4]))}",
                wanted="a result that depends on inputs and weights alone",
                remedy="return the new state as an output, and copy an input before changing it",
            )
        wanted = [node.meta.get("val") for node in self._inputs]
        if len(wanted) != len(self.leaves) or not all(map(_fits, wanted, self.leaves)):
            raise InputShapeError(
                "the example is not what the program was exported for",
                where=self.title,
                got=", ".join(map(_shown, self.leaves)) or "no example",
                wanted=", ".join(map(_shown, wanted)),
                remedy="pass inputs of these shapes after the program",
            )

    @cached_property
    def _inputs(self) -> list[fx.Node]:
        placeholders = [n for n in self.exported.graph.nodes if n.op == "placeholder"]
        specs = self.exported.graph_signature.input_specs
        pairs = zip(placeholders, specs, strict=True)
        return [node for node, spec in pairs if spec.kind is InputKind.USER_INPUT]

    @property
    def fed(self) -> dict[fx.Node, Any]:
        """The example by placeholder."""
        return dict(zip(self._inputs, self.leaves, strict=True))

    @cached_property
    def state(self) -> dict[fx.Node, tuple[str | None, Any]]:
        """Parameters, buffers and constants by placeholder, those of the state_dict named."""
        found: dict[fx.Node, tuple[str | None, Any]] = {}
        held = self.exported.state_dict
        placeholders = [n for n in self.exported.graph.nodes if n.op == "placeholder"]
        specs = self.exported.graph_signature.input_specs
        for node, spec in zip(placeholders, specs, strict=True):
            if spec.kind is InputKind.USER_INPUT:
                continue
            if spec.target in held:
                value = held[spec.target]
                # A parameter of several names goes by the first.
                name = next(name for name, other in held.items() if other is value)
                found[node] = name, value.detach()
            else:
                found[node] = None, self.exported.constants[str(spec.target)]
        return found

    @cached_property
    def symbols(self) -> dict[Any, int]:
        """The sizes that are free, as they are in the example."""
        return {
            size.node.expr: value.shape[axis]
            for node, value in self.fed.items()
            if isinstance(value, torch.Tensor)
            for axis, size in enumerate(node.meta["val"].shape)
            if isinstance(size, torch.SymInt)
        }

    @cached_property
    def computed(self) -> dict[fx.Node, Any]:
        """What torch computes at every node.

        Raises:
            UnsupportedModule: where it fails on the example.
        """
        found: dict[fx.Node, Any] = {}

        class Keeping(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                found[n] = result = super().run_node(n)
                return result

        fed = self.fed | {node: value for node, (_, value) in self.state.items()}
        args = [fed[node] for node in self.exported.graph.nodes if node in fed]
        with torch.no_grad():
            interpreter = Keeping(self.exported.graph_module, garbage_collect_values=False)
            try:
                interpreter.run(*args, enable_io_processing=False)
            except Exception as error:
                raise failing(self.title, error) from error
        return found

    def is_like(self, module: torch.nn.Module, example: tuple[Any, ...]) -> bool:
        """Whether its outputs are the module's on the example, to 1e-4 of their range."""
        with torch.no_grad():
            wanted = tree_leaves(module(*example))
        output = next(n for n in self.exported.graph.nodes if n.op == "output")
        found = tree_leaves(self.computed[output])
        planned = all(self._as_planned(node, value) for node, value in self.computed.items())
        return planned and len(found) == len(wanted) and all(map(_alike, found, wanted))

    def _as_planned(self, node: fx.Node, value: Any) -> bool:
        """Whether a tensor has its shape in the program; one of a single sample may not."""
        kind = node.meta.get("val")
        if not isinstance(kind, torch.Tensor) or not isinstance(value, torch.Tensor):
            return True
        planned = (
            size.node.expr.subs(self.symbols) if isinstance(size, torch.SymInt) else size
            for size in kind.shape
        )
        # What depends on numbers in tensors, as the size of what a mask takes, is left open.
        return len(kind.shape) == value.dim() and all(
            size == found or getattr(size, "free_symbols", ())
            for size, found in zip(planned, value.shape, strict=True)
        )


def failing(title: str, error: Exception) -> UnsupportedModule:
    """The error of a module that torch itself cannot run."""
    return UnsupportedModule(
        "torch fails when it calls the module on the example",
        where=title,
        got=f"{type(error).__name__}: {first_lines(error)}",
        wanted="an example of what the module is called with",
        remedy="mend the example, or the module, until module(*example) works; the cause is "
        "torch's own error",
    )


def first_lines(error: Exception) -> str:
    """What an error of torch says first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines[:3]) or type(error).__name__


def _fits(wanted: Any, leaf: Any) -> bool:
    if not isinstance(wanted, torch.Tensor):
        return not isinstance(leaf, torch.Tensor)
    if not isinstance(leaf, torch.Tensor) or leaf.dtype is not wanted.dtype:
        return False
    sizes = zip(wanted.shape, leaf.shape, strict=False)
    alike = all(isinstance(size, torch.SymInt) or size == own for size, own in sizes)
    return alike and leaf.dim() == wanted.dim()


def _alike(found: Any, wanted: Any) -> bool:
    if not isinstance(wanted, torch.Tensor):
        return not isinstance(found, torch.Tensor)
    if not isinstance(found, torch.Tensor) or found.shape != wanted.shape:
        return False
    if wanted.numel() == 0 or not wanted.is_floating_point():
        return bool((found == wanted).all())
    wide = wanted.double()
    size = float(wide.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(found.double(), wide, rtol=0, atol=1e-4 * size, equal_nan=True)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{[*map(str, value.shape)]}"
    return repr(value)
