"""Lowering a convolution or linear layer and its tail: one launch, or one per phase."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from graphcnn.ir import Graph, Node, Unprofitable
from graphcnn.kernels import (
    ConvProblem,
    DeviceTraits,
    Launch,
    LinearProblem,
    Pool,
    Pooled,
    Pressure,
    Refused,
    View,
    across,
    across_refusal,
    conv_pressure,
    is_pointwise,
    saving_refusal,
)
from graphcnn.ops import Conv, ConvTranspose, Linear
from graphcnn.ops.window import Window
from graphcnn.plan import Packing
from graphcnn.targets.chain import RULE, Chain, placed
from graphcnn.targets.lowering import Lowering, as_image, image_size
from graphcnn.targets.pack import filters, in_turns, plain
from graphcnn.targets.phases import filters_of, part_of, phases, window_of


def lower_group(lowering: Lowering, chain: Chain, node: Node) -> None:
    """Launches for an anchor and its tail; `node` is the fused node, or the anchor alone.

    Raises:
        Refused: for what no kernel can do.
    """
    members = (chain.anchor, *chain.links)
    outputs = [lowering.view(value.name) for value in node.outputs]
    lower = chain.anchor.op.row(TABLE)
    if lower is None:
        raise Refused(f"there is no kernel of {chain.anchor.op.name}")
    launches = lower(lowering, chain, outputs)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join(member.op.name for member in members)
    for launch in launches:
        lowering.emit(node, label, launch, reads, tuple(outputs))


def _linear(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Launch]:
    image, weight, *bias = chain.anchor.inputs
    x = lowering.view(image)
    choice = lowering.choose(chain.anchor, LinearProblem(x.dtype, x.size // x.shape[-1]))
    launch = choice.launch(
        x,
        # Its rows serve every batch size: a matrix-vector product reads each weight once, along
        # them, and the CPU's tiles of 16 features transpose them as they go.
        lowering.weight(plain(lowering.param(weight))),
        lowering.weight(plain(lowering.param(bias[0]))) if bias else None,
        outputs,
        tail=placed(chain.tail, lowering),
        exports=chain.exports,
        tile=choice.tile,
    )
    return [launch]


def _conv(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Launch]:
    op, weight = chain.anchor.op, chain.anchor.inputs[1]
    assert isinstance(op, Conv)
    window = op.window(lowering.graph.type_of(weight).shape)
    order = lowering.device.traits.weights
    packing = filters(lowering.param(weight), order)
    if chain.gate:
        packing = in_turns(packing, filters(lowering.param(chain.gate.inputs[1]), order))
    size = chain.anchor.type.shape[2:]
    return [_implicit_gemm(lowering, chain, outputs, window, packing, size, lambda view: view)]


def _conv_transpose(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Launch]:
    op, weight = chain.anchor.op, lowering.param(chain.anchor.inputs[1])
    assert isinstance(op, ConvTranspose)
    launches = []
    for phase in phases(op, weight.type.shape[2:], chain.anchor.type.shape[2:]):
        packing = filters_of(phase, weight, op.groups, lowering.device.traits.weights)
        size, part = tuple(p.count for p in phase), partial(part_of, phase=phase)
        window = window_of(phase)
        launches.append(_implicit_gemm(lowering, chain, outputs, window, packing, size, part))
    return launches


def _implicit_gemm(
    lowering: Lowering,
    chain: Chain,
    outputs: list[View],
    window: Window,
    packing: Packing,
    size: tuple[int, ...],
    part: Callable[[View], View],
) -> Launch:
    """A convolution to `size` outputs, which lie in a part of the chain's values."""
    op = chain.anchor.op
    assert isinstance(op, Conv | ConvTranspose)
    image, _, *bias = chain.anchor.inputs
    x, device = as_image(lowering.view(image)), lowering.device.traits
    vectors = [plain(lowering.param(name)) for name in bias]
    if chain.gate and bias:
        vectors = [in_turns(vectors[0], plain(lowering.param(chain.gate.inputs[2])))]

    def form(view: View) -> View:
        return as_image(part(view))

    outputs = [form(view) for view in outputs]
    tail = placed(chain.tail, lowering, form)
    window = window.lifted(2)
    height, width = image_size((*x.shape[:2], *size))
    images = device.images(x.shape[0])
    pool = next((step for step in tail if isinstance(step, Pool)), None)
    problem = ConvProblem(
        x.dtype,
        packing.shape[0] // op.groups,
        x.shape[1] // op.groups,
        op.groups,
        images * height * width,
        conv_pressure(x, outputs, tail, window.kernel),
        None if pool is None else Pooled(pool, images, (height, width)),
        across(tail),
    )
    choice = lowering.choose(chain.anchor, problem)
    return choice.launch(
        x,
        lowering.weight(packing),
        lowering.weight(vectors[0]) if vectors else None,
        outputs,
        kernel=window.kernel,
        stride=window.stride,
        padding=window.begins,
        dilation=window.dilation,
        groups=op.groups,
        out_size=(height, width),
        tail=tail,
        exports=chain.exports,
        tile=choice.tile,
    )


def unprofitable(chain: Chain, graph: Graph, device: DeviceTraits) -> Unprofitable | None:
    """Why the last step of a convolution's chain that is not pointwise would cost more than it
    saves, or None.

    By types alone: the tiles are those that channels-last values allow.
    """
    steps = [(at, step) for at, step in enumerate(chain.tail) if not is_pointwise(step)]
    if not isinstance(chain.anchor.op, Conv) or not steps:
        return None
    at, step = steps[-1]
    link, dtype = chain.links[at], chain.anchor.type.dtype.value
    if isinstance(step, Pool):
        trips = 1 if min(chain.exports) <= at else 2
        because = _pool_price(chain, graph, step, trips, device)
    else:
        because = across_refusal(link.type.size, dtype, device)
    return None if because is None else Unprofitable(RULE, link.name, because, link.inputs)


def _pool_price(
    chain: Chain, graph: Graph, pool: Pool, trips: int, device: DeviceTraits
) -> str | None:
    op, shape = chain.anchor.op, chain.anchor.type.shape
    assert isinstance(op, Conv)
    images, filters, size = shape[0], shape[1], image_size(shape)
    _, channels, *taps = graph.type_of(chain.anchor.inputs[1]).shape
    problem = ConvProblem(
        chain.anchor.type.dtype.value,
        filters // op.groups,
        channels,
        op.groups,
        images * size[0] * size[1],
        Pressure.LOW,
        Pooled(pool, images, size),
        across(chain.tail),
    )
    return saving_refusal(problem, prod(taps), trips, device)


# How an anchor, or a family of them, becomes launches with its tail.
TABLE: dict[type, Callable[[Lowering, Chain, list[View]], list[Launch]]] = {
    Conv: _conv,
    ConvTranspose: _conv_transpose,
    Linear: _linear,
}
