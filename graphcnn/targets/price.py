"""What a group costs against its parts: heads made in every tile, windows that tiles hold twice."""

from __future__ import annotations

from math import prod

from graphcnn.ir import Graph, Unprofitable, node_cost
from graphcnn.kernels import (
    ConvProblem,
    DeviceTraits,
    Pool,
    Pooled,
    Pressure,
    SeparableProblem,
    across,
    across_refusal,
    by_rule,
    choices,
    is_pointwise,
    saving_refusal,
)
from graphcnn.kernels.launch import ceil_div
from graphcnn.ops import Conv
from graphcnn.targets.chain import RULE, Chain
from graphcnn.targets.lowering import image_size


def separable_problem(chain: Chain, traits: DeviceTraits) -> SeparableProblem:
    """A chain with a head, as far as the choice of its tile goes."""
    images, filters, *sizes = chain.anchor.type.shape
    window = max((step.pixels for step in chain.tail if isinstance(step, Pool)), default=1)
    return SeparableProblem(filters, traits.images(images) * prod(sizes), window)


def unprofitable(chain: Chain, graph: Graph, device: DeviceTraits) -> Unprofitable | None:
    """Why a group would take longer than its parts, or None: for its head, or for the last step of
    its tail that is not pointwise.

    By types alone: the tiles are those that channels-last values allow.
    """
    if chain.head:
        price = _separable_price if chain.separable else _repeats_price
        if refusal := price(chain, graph, device):
            return refusal
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
    shape, taps = chain.anchor.type.shape, graph.type_of(chain.anchor.inputs[1]).shape[2:]
    pooled = Pooled(pool, shape[0], image_size(shape))
    problem = _conv_problem(chain, graph)._replace(pooled=pooled)
    return saving_refusal(problem, prod(taps), trips, device)


def _conv_problem(chain: Chain, graph: Graph) -> ConvProblem:
    """A chain that starts at a convolution, but for its pool, as the choice of its tile goes."""
    op, shape = chain.anchor.op, chain.anchor.type.shape
    assert isinstance(op, Conv)
    return ConvProblem(
        chain.anchor.type.dtype.value,
        shape[1] // op.groups,
        graph.type_of(chain.anchor.inputs[1]).shape[1],
        op.groups,
        shape[0] * prod(image_size(shape)),
        Pressure.LOW,
        across=across(chain.tail),
    )


def _separable_price(chain: Chain, body: Graph, traits: DeviceTraits) -> Unprofitable | None:
    """Why a group with a depthwise head would not be faster than its two halves, or None.

    Every tile of output channels makes all values of the head anew, which costs products, and none
    of them is written to memory and read again, which saves bytes. A group that does not fill the
    device is refused too: the depthwise convolution alone runs in more programs, and each of them
    is done sooner.
    """
    problem, value = separable_problem(chain, traits), chain.head[-1]
    tile = by_rule(problem, choices(problem, traits), traits).tile
    across, along = ceil_div(problem.filters, tile.channels), ceil_div(problem.pixels, tile.pixels)
    blame = tuple(node.name for node in chain.head)
    first = chain.head[0]
    products = (across - 1) * node_cost(first, body).macs
    saved = 2 * value.type.nbytes
    if products > traits.products_per_byte * saved:
        because = (
            f"{across} tiles of {tile.channels} channels would make '{value.name}' anew: "
            f"{products:,} products more, to save {saved:,} bytes, which take the time of "
            f"{traits.products_per_byte * saved:,.0f}"
        )
        return Unprofitable(RULE, chain.anchor.name, because, blame)
    if across * along < traits.programs:
        because = (
            f"with '{first.name}' in its kernel there would be {across * along} programs, and "
            f"{traits.programs} keep the device busy"
        )
        return Unprofitable(RULE, chain.anchor.name, because, blame)
    return None


def _repeats_price(chain: Chain, body: Graph, traits: DeviceTraits) -> Unprofitable | None:
    """Why a kernel that reads repeated pixels where they are would take longer, or None.

    It finds the address of each element anew for every tap and every tile of output channels, which
    takes as long as a product outside of tensor cores, and saves writing and reading the large map.
    """
    (head,) = chain.head
    problem = _conv_problem(chain, body)
    tile = by_rule(problem, choices(problem, traits), traits).tile
    tiles = ceil_div(problem.filters, tile.channels)
    taps = prod(body.type_of(chain.anchor.inputs[1]).shape[2:])
    read = problem.pixels * problem.channels * problem.groups
    lookups, saved = tiles * taps * read, 2 * head.type.nbytes
    if lookups <= traits.products_per_byte * saved:
        return None
    because = (
        f"{taps} taps and {tiles} tiles of {tile.channels} channels would find {lookups:,} "
        f"addresses of repeated elements, to save {saved:,} bytes, which take the time of "
        f"{traits.products_per_byte * saved:,.0f}"
    )
    return Unprofitable(RULE, chain.anchor.name, because, (head.name,))
