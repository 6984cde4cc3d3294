"""What became of a function that `torch.compile` compiled: which parts run as our plans."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from graphcnn import forks, torch_api
from graphcnn.report.result import Result
from graphcnn.report.tables import Table


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a graph: a region that is one plan of ours, or operators that stay with torch.

    Attributes:
        runs: "graphcnn" or "torch".
        calls: Calls of operators in it.
        kernels: Kernels that a call launches; 0 for torch, and before the first call.
        ops: Which operators.
        because: Why torch runs it; "" for a region.
    """

    runs: str
    calls: int
    kernels: int
    ops: tuple[str, ...]
    because: str = ""


@dataclass(frozen=True, slots=True)
class GraphReport:
    """One of the graphs that Dynamo made: the whole, or what lies between two graph breaks.

    Attributes:
        pieces: Its regions, then what stays with torch.
        note: What else there is to say, such as that it was not called yet.
    """

    pieces: tuple[Piece, ...]
    note: str = ""


class Captured(Protocol):
    """What the backend made of a graph."""

    def report(self) -> GraphReport:
        """What became of it so far."""
        ...


@dataclass(frozen=True)
class CompiledFunction(Result):
    """A function or module under `torch.compile(backend="graphcnn")`, told.

    Attributes:
        name: Its name.
        graphs: The graphs that Dynamo made of it so far, in the order in which it did.
    """

    name: str
    graphs: tuple[GraphReport, ...]

    @property
    def regions(self) -> int:
        """How many plans of ours run in it."""
        return sum(piece.runs == "graphcnn" for graph in self.graphs for piece in graph.pieces)

    def tables(self) -> tuple[Table, ...]:
        """What runs as our plans, and what stays with torch and why."""
        ours = tuple(
            (str(number), _shown(piece.ops), str(piece.calls), str(piece.kernels))
            for number, graph in enumerate(self.graphs)
            for piece in graph.pieces
            if piece.runs == "graphcnn"
        )
        left = tuple(
            (str(number), _shown(piece.ops), piece.because, str(piece.calls))
            for number, graph in enumerate(self.graphs)
            for piece in graph.pieces
            if piece.runs != "graphcnn"
        )
        notes = tuple(
            f"graph {n}: {graph.note}" for n, graph in enumerate(self.graphs) if graph.note
        )
        title = (
            f"explain {self.name} under torch.compile: {len(self.graphs)} graphs, "
            f"{self.regions} regions as plans of graphcnn"
        )
        return (
            Table(title, ("graph", "operators", "calls", "kernels"), ours, words=2, notes=notes)
            if ours
            else Table(title, notes=notes),
            Table("stays with torch", ("graph", "operators", "because", "calls"), left, words=3)
            if left
            else Table("stays with torch: nothing" if self.graphs else _NO_GRAPHS),
        )


_NO_GRAPHS = (
    "no graph has come to graphcnn: call it first; torch runs by itself what Dynamo does not trace"
)


def _shown(ops: tuple[str, ...]) -> str:
    return ", ".join(ops[:8]) + f" and {len(ops) - 8} more" * (len(ops) > 8)


_lock = forks.lock()
# By the function or module; weak, so that what Dynamo lets go is gone.
_captured: weakref.WeakKeyDictionary[Any, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()


def note(callers: Iterable[Any], made: Captured) -> None:
    """Remember what was made of a graph, for those whose call made Dynamo trace it."""
    with _lock:
        for caller in {id(caller): caller for caller in callers}.values():
            with suppress(TypeError):  # without a hash, or weak references, it cannot be found
                _captured.setdefault(caller, []).append(weakref.ref(made))


def of(compiled: Any) -> CompiledFunction | None:
    """What became of what `torch.compile` returned; None for anything else."""
    source = torch_api.original(compiled)
    try:
        with _lock:
            made = [reference() for reference in _captured.get(source, ())]
    except TypeError:
        return None  # it has no hash, or no weak references
    graphs = tuple(one.report() for one in made if one is not None)
    if not graphs and not torch_api.is_compiled(compiled):
        return None
    return CompiledFunction(getattr(source, "__qualname__", type(source).__name__), graphs)
