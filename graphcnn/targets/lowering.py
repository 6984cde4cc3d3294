"""What lowering a graph needs at hand: where values live, and the steps and weights so far."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from graphcnn.errors import InvalidAttribute, TooLarge, shown
from graphcnn.ir import Chosen, DType, Graph, Node, Op, Param, Refusal, TensorType, node_cost
from graphcnn.kernels import Choice, Launch, Problem, Refused, View, choices
from graphcnn.kernels.launch import MAX_OFFSET
from graphcnn.plan import Buffer, Location, Lowered, Packing, Step
from graphcnn.targets.device import Device
from graphcnn.targets.layout import broadcast_strides, contiguous, locate, within
from graphcnn.targets.pack import plain
from graphcnn.targets.parts import share
from graphcnn.targets.policy import Policy, undivided
from graphcnn.targets.tf32 import in_tf32, rounded_values
from graphcnn.targets.winograd import algorithm


@dataclass
class Lowering:
    """One graph on its way to steps.

    Attributes:
        graph: The graph.
        device: Where the steps are to run.
        policy: Picks the kernel and the tile of every convolution and linear layer.
        locations: Where its values live.
        copied: Operands of concats that do not live where the concat needs them, and why.
        steps: Those of the nodes so far.
        weights: What they read beside the graph's values, by name.
        choices: What the policy has picked.
        tf32: Values that are rounded to tf32 where they lie.
    """

    graph: Graph
    device: Device
    policy: Policy
    locations: dict[str, Location]
    copied: tuple[Refusal, ...] = ()
    steps: list[Step] = field(default_factory=list)
    weights: dict[str, Packing] = field(default_factory=dict)
    choices: list[Chosen] = field(default_factory=list)
    tf32: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, graph: Graph, device: Device, policy: Policy, called: Container[str] = ()
    ) -> Lowering:
        """Start with every value located and no step; some nodes are called of a library."""
        tf32: frozenset[str] = frozenset()
        if device.traits.precision == "tf32":
            foreign = [n.name for n in graph.nodes if n.name in called or policy.call(n)]
            tf32 = rounded_values(graph, foreign)
        return cls(graph, device, policy, *share(graph, locate(graph)), tf32=tf32)

    def check_sizes(self) -> None:
        """Check that kernels can address every value.

        Raises:
            TooLarge: naming the first that they cannot.
        """
        for name, location in self.locations.items():
            if location.type.size > MAX_OFFSET:
                raise TooLarge(
                    f"kernels address at most {MAX_OFFSET} elements of one tensor",
                    where=f"value '{name}'",
                    got=f"{location.type}, which has {location.type.size}",
                    remedy='make the input smaller; target="library" has no such limit',
                )

    def view(self, name: str) -> View:
        """A value, or a param as it is, as kernels see it."""
        if name not in self.locations:
            return self.weight(plain(self.graph.param_by_name[name]))
        return view_of(self.locations[name])

    def is_alias(self, node: Node) -> bool:
        """Whether a node only names its operand's memory anew, so that no kernel runs."""
        return self.locations.get(node.name) == within(node, self.locations)

    def operand(self, name: str, result: TensorType) -> View:
        """A value broadcast against `result`: stride 0 where it repeats.

        A batch of one sample keeps its stride, so that it takes the same kernel as any other.
        """
        view = self.view(name)
        strides = broadcast_strides(view.shape, view.strides, len(result.shape))
        same_rank = len(view.shape) == len(result.shape)
        if name in self.locations and same_rank and view.shape[:1] == result.shape[:1]:
            strides = (*view.strides[:1], *strides[1:])
        return View(view.buffer, result.shape, strides, view.dtype)

    def param(self, name: str) -> Param:
        """A param that a kernel wants in a layout of its own.

        Raises:
            Refused: when the graph computes it.
        """
        if not self.graph.is_param(name):
            raise Refused(f"'{name}' is computed in the graph; it must be a param")
        return self.graph.param_by_name[name]

    def weight(self, packing: Packing) -> View:
        """A packed weight, made from params when the plan is bound."""
        self.weights[packing.name] = packing
        return View(Buffer(packing.name), packing.shape, packing.strides, packing.dtype.value)

    def factors(self, packing: Packing) -> View:
        """Packed weights that images are multiplied with, as the device wants them."""
        rounds = self.device.traits.precision == "tf32" and packing.dtype is DType.F32
        return self.weight(in_tf32(packing) if rounds else packing)

    def scratch(self, node: Node, shape: tuple[int, ...], dtype: DType = DType.F32) -> View:
        """Contiguous memory of this shape, in which steps of the node work in turn."""
        name, type = f"{node.name}@scratch", TensorType(shape, dtype)
        known = self.locations.get(name)
        if known is None or known.type.nbytes < type.nbytes:
            self.locations[name] = Location(Buffer(name), type, contiguous(shape))
        return view_of(self.locations[name])

    def choose(self, anchor: Node, problem: Problem) -> Choice:
        """What the policy picks for an anchor, which the log will be told.

        Raises:
            InvalidAttribute: for what is none of the choices.
        """
        device = self.device.traits
        found = choices(problem, device)
        picked = self.policy.kernel(anchor, problem, found, device)
        if not isinstance(picked, Choice) or undivided(picked) not in found:
            raise InvalidAttribute(
                "a policy picks one of the choices that it is given",
                where=anchor.place,
                got=shown(picked),
                wanted="one of " + ", ".join(str(choice.tile) for choice in found),
                remedy="return an element of the sequence, as graphcnn.kernels.by_rule does",
            )
        self.choices.append(Chosen(anchor.name, "kernel", picked, found, str(problem)))
        asked = not all(map(self.policy.allows, found))
        if told := algorithm(problem, picked, found, device, asked):
            self.choices.append(Chosen(anchor.name, "algorithm", *told))
        return picked

    def emit(
        self,
        node: Node,
        label: str,
        launch: Launch,
        reads: tuple[View, ...],
        writes: tuple[View, ...],
        *,
        in_place: bool = False,
        rounded_as: Mapping[str, Op] | None = None,
        tf32: frozenset[str] = frozenset(),
    ) -> None:
        """Add a step; views of weights are not counted as reads."""
        # A buffer of activations bears the name of the value it was made for.
        read = tuple(view.buffer.name for view in reads if view.buffer.name in self.locations)
        written = tuple(view.buffer.name for view in writes)
        arithmetic = replace(
            self.device.arithmetic(node.type.dtype), rounded_as=dict(rounded_as or {}), tf32=tf32
        )
        cost = node_cost(node, self.graph)
        self.steps.append(Step(node.name, label, launch, read, written, arithmetic, in_place, cost))

    def lowered(self, refusals: tuple[Refusal, ...]) -> Lowered:
        """The finished product, with the size of every buffer that holds activations."""
        buffers: dict[str, int] = {}
        for location in self.locations.values():
            buffer = location.buffer
            end = (buffer.offset + location.reach) * location.type.dtype.itemsize
            buffers[buffer.name] = max(buffers.get(buffer.name, 0), end)
        return Lowered(
            tuple(self.steps),
            {n: replace(at, tf32=n in self.tf32) for n, at in self.locations.items()},
            buffers,
            tuple(self.weights.values()),
            (*refusals, *self.copied),
            tuple(self.choices),
        )


def view_of(location: Location) -> View:
    """What is at a place, as kernels see it."""
    type = location.type
    return View(location.buffer, type.shape, location.strides, type.dtype.value)


def image_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of maps [N, C, sizes]; those of one dimension are one pixel high."""
    height, width = (1, *shape[2:])[-2:]
    return height, width


def as_image(view: View) -> View:
    """Maps of one dimension [N, C, L] as images [N, C, 1, L]; images as they are."""
    return view.permuted(0, 1, -1, 2) if len(view.shape) == 3 else view
