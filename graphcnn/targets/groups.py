"""Lowering a convolution or linear layer and its tail: one launch."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.ir import Node
from graphcnn.kernels import ConvProblem, Launch, LinearProblem, Refused, View, conv_pressure
from graphcnn.ops import Conv, Linear
from graphcnn.targets.chain import Chain, placed
from graphcnn.targets.lowering import Lowering, as_image, image_size
from graphcnn.targets.pack import filters, plain


def lower_group(lowering: Lowering, chain: Chain, node: Node) -> None:
    """One launch for an anchor and its tail; `node` is the fused node, or the anchor alone.

    Raises:
        Refused: for what no kernel can do.
    """
    members = (chain.anchor, *chain.links)
    outputs = [lowering.view(members[index].name) for index in chain.exports]
    lower = chain.anchor.op.row(TABLE)
    if lower is None:
        raise Refused(f"there is no kernel of {chain.anchor.op.name}")
    launch = lower(lowering, chain, outputs)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join(member.op.name for member in members)
    lowering.emit(node, label, launch, reads, tuple(outputs))


def _linear(lowering: Lowering, chain: Chain, outputs: list[View]) -> Launch:
    image, weight, *bias = chain.anchor.inputs
    x = lowering.view(image)
    choice = lowering.choose(chain.anchor, LinearProblem(x.dtype, x.size // x.shape[-1]))
    return choice.launch(
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


def _conv(lowering: Lowering, chain: Chain, outputs: list[View]) -> Launch:
    op = chain.anchor.op
    assert isinstance(op, Conv)
    image, weight, *bias = chain.anchor.inputs
    x, device = as_image(lowering.view(image)), lowering.device.traits
    outputs = [as_image(view) for view in outputs]
    tail = placed(chain.tail, lowering, as_image)
    channels, group_channels, *_ = lowering.graph.type_of(weight).shape
    window = op.window(lowering.graph.type_of(weight).shape).lifted(2)
    height, width = image_size(chain.anchor.type.shape)
    problem = ConvProblem(
        x.dtype,
        channels // op.groups,
        group_channels,
        op.groups,
        device.images(x.shape[0]) * height * width,
        conv_pressure(x, outputs, tail, window.kernel),
    )
    choice = lowering.choose(chain.anchor, problem)
    return choice.launch(
        x,
        lowering.weight(filters(lowering.param(weight), device.weights)),
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
    )


# How an anchor, or a family of them, becomes a launch with its tail.
TABLE: dict[type, Callable[[Lowering, Chain, list[View]], Launch]] = {
    Conv: _conv,
    Linear: _linear,
}
