"""What a group with a head costs: whether it pays to make a depthwise convolution in each tile."""

from __future__ import annotations

from math import prod

from graphcnn.ir import Graph, Refusal, node_cost
from graphcnn.kernels import DeviceTraits, SeparableProblem, by_rule, choices
from graphcnn.kernels.launch import ceil_div
from graphcnn.targets.chain import RULE, Chain


def separable_problem(chain: Chain, traits: DeviceTraits) -> SeparableProblem:
    """A chain with a head, as far as the choice of its tile goes."""
    images, filters, *sizes = chain.anchor.type.shape
    return SeparableProblem(filters, traits.images(images) * prod(sizes))


def too_dear(chain: Chain, body: Graph, traits: DeviceTraits) -> Refusal | None:
    """Why a group with a head would not be faster than its two halves, or None.

    Every tile of output channels makes all values of the head anew, which costs products, and none
    of them is written to memory and read again, which saves bytes. A group that does not fill the
    device is refused too: the depthwise convolution alone runs in more programs, and each of them
    is done sooner.
    """
    if not chain.head:
        return None
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
        return Refusal(RULE, chain.anchor.name, because, blame, advice=True)
    if across * along < traits.programs:
        because = (
            f"with '{first.name}' in its kernel there would be {across * along} programs, and "
            f"{traits.programs} keep the device busy"
        )
        return Refusal(RULE, chain.anchor.name, because, blame, advice=True)
    return None
