"""Lowering a convolution or linear layer and its tail: one launch, or one per phase."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphcnn.ir import Graph, Node
from graphcnn.kernels import ConvProblem, Launch, LinearProblem, Refused, View, conv_pressure
from graphcnn.ops import Conv, ConvTranspose, Interpolate, Linear
from graphcnn.ops.window import Window
from graphcnn.plan import Packing
from graphcnn.targets.chain import Chain, placed
from graphcnn.targets.lowering import Lowering, as_image, image_size
from graphcnn.targets.pack import filters, plain
from graphcnn.targets.phases import filters_of, part_of, phases, window_of


def lower_group(lowering: Lowering, chain: Chain, node: Node) -> None:
    """Launches for an anchor and its tail; `node` is the fused node, or the anchor alone.

    Raises:
        Refused: for what no kernel can do.
    """
    members = (chain.anchor, *chain.links)
    heads = () if chain.head is None else (chain.head,)
    outputs = [lowering.view(members[index].name) for index in chain.exports]
    lower = chain.anchor.op.row(TABLE)
    if lower is None:
        raise Refused(f"there is no kernel of {chain.anchor.op.name}")
    launches = lower(lowering, chain, outputs)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join(member.op.name for member in (*heads, *members))
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
    packing = filters(lowering.param(weight), lowering.device.traits.weights)
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
    _, _, *bias = chain.anchor.inputs
    image = (chain.head or chain.anchor).inputs[0]
    x, device = as_image(lowering.view(image)), lowering.device.traits

    def form(view: View) -> View:
        return as_image(part(view))

    outputs = [form(view) for view in outputs]
    tail = placed(chain.tail, lowering, form)
    window = window.lifted(2)
    height, width = image_size((*x.shape[:2], *size))
    problem = ConvProblem(
        x.dtype,
        packing.shape[0] // op.groups,
        x.shape[1] // op.groups,
        op.groups,
        device.images(x.shape[0]) * height * width,
        conv_pressure(x, outputs, tail, window.kernel),
    )
    choice = lowering.choose(chain.anchor, problem)
    return choice.launch(
        x,
        lowering.weight(packing),
        lowering.weight(plain(lowering.param(bias[0]))) if bias else None,
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
        **_repeats(chain, lowering.graph),
    )


def _repeats(chain: Chain, graph: Graph) -> dict[str, tuple[int, int]]:
    """How often a head repeats each pixel, as a kernel's argument."""
    if chain.head is None:
        return {}
    assert isinstance(chain.head.op, Interpolate)
    counts = chain.head.op.repeats(graph.type_of(chain.head.inputs[0]))
    assert counts is not None
    return {"repeats": image_size((1, 1, *counts))}


# How an anchor, or a family of them, becomes launches with its tail.
TABLE: dict[type, Callable[[Lowering, Chain, list[View]], list[Launch]]] = {
    Conv: _conv,
    ConvTranspose: _conv_transpose,
    Linear: _linear,
}
