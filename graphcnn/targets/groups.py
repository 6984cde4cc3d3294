"""Lowering a convolution or linear layer, its head and its tail: one launch, or one per phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

from graphcnn.ir import DType, Graph, Node
from graphcnn.kernels import (
    IN_TF32,
    ConvProblem,
    Head,
    Launch,
    LinearProblem,
    Maps,
    Pool,
    Pooled,
    Pressure,
    Refused,
    View,
    WinogradTile,
    across,
    conv2d,
    conv2d_box,
    conv2d_in_parts,
    conv_pressure,
    full_size,
    linear_in_parts,
    stem_conv2d,
)
from graphcnn.ops import Conv, ConvTranspose, Interpolate, Linear
from graphcnn.ops.window import Window
from graphcnn.plan import Packing
from graphcnn.targets.chain import Chain, placed
from graphcnn.targets.layout import row_order
from graphcnn.targets.lowering import Lowering, as_image, image_size
from graphcnn.targets.pack import filters, in_pairs, in_panels, in_turns, plain
from graphcnn.targets.phases import filters_of, part_of, phases, window_of
from graphcnn.targets.pieces import Piece, boxes_of, by_runs, filtered, in_parts, stem_of
from graphcnn.targets.price import filtered_outputs, separable_problem
from graphcnn.targets.tf32 import Tf32Product, rounding


def lower_group(lowering: Lowering, chain: Chain, node: Node) -> None:
    """Launches for an anchor and its tail; `node` is the fused node, or the anchor alone.

    Raises:
        Refused: for what no kernel can do.
    """
    values = (chain.anchor, *chain.links)
    outputs = [lowering.view(value.name) for value in node.outputs]
    lower = chain.anchor.op.row(TABLE)
    if lower is None:
        raise Refused(f"there is no kernel of {chain.anchor.op.name}")
    # A GPU would contract a product that is stored with the sum that reads on from it, too, and
    # read on another number than it stores.
    apart = {"enable_fp_fusion": False} if len(outputs) > 1 and node.type.dtype is DType.F32 else {}
    tail, exports, tf32 = rounding(chain.tail, chain.exports, node, lowering.tf32)
    chain = replace(chain, tail=tail, exports=exports)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join(member.op.name for member in (*chain.head, *values))
    pieces, products = lower(lowering, chain, outputs), {}
    if any(piece.launch.meta.get("PRECISION") in IN_TF32 for piece in pieces):
        anchors = (chain.anchor, *((chain.gate,) if chain.gate else ()))
        products = {anchor.name: Tf32Product(anchor.op) for anchor in anchors}
    for piece in pieces:
        rounded = piece.launch._replace(meta={**piece.launch.meta, **apart})
        writes = (*(outputs if piece.ends else ()), *piece.scratch)
        told, read = f"{piece.word} {label}".lstrip(), piece.reads or reads
        rounded_as = {**piece.rounded_as, **products}
        lowering.emit(node, told, rounded, read, writes, rounded_as=rounded_as, tf32=tf32)


def _linear(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Piece]:
    _, weight, *bias = chain.anchor.inputs
    image, *_ = (*chain.head, chain.anchor)[0].inputs
    x, param = lowering.view(image), lowering.param(weight)
    x, channels = _flat(x) if chain.head else (x, None)
    features, reduction = param.type.shape
    problem = LinearProblem(x.dtype, x.size // reduction, features, reduction)
    choice = lowering.choose(chain.anchor, problem)
    packing, counted = filters(param, "reduction_major", channels) if channels else plain(param), {}
    # A matrix-vector product reads each weight once, along the rows of the param as it is; numbers
    # of half precision are widened one by one where they lie in panels.
    panel = lowering.device.traits.panel if x.dtype == "f32" and choice.tile.rows > 1 else 0
    if panel:
        packing = in_panels(filters(param, "channel_major", channels), panel)
        counted = {"features": features}
    shift = lowering.weight(plain(lowering.param(bias[0]))) if bias else None
    weights = lowering.factors(packing) if choice.tile.rows > 1 else lowering.weight(packing)
    arguments, tail = (x, weights, shift, outputs), placed(chain.tail, lowering)
    options = {
        "tail": tail,
        "exports": chain.exports,
        "tile": choice.tile,
        "precision": lowering.device.traits.precision,
        "rounded": image in lowering.tf32,
        **counted,
    }
    if choice.tile.parts > 1:
        scratch = lowering.scratch(chain.anchor, (choice.tile.parts * problem.rows * features,))
        launches = linear_in_parts(*arguments, scratch=scratch, **options)
        return in_parts(x, scratch, tail, launches)
    return [Piece(choice.launch(*arguments, **options))]


def _flat(maps: View) -> tuple[View, int | None]:
    """Maps as rows in the order in which they lie, and how many channels lie side by side in them;
    None for row-major ones.

    Raises:
        Refused: where their elements lie in neither order.
    """
    order = row_order(maps.shape, maps.strides)
    if order is None:
        raise Refused(f"the elements of maps of {maps.shape} lie at {maps.strides}: in no row")
    images, channels, *_ = maps.shape
    strides = (maps.strides[0], 1)
    rows = View(maps.buffer, (images, maps.size // images), strides, maps.dtype)
    return rows, channels if order[-1] == 1 else None


def _conv(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Piece]:
    if chain.separable:
        return [Piece(_separable(lowering, chain, outputs))]
    op, weight = chain.anchor.op, chain.anchor.inputs[1]
    assert isinstance(op, Conv)
    window = op.window(lowering.graph.type_of(weight).shape)
    order = lowering.device.traits.weights
    packing = filters(lowering.param(weight), order)
    if chain.gate:
        packing = in_turns(packing, filters(lowering.param(chain.gate.inputs[1]), order))
    size = chain.anchor.type.shape[2:]
    return _implicit_gemm(lowering, chain, outputs, window, packing, size, lambda view: view)


def _separable(lowering: Lowering, chain: Chain, outputs: list[View]) -> Launch:
    first = chain.head[0]
    assert isinstance(first.op, Conv)
    image, depthwise, *shift = first.inputs
    _, weight, *bias = chain.anchor.inputs
    window = first.op.window(lowering.param(depthwise).type.shape).lifted(2)
    x, device = as_image(lowering.view(image)), lowering.device.traits
    size = image_size(chain.anchor.type.shape)
    problem = separable_problem(chain, device)
    choice = lowering.choose(chain.anchor, problem)
    return choice.launch(
        x,
        lowering.factors(filters(lowering.param(weight), device.weights)),
        lowering.weight(plain(lowering.param(bias[0]))) if bias else None,
        [as_image(view) for view in outputs],
        head=Head(
            # A tap's weights lie along the channels, as what they are multiplied with.
            lowering.weight(filters(lowering.param(depthwise), "channel_major")),
            lowering.weight(plain(lowering.param(shift[0]))) if shift else None,
            placed(chain.steps, lowering, as_image),
        ),
        kernel=window.kernel,
        stride=window.stride,
        padding=window.begins,
        dilation=window.dilation,
        out_size=size,
        tail=placed(chain.tail, lowering, as_image),
        exports=chain.exports,
        tile=choice.tile,
        precision=device.precision,
    )


def _conv_transpose(lowering: Lowering, chain: Chain, outputs: list[View]) -> list[Piece]:
    op, weight = chain.anchor.op, lowering.param(chain.anchor.inputs[1])
    assert isinstance(op, ConvTranspose)
    pieces = []
    for phase in phases(op, weight.type.shape[2:], chain.anchor.type.shape[2:]):
        packing = filters_of(phase, weight, op.groups, lowering.device.traits.weights)
        size, part = tuple(p.count for p in phase), partial(part_of, phase=phase)
        window = window_of(phase)
        pieces += _implicit_gemm(lowering, chain, outputs, window, packing, size, part)
    return pieces


def _implicit_gemm(
    lowering: Lowering,
    chain: Chain,
    outputs: list[View],
    window: Window,
    packing: Packing,
    size: tuple[int, ...],
    part: Callable[[View], View],
) -> list[Piece]:
    """A convolution to `size` outputs, which lie in a part of the chain's values."""
    op = chain.anchor.op
    assert isinstance(op, Conv | ConvTranspose)
    _, _, *bias = chain.anchor.inputs
    image, *_ = (*chain.head, chain.anchor)[0].inputs
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
    pressure = conv_pressure(x, outputs, tail, window.kernel)
    parts = filtered_outputs(chain, window, tail, device) if pressure < Pressure.HIGH else ()
    problem = ConvProblem(
        x.dtype,
        packing.shape[0] // op.groups,
        x.shape[1] // op.groups,
        op.groups,
        images * height * width,
        pressure,
        None if pool is None else Pooled(pool, images, (height, width)),
        across(tail),
        Maps(images, (height, width), parts) if parts else None,
        prod(window.kernel),
        prod(window.stride),
        len(full_size(tail)) + len(outputs) - 1,
        stem_of(chain, x, outputs, tail, window, (height, width)),
        boxes_of(chain, x, images, tail, window, (height, width)),
    )
    choice = lowering.choose(chain.anchor, problem)
    shift = vectors[0] if vectors else None
    options = {
        "padding": window.begins,
        "out_size": (height, width),
        "tail": tail,
        "exports": chain.exports,
        "tile": choice.tile,
    }
    if isinstance(choice.tile, WinogradTile):
        return [filtered(lowering, chain, choice, x, shift, outputs, options)]
    if choice.launch is stem_conv2d:
        return by_runs(lowering, chain, x, shift, outputs, window, options)
    options |= {"kernel": window.kernel, "stride": window.stride, "dilation": window.dilation}
    if choice.launch is conv2d_box:
        weight, vector = lowering.weight(packing), lowering.weight(shift) if shift else None
        return [Piece(conv2d_box(x, weight, vector, outputs, **options), word="descriptors")]
    options |= {"groups": op.groups, **_repeats(chain, lowering.graph)}
    panel, multiplied = device.panel, choice.launch is conv2d
    if multiplied:
        options |= {"precision": device.precision, "rounded": image in lowering.tf32}
    if multiplied and panel and (op.groups == 1 or problem.filters % panel == 0):
        options |= {"filters": packing.shape[0]}
        packing = in_panels(packing, panel)
        block = choice.tile.reduction
        if x.dtype == "bf16" and block % 2 == problem.channels % block == 0:
            packing = in_pairs(packing)
    weight = lowering.factors(packing) if multiplied else lowering.weight(packing)
    arguments = x, weight, lowering.weight(shift) if shift else None, outputs
    if multiplied and choice.tile.parts > 1:
        sums = choice.tile.parts * x.shape[0] * height * width * problem.filters * op.groups
        scratch = lowering.scratch(chain.anchor, (sums,))
        launches = conv2d_in_parts(*arguments, scratch=scratch, **options)
        return in_parts(x, scratch, tail, launches)
    return [Piece(choice.launch(*arguments, **options))]


def _repeats(chain: Chain, graph: Graph) -> dict[str, tuple[int, int]]:
    """How often a head repeats each pixel, as the argument of a kernel that has one."""
    if not chain.head:
        return {}
    head = chain.head[0]
    assert isinstance(head.op, Interpolate)
    counts = head.op.repeats(graph.type_of(head.inputs[0]))
    assert counts is not None
    return {"repeats": image_size((1, 1, *counts))}


# How an anchor, or a family of them, becomes launches with its tail.
TABLE: dict[type, Callable[[Lowering, Chain, list[View]], list[Piece]]] = {
    Conv: _conv,
    ConvTranspose: _conv_transpose,
    Linear: _linear,
}
