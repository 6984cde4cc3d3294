"""Lowering a convolution or linear layer and its tail: one launch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphcnn import kernels
from graphcnn.ir import Choice, Node
from graphcnn.kernels import (
    ConvProblem,
    Launch,
    LinearProblem,
    Policy,
    Problem,
    View,
    choices,
    conv_pressure,
)
from graphcnn.ops import Conv
from graphcnn.targets.chain import Chain, placed
from graphcnn.targets.lowering import Lowering, as_image, image_size
from graphcnn.targets.pack import filters, plain

Choose = Callable[[Problem], kernels.Choice]


def lower_group(lowering: Lowering, chain: Chain, node: Node, policy: Policy) -> None:
    """One launch for an anchor and its tail; `node` is the fused node, or the anchor alone.

    Raises:
        Refused: for what no kernel can do.
    """
    members = (chain.anchor, *chain.links)
    outputs = [lowering.view(members[index].name) for index in chain.exports]
    lower = _conv if isinstance(chain.anchor.op, Conv) else _linear
    launch = lower(lowering, chain, outputs, partial(_choose, lowering, node, policy))
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join(member.op.name for member in members)
    lowering.emit(node, label, launch, reads, tuple(outputs))


def _choose(lowering: Lowering, node: Node, policy: Policy, problem: Problem) -> kernels.Choice:
    """What a policy picks for a problem, which the log will be told."""
    device = lowering.device.traits
    found = choices(problem, device)
    picked = policy(problem, found, device)
    lowering.choices.append(Choice(node.name, "kernel", picked, found, str(problem)))
    return picked


def _linear(lowering: Lowering, chain: Chain, outputs: list[View], choose: Choose) -> Launch:
    image, weight, *bias = chain.anchor.inputs
    x = lowering.view(image)
    choice = choose(LinearProblem(x.dtype, x.size // x.shape[-1]))
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


def _conv(lowering: Lowering, chain: Chain, outputs: list[View], choose: Choose) -> Launch:
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
    choice = choose(problem)
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
