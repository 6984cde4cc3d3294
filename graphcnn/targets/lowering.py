"""What lowering a graph needs at hand: where values live, and the steps and weights so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

from graphcnn.errors import TooLarge
from graphcnn.ir import Graph, Node, Param, TensorType
from graphcnn.kernels.launch import MAX_OFFSET, Launch, View
from graphcnn.plan import Buffer, Location, Lowered, PackedWeight, Step
from graphcnn.targets.device import Device
from graphcnn.targets.layout import broadcast_strides, contiguous, locate
from graphcnn.targets.pack import pack


@dataclass
class Lowering:
    """One graph on its way to steps."""

    graph: Graph
    locations: Mapping[str, Location]
    device: Device
    steps: list[Step] = field(default_factory=list)
    weights: dict[str, PackedWeight] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, device: Device) -> Lowering:
        """Start with every value located and no step."""
        return cls(graph, locate(graph), device)

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
            return self.weight("plain", name, shape=self.graph.type_of(name).shape)
        location = self.locations[name]
        return View(
            location.buffer, location.type.shape, location.strides, location.type.dtype.value
        )

    def is_alias(self, node: Node) -> bool:
        """Whether a node only names its operand's memory anew, so that no kernel runs."""
        return all(self.locations[v.name].buffer.name != v.name for v in node.outputs)

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

    def weight(
        self,
        layout: str,
        *sources: str,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        options: tuple[float, ...] = (),
        dtype: str | None = None,
    ) -> View:
        """A packed weight, made from params when the plan is bound.

        Raises:
            ValueError: when a source is not a param.
        """
        for source in sources:
            if not self.graph.is_param(source):
                raise ValueError(f"{source} is computed in the graph; it must be a param")
        param: Param = self.graph.param_by_name[sources[0]]
        name = "@".join(("+".join(sources), layout, *map(repr, options)))
        self.weights[name] = PackedWeight(name, sources, partial(pack, layout, sources, options))
        dtype = dtype or param.type.dtype.value
        return View(Buffer(name), shape, strides or contiguous(shape), dtype)

    def emit(
        self,
        node: Node,
        label: str,
        launch: Launch,
        reads: tuple[View, ...],
        writes: tuple[View, ...],
        *,
        in_place: bool = False,
    ) -> None:
        """Add a step; views of weights are not counted as reads."""
        buffers = {location.buffer.name for location in self.locations.values()}
        read = tuple(view.buffer.name for view in reads if view.buffer.name in buffers)
        written = tuple(view.buffer.name for view in writes)
        arithmetic = self.device.arithmetic(node.type.dtype)
        self.steps.append(Step(node.name, label, launch, read, written, arithmetic, in_place))

    def lowered(self) -> Lowered:
        """The finished product, with the size of every buffer that holds activations."""
        buffers: dict[str, int] = {}
        for location in self.locations.values():
            buffer = location.buffer.name
            buffers[buffer] = max(buffers.get(buffer, 0), location.type.nbytes)
        return Lowered(
            tuple(self.steps), dict(self.locations), buffers, tuple(self.weights.values())
        )


def window(view: View, starts: tuple[int, ...], shape: tuple[int, ...]) -> View:
    """A rectangular part of a view."""
    skipped = sum(start * stride for start, stride in zip(starts, view.strides, strict=True))
    buffer = Buffer(view.buffer.name, view.buffer.offset + skipped)
    return View(buffer, shape, view.strides, view.dtype)


def rows(view: View) -> View:
    """A view of any rank as [rows, features]: its leading dimensions as one.

    Raises:
        ValueError: when their strides do not follow one another.
    """
    *leading, features = view.shape
    *steps, last = view.strides
    inner = steps[-1] if steps else 0
    count = prod(leading)
    for size, stride in zip(reversed(leading), reversed(steps), strict=True):
        if stride != inner and size != 1:
            raise ValueError(f"the rows of {view.shape} with strides {view.strides} are no matrix")
        inner = stride * size
    return View(view.buffer, (count, features), (steps[-1] if steps else 0, last), view.dtype)
