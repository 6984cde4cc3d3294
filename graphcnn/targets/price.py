"""What a group costs against its parts: its head, and windows that tiles hold twice."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from graphcnn.ir import Graph, Unprofitable, node_cost
from graphcnn.kernels import (
    TRANSFORMS,
    ConvProblem,
    DeviceTraits,
    Maps,
    Pool,
    Pooled,
    Pressure,
    SeparableProblem,
    Tail,
    across,
    by_rule,
    choices,
    is_pointwise,
    tile_refusal,
    work_of,
)
from graphcnn.kernels.launch import ceil_div
from graphcnn.ops import Conv, Conv2d, Flatten, Interpolate
from graphcnn.ops.window import Window
from graphcnn.targets.chain import RULE, Chain
from graphcnn.targets.lowering import image_size
from graphcnn.targets.policy import MODEL, Policy


def separable_problem(chain: Chain, traits: DeviceTraits) -> SeparableProblem:
    """A separable chain, as far as the choice of its tile goes."""
    images, filters, *sizes = chain.anchor.type.shape
    window = max((step.pixels for step in chain.tail if isinstance(step, Pool)), default=1)
    return SeparableProblem(filters, traits.images(images) * prod(sizes), window)


def unprofitable(
    chain: Chain, graph: Graph, device: DeviceTraits, policy: Policy = MODEL
) -> Unprofitable | None:
    """Why a group would take longer than its parts, or None: for its head, or for the last step of
    its tail that is not pointwise.

    By types alone: the tiles are those that channels-last values allow.
    """
    if chain.head:
        price = chain.head[0].op.row(HEADS)
        assert price is not None
        if refusal := price(chain, graph, device):
            return refusal
    steps = [(at, step) for at, step in enumerate(chain.tail) if not is_pointwise(step)]
    if not isinstance(chain.anchor.op, Conv) or not steps:
        return None
    at, step = steps[-1]
    link, dtype = chain.links[at], chain.anchor.type.dtype.value
    if isinstance(step, Pool):
        trips = 1 if min(chain.exports) <= at else 2
        because = _pool_price(chain, graph, step, trips, device) or _filtering_price(
            chain, graph, step, trips, device, policy
        )
    else:
        because = across_refusal(link.type.size, dtype, device)
    return None if because is None else Unprofitable(RULE, link.name, because, link.inputs)


def _pool_price(
    chain: Chain, graph: Graph, pool: Pool, trips: int, device: DeviceTraits
) -> str | None:
    shape = chain.anchor.type.shape
    pooled = Pooled(pool, shape[0], image_size(shape))
    return pool_refusal(conv_problem(chain, graph)._replace(pooled=pooled), trips, device)


def filtered_outputs(
    chain: Chain, window: Window, tail: Tail, device: DeviceTraits
) -> tuple[int, ...]:
    """Of how many rows and columns tiles may be by which minimal filtering computes an anchor and
    a tail: of 3 x 3 filters that slide over a map, one pixel at a time."""
    anchor = chain.anchor
    if not isinstance(anchor.op, Conv2d) or anchor.op.groups > 1 or chain.gate or chain.head:
        return ()
    steps = (window.kernel, window.stride, window.dilation)
    if steps != ((3, 3), (1, 1), (1, 1)):
        return ()
    outputs = {tile.outputs for tile in device.winograd_tiles(anchor.type.dtype.value)}
    return tuple(m for m in TRANSFORMS if m in outputs and tile_refusal(tail, m) is None)


def _filtering_price(
    chain: Chain, graph: Graph, pool: Pool, trips: int, device: DeviceTraits, policy: Policy
) -> str | None:
    """Why a pool that minimal filtering does not end in would cost more than it saves, or None."""
    op, shape = chain.anchor.op, chain.anchor.type.shape
    assert isinstance(op, Conv)
    window, size = op.window(graph.type_of(chain.anchor.inputs[1]).shape), image_size(shape)
    alone = filtered_outputs(chain, window, chain.tail[: chain.tail.index(pool)], device)
    if device.transform is None or not alone:
        return None
    if filtered_outputs(chain, window, chain.tail, device):
        return None
    whole = conv_problem(chain, graph)._replace(maps=Maps(shape[0], size, ()))
    problems = (
        whole._replace(pooled=Pooled(pool, shape[0], size)),
        whole._replace(maps=Maps(shape[0], size, alone)),
    )
    found = ([c for c in choices(p, device) if policy.allows(c)] for p in problems)
    fused, unfused = (
        work_of(by_rule(p, c, device), p, device).time for p, c in zip(problems, found, strict=True)
    )
    saved = trips * _bytes(prod(shape), whole.dtype)
    worth = device.prices(whole.dtype).balance * saved
    if fused - unfused <= worth:
        return None
    return (
        f"minimal filtering, which does not end in such a pool, takes the time of {unfused:,.0f} "
        f"products, sums as they are written that of {fused:,.0f}, and the {saved:,} bytes that "
        f"the pool would not move that of {worth:,.0f}"
    )


def pool_refusal(problem: ConvProblem, trips: int, device: DeviceTraits) -> str | None:
    """Why a pool in the kernel of a convolution would cost more than it saves, or None.

    Where there is a model of the device, both are predicted. Elsewhere it costs products for the
    pixels that its tiles hold twice or beyond the windows, and bringing together what several
    threads hold; it saves writing the convolution's output and reading it back. The tiles are those
    of `by_rule`.

    Args:
        problem: The convolution with its pool.
        trips: How often the output moves less: 2, or 1 where it is stored all the same.
        device: Prices it.
    """
    plain = problem._replace(pooled=None)
    fused, unfused = (by_rule(p, choices(p, device), device).tile for p in (problem, plain))
    start = "its windows overlap: " if problem.overlaps else ""
    predicted = None if problem.depthwise else device.times(problem.dtype)
    if predicted is not None and device.moving is not None:
        together = predicted(problem._replace(beside=problem.beside + 2 - trips), fused)
        alone, outputs = predicted(plain, unfused), problem.filters * problem.groups
        pool = device.moving(_bytes((problem.pixels + problem.windows) * outputs, problem.dtype))
        if together <= alone + pool:
            return None
        return (
            f"{start}with it the convolution is predicted to take {together:.1f} us, in tiles of "
            f"{fused.pixels} pixels; without it {alone:.1f} us, and the pool {pool:.1f} us"
        )
    prices = device.prices(problem.dtype)
    counted = ConvProblem.kept if device.leaves_out else ConvProblem.computed
    computed, filters = counted(problem, fused), problem.filters * problem.groups
    more = computed - counted(plain, unfused)
    reduction = ceil_div(problem.channels * problem.taps, fused.reduction) * fused.reduction
    products = more * filters * reduction
    exchange = prices.exchange if problem.overlaps else prices.wide if problem.wide else 0.0
    together = problem.windows if device.leaves_out and not problem.overlaps else computed
    exchanged = together * filters if exchange else 0
    saved = trips * _bytes(problem.pixels * filters, problem.dtype)
    cost = products + exchange * exchanged
    worth = prices.balance * saved
    if cost <= worth:
        return None
    more_work = f", and bring {exchanged:,} values together" if exchanged else ""
    return (
        f"{start}tiles of {fused.pixels} pixels would compute {more:,} pixels more, {products:,} "
        f"products{more_work}: the time of {cost:,.0f} "
        f"products, where the {saved:,} bytes that it would not move take that of {worth:,.0f}"
    )


def across_refusal(values: int, dtype: str, device: DeviceTraits) -> str | None:
    """Why bringing channels together in a convolution's kernel would cost more than it saves, or
    None: it saves writing so many values and reading them back."""
    prices = device.prices(dtype)
    saved = 2 * _bytes(values, dtype)
    cost, worth = prices.channels * values, prices.balance * saved
    if cost <= worth:
        return None
    return (
        f"bringing the channels of {values:,} values together would take the time of {cost:,.0f} "
        f"products, where the {saved:,} bytes that it would not move take that of {worth:,.0f}"
    )


def _bytes(values: int, dtype: str) -> int:
    return values * int(dtype.lstrip("bf")) // 8


def conv_problem(chain: Chain, graph: Graph) -> ConvProblem:
    """A chain that starts at a convolution, but for its pool, as the choice of its tile goes."""
    op, shape = chain.anchor.op, chain.anchor.type.shape
    assert isinstance(op, Conv)
    weight = graph.type_of(chain.anchor.inputs[1]).shape
    window = op.window(weight)
    return ConvProblem(
        chain.anchor.type.dtype.value,
        shape[1] // op.groups,
        weight[1],
        op.groups,
        shape[0] * prod(image_size(shape)),
        Pressure.LOW,
        across=across(chain.tail),
        taps=prod(window.kernel),
        stride=prod(window.stride),
    )


def _separable_price(chain: Chain, body: Graph, traits: DeviceTraits) -> Unprofitable | None:
    """Why a group with a depthwise head would not be faster than its two halves, or None.

    Every tile of output channels makes all values of the head anew, which costs products, at a
    price of their own, and none of them is written to memory and read again, which saves bytes. A
    group that does not fill the device is refused too: the depthwise convolution alone runs in more
    programs, and each of them is done sooner.
    """
    problem, value = separable_problem(chain, traits), chain.head[-1]
    tile = by_rule(problem, choices(problem, traits), traits).tile
    tiles, along = ceil_div(problem.filters, tile.channels), ceil_div(problem.pixels, tile.pixels)
    blame = tuple(node.name for node in chain.head)
    first = chain.head[0]
    price = traits.prices(value.type.dtype.value).head
    products = round((tiles * price - 1) * node_cost(first, body).macs)
    saved = 2 * value.type.nbytes
    if products > traits.products_per_byte * saved:
        because = (
            f"{tiles} {'tile' if tiles == 1 else 'tiles'} of {tile.channels} channels would make "
            f"'{value.name}' anew"
            f"{f', at {price:g} times the price' if price > 1 else ''}: "
            f"{products:,} products more, to save {saved:,} bytes, which take the time of "
            f"{traits.products_per_byte * saved:,.0f}"
        )
        return Unprofitable(RULE, chain.anchor.name, because, blame)
    if tiles * along < traits.programs:
        because = (
            f"with '{first.name}' in its kernel there would be {tiles * along} programs, and "
            f"{traits.programs} keep the device busy"
        )
        return Unprofitable(RULE, chain.anchor.name, because, blame)
    return None


def _repeats_price(chain: Chain, body: Graph, traits: DeviceTraits) -> Unprofitable | None:
    """Why a kernel that reads repeated pixels where they are would take longer, or None.

    It finds the address of each element anew for every tap and every tile of output channels, which
    has a price, and saves writing and reading the large map.
    """
    (head,) = chain.head
    problem = conv_problem(chain, body)
    tile = by_rule(problem, choices(problem, traits), traits).tile
    tiles = ceil_div(problem.filters, tile.channels)
    taps = prod(body.type_of(chain.anchor.inputs[1]).shape[2:])
    read = problem.pixels * problem.channels * problem.groups
    lookups, saved = tiles * taps * read, 2 * head.type.nbytes
    price = traits.prices(problem.dtype).lookup
    if price * lookups <= traits.products_per_byte * saved:
        return None
    because = (
        f"{taps} taps and {tiles} tiles of {tile.channels} channels would find {lookups:,} "
        f"addresses of repeated elements{f', at {price:g} times the price' if price > 1 else ''}, "
        f"to save {saved:,} bytes, which take the time of {traits.products_per_byte * saved:,.0f}"
    )
    return Unprofitable(RULE, chain.anchor.name, because, (head.name,))


def _rows_price(chain: Chain, _body: Graph, traits: DeviceTraits) -> Unprofitable | None:
    """Why a linear layer had better read rows in the graph's own order, or None.

    On a device of its own there is a copy of weights anyway. On a CPU one row is multiplied with
    the graph's own, and batch sizes share their groups.
    """
    if traits.weights == "reduction_major":
        return None
    because = (
        f"to multiply one row, the weights of '{chain.anchor.name}' in the order of channels-last "
        "maps would be held beside the graph's own"
    )
    return Unprofitable(RULE, chain.anchor.name, because, tuple(node.name for node in chain.head))


# What a head costs, by the op that it begins with.
HEADS: dict[type, Callable[[Chain, Graph, DeviceTraits], Unprofitable | None]] = {
    Conv: _separable_price,
    Flatten: _rows_price,
    Interpolate: _repeats_price,
}
