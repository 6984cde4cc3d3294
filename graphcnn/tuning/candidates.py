"""The ways in which a node can be computed: kernels and tiles in the order of the model's liking,
and those of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphcnn.errors import UnsupportedOp
from graphcnn.ir import Graph, Node
from graphcnn.kernels import Choice, ConvTile, DeviceTraits, LinearTile, Problem, conv2d_box
from graphcnn.plan import Call, Location
from graphcnn.targets.library import LibraryTarget
from graphcnn.targets.policy import Called, Measured, Policy
from graphcnn.targets.triton import TritonTarget
from graphcnn.targets.ways import TORCH, function, ways_of

# As many of a layer's kernels and tiles as the model likes best; the first is what it would take.
KERNELS = 4


@dataclass(frozen=True)
class Candidate:
    """A way of computing a node.

    Attributes:
        name: As a person reads it, and as its times are kept.
        kernels: Choices by the anchor's name and its problem, where kernels compute the node.
        call: One of torch's ways in their place, or "".
    """

    name: str
    kernels: Mapping[tuple[str, Problem], Choice] = field(default_factory=dict)
    call: str = ""

    def policy(self, node: Node, base: Policy) -> Policy:
        """What makes a target compute the node in this way, and others by another policy."""
        calls = {(node.name, node.type): Called(self.call, "")} if self.call else {}
        return Measured(base, self.kernels, calls)


class _Noting(Policy):
    """A policy, and what it was asked."""

    def __init__(self, base: Policy) -> None:
        self._base = base
        self.asked: dict[tuple[str, Problem], Sequence[Choice]] = {}

    def kernel(
        self, anchor: Node, problem: Problem, found: Sequence[Choice], device: DeviceTraits
    ) -> Choice:
        self.asked[anchor.name, problem] = best = ranked(self._base, anchor, problem, found, device)
        return best[0]


def ranked(
    policy: Policy,
    anchor: Node,
    problem: Problem,
    found: Sequence[Choice],
    device: DeviceTraits,
    most: int = KERNELS,
) -> tuple[Choice, ...]:
    """The choices that a policy likes best, in this order; where tensor descriptors may serve, the
    best that reads by them is the last, as only a measurement tells whether they are faster."""
    left, best = [choice for choice in found if policy.allows(choice)], list[Choice]()
    if by_box := [choice for choice in left if choice.launch is conv2d_box]:
        left = [choice for choice in left if choice not in by_box]
    while left and len(best) < most - bool(by_box):
        best.append(policy.kernel(anchor, problem, left, device))
        left.remove(best[-1])
    return (*best, policy.kernel(anchor, problem, by_box, device)) if by_box else tuple(best)


Tunable = TritonTarget | LibraryTarget


def base_of(target: Tunable) -> Policy:
    """The policy of a target where nothing was measured."""
    policy = target.policy
    return policy.base if isinstance(policy, Measured) else policy


def candidates(graph: Graph, target: Tunable) -> dict[str, tuple[Candidate, ...]]:
    """The ways for each node of a graph, that of an untuned compile first; nodes for which nothing
    is to be chosen are left out."""
    found = {node.name: _calls(node, target) for node in graph.nodes}
    if isinstance(target, TritonTarget):
        own = _kernels(graph, target)
        found = {name: (*own[name], *calls) for name, calls in found.items() if name in own}
    return {name: ways for name, ways in found.items() if len(ways) > 1}


def _kernels(graph: Graph, target: TritonTarget) -> dict[str, list[Candidate]]:
    """The ways of our own for the nodes that kernels compute.

    The phases of a transposed convolution take their first choices together, then their second.
    """
    noting, device = _Noting(base_of(target)), target.on.memory.type
    steps = TritonTarget(target.on, noting).lower(graph).steps
    labels = {step.node: step.label for step in steps if not isinstance(step.work, Call)}
    found: dict[str, list[Candidate]] = {}
    for node in graph.nodes:
        if node.name not in labels:
            continue
        anchors = {member.name for member in node.members}
        asked = {key: best for key, best in noting.asked.items() if key[0] in anchors}
        found[node.name] = []
        for rank in range(max(map(len, asked.values()), default=1)):
            taken = {key: best[min(rank, len(best) - 1)] for key, best in asked.items()}
            told = (f"{c.launch.__name__} {_spelled(c.tile, device)}" for c in taken.values())
            name = " and ".join(dict.fromkeys(told)) or labels[node.name]
            found[node.name].append(Candidate(name, taken))
    return found


def _calls(node: Node, target: Tunable) -> tuple[Candidate, ...]:
    """The ways of torch, if it has any."""
    try:
        ways = ways_of(node, target.on.memory.type)
        function(node, TORCH)
    except UnsupportedOp:
        return ()
    return tuple(Candidate(f"library: {way}", call=way) for way in ways)


def _spelled(tile: Any, device: str) -> str:
    """A tile as "128x64x32 4w 3s": its sizes, and on a GPU its warps and stages, and "2p" behind
    these where the reduction has two parts."""
    fields = tile._asdict()
    counts = [f"{fields.pop(f'num_{name}', 1)}{name[0]}" for name in ("warps", "stages")]
    if isinstance(tile, ConvTile | LinearTile) and (parts := fields.pop("parts")) > 1:
        counts.append(f"{parts}p")
    return " ".join(["x".join(map(str, fields.values())), *(counts if device != "cpu" else ())])


def spelled(graph: Graph, node: Node, locations: Mapping[str, Location]) -> str:
    """What the time of a node depends on, on one device: its operators, types and strides; the same
    for two nodes that differ in their names."""
    numbers: dict[str, str] = {}
    lines = []
    for name in dict.fromkeys(node.inputs):
        numbers[name] = f"%{len(numbers)}"
        place = "param" if graph.is_param(name) else _place(name, locations)
        lines.append(f"{numbers[name]}: {graph.type_of(name)} {place}")
    outputs = {value.name for value in node.outputs}
    for member in node.members:
        numbers[member.name] = f"%{len(numbers)}"
        reads = [numbers[name] for name in member.inputs]
        said = [f"{name}={value!r}" for name, value in member.op.attributes().items()]
        line = (
            f"{numbers[member.name]}: {member.type} = {member.op.name}({', '.join(reads + said)})"
        )
        lines.append(f"{line} {_place(member.name, locations)}" if member.name in outputs else line)
    return "\n".join(lines)


def _place(name: str, locations: Mapping[str, Location]) -> str:
    if name not in locations:
        return "anywhere"
    return f"at {list(locations[name].strides)}{' in tf32' * locations[name].tf32}"
