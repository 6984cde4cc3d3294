"""Every kernel that can serve a layer, as values, and the rule that picks one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .conv2d import conv2d
from .conv2d_box import conv2d_box
from .depthwise import depthwise_conv2d
from .devices import SEPARABLE, SMALL_BLOCK, DeviceTraits
from .launch import Launch, ceil_div
from .linear import linear
from .problem import ConvProblem, LinearProblem, Problem, SeparableProblem
from .separable import separable_conv2d
from .split import parts_of
from .stem import runs_pay, stem_conv2d
from .tile import ConvTile, Pressure
from .toom_cook import TAPS, WinogradTile
from .winograd import winograd_conv2d


class Choice(NamedTuple):
    """A kernel and its tile: `launch(..., tile=tile)`."""

    launch: Callable[..., Launch]
    tile: Any


def choices(problem: Problem, device: DeviceTraits) -> tuple[Choice, ...]:
    """Every kernel and tile that computes a layer without spilling registers in its loop."""
    if isinstance(problem, LinearProblem):
        found = device.linear_tiles(problem.dtype)
        alone = problem.rows == 1 and any(tile.rows == 1 for tile in found)
        fitting = (tile for tile in found if (tile.rows == 1) == alone)
        return tuple(
            Choice(linear, tile._replace(parts=parts))
            for tile in fitting
            for parts in parts_of(problem, tile, device)
        )
    if isinstance(problem, SeparableProblem):
        holding = (tile for tile in SEPARABLE if tile.pixels >= problem.window)
        return tuple(Choice(separable_conv2d, tile) for tile in holding)
    window = problem.pooled.pool.pixels if problem.pooled else 1
    direct = (
        Choice(depthwise_conv2d, tile)
        for tile in device.depthwise
        if problem.depthwise and tile.pixels >= window
    )

    def holds(tile: ConvTile) -> bool:
        whole = not problem.across or tile.channels >= problem.filters
        return tile.pixels >= window and whole

    def bears(tile: ConvTile, most: Pressure) -> bool:
        # A reduction that runs on from tap to tap has scattered addresses.
        divides = problem.channels % tile.reduction == 0
        return holds(tile) and most >= (problem.pressure if divides else Pressure.HIGH)

    tiles = device.conv_tiles(problem.dtype).items()
    implicit = (
        Choice(conv2d, tile._replace(parts=parts))
        for tile, most in tiles
        if bears(tile, most)
        for parts in parts_of(problem, tile, device)
    )
    in_runs = (
        Choice(stem_conv2d, tile)
        for tile, most in device.stem.get(problem.dtype, {}).items()
        if problem.stem and most >= problem.stem.pressure and holds(tile)
    )
    by_box = (
        Choice(conv2d_box, tile)
        for tile, most in device.box.items()
        if problem.boxes and most >= problem.pressure and holds(tile)
    )
    filtered = (Choice(winograd_conv2d, tile) for tile in _winograd_tiles(problem, device))
    return (*direct, *implicit, *in_runs, *by_box, *filtered)


def _winograd_tiles(problem: ConvProblem, device: DeviceTraits) -> Iterator[WinogradTile]:
    """Tiles of minimal filtering, with the programs that share the work.

    There are as many workers as a 32nd of the memory of the maps has room for, but enough to keep
    the device busy, where need be with a part of the output channels each.
    """
    maps = problem.maps
    if maps is None:
        return
    for tile in device.winograd_tiles(problem.dtype):
        if tile.outputs not in maps.outputs:
            continue
        step = max((n for n in (64, 32, 16) if problem.channels % n == 0), default=16)
        shared = tile._replace(reduction=min(step, tile.reduction))
        room = problem.pixels * (problem.channels + problem.filters) // 32
        workers = max(device.workers, room // shared.scratch(problem.channels))
        workers = min(shared.blocks(*maps[:2]), workers)
        parts = min(ceil_div(problem.filters, tile.channels), device.workers // workers)
        yield shared._replace(workers=workers, parts=max(1, parts))


class Work(NamedTuple):
    """What a kernel of a convolution does: products, padding included; numbers of tiles that it
    transforms; bytes of weights and of these numbers from beyond the caches; and its time, in
    products."""

    products: int
    transformed: int
    nbytes: int
    time: float


def work_of(choice: Choice, problem: ConvProblem, device: DeviceTraits) -> Work:
    """What a kernel does for a convolution of 3 x 3 filters, and what it takes.

    What a cache does not hold is read again: weights for every block of tiles, and the numbers of a
    block for every block of output channels. A kernel of fewer programs than keep the device busy
    takes as much longer.
    """
    maps, tile, prices = problem.maps, choice.tile, device.prices(problem.dtype)
    assert maps is not None
    assert device.transform is not None
    filters = ceil_div(problem.filters, tile.channels) * tile.channels
    channels = ceil_div(problem.channels, tile.reduction) * tile.reduction
    if isinstance(tile, WinogradTile):
        blocks = tile.blocks(*maps[:2])
        tiles = blocks * tile.tiles
        products = tiles * tile.points * filters * channels
        transformed = tiles * tile.points * (channels * tile.parts + filters)
        nbytes = 4 * tile.points * filters * channels
        nbytes *= blocks if nbytes > device.cache else 1
        if 4 * tile.scratch(problem.channels) > device.cache * tile.programs:
            nbytes += 4 * tile.points * tiles * channels * (filters // tile.channels)
        idle = max(1.0, device.workers / tile.programs)
        taken = products
    else:
        pixels = problem.computed(tile)
        if device.leaves_out:
            pixels = ceil_div(problem.kept(tile), device.leaves_out) * device.leaves_out
        products = pixels * TAPS**2 * filters * channels
        taken = products * (device.paired if problem.dtype == "bf16" else 1.0)
        itemsize = 4 if problem.dtype == "f32" else 2
        transformed, nbytes = 0, itemsize * TAPS**2 * filters * channels
        idle = max(1.0, device.programs / problem.programs(tile))
    time = idle * (taken + device.transform * transformed) + prices.balance * nbytes
    return Work(products, transformed, nbytes, time)


def directly(problem: Problem, found: Sequence[Choice], device: DeviceTraits) -> Choice:
    """The choice of the model among those that take sums of products as they are written."""
    return by_rule(problem, [c for c in found if c.launch is not winograd_conv2d], device)


def by_rule(problem: Problem, found: Sequence[Choice], device: DeviceTraits) -> Choice:
    """The choice of the model, among all of them or some.

    Where there is a model of the device, the tile that is predicted to be done first, with a doubt
    of reduction blocks other than the rules pick (see `SMALL_BLOCK`). Else a linear layer takes the
    tile with the most rows that it fills, or the one with the fewest, of these the largest
    reduction block that divides the input features, and the most features with which few rows still
    fill the device. A separable convolution has its depthwise one made as seldom as can be, by
    tiles no wider than they have to be, with the most pixels of which there still are enough to
    fill the device. A depthwise convolution takes the direct kernel, the widest below twice its
    output channels. Any other takes the largest reduction block that divides the input
    channels (the smallest of at least 32, if there is one, where none does). Among its tiles the
    rules are, in order: less than twice the channels there are; the fewest pixels computed, where
    windows overlap; the largest tile whose grid still fills the device, else the tile with the most
    programs. Minimal filtering takes its place where it takes less time (see `work_of`), where its
    price is known. Runs of few channels take theirs where they pay (see `runs_pay`), with the
    largest block that divides a run. Tensor descriptors are for where there is nothing else: only
    measuring tells where they are faster. Of their tiles it is the one with which programs that
    take turns read least, and of these multiply least.
    """
    predicted = device.times(problem.dtype) if not isinstance(problem, SeparableProblem) else None
    if predicted is None:
        undivided = [c for c in found if isinstance(c.tile, WinogradTile) or c.tile.parts == 1]
        found = undivided or found
    if isinstance(problem, LinearProblem):
        if predicted is not None:
            return min(found, key=lambda choice: predicted(problem, choice.tile))
        least = min(choice.tile.rows for choice in found)
        filled = (c for c in found if c.tile.rows <= max(problem.rows, least))

        def merit_linear(choice: Choice) -> tuple[int, int, bool, int]:
            tile = choice.tile
            fills = ceil_div(problem.features, tile.features) >= device.programs
            block = tile.reduction if problem.reduction % tile.reduction == 0 else 0
            return tile.rows, block, fills, tile.features if fills else -tile.features

        return max(filled, key=merit_linear)
    if isinstance(problem, SeparableProblem):

        def merit_separable(choice: Choice) -> tuple[int, int, bool, int]:
            channels, pixels = choice.tile.channels, choice.tile.pixels
            across, along = ceil_div(problem.filters, channels), ceil_div(problem.pixels, pixels)
            fills = across * along >= device.programs
            return -across, -channels, fills, pixels if fills else -pixels

        return max(found, key=merit_separable)
    direct = [choice for choice in found if choice.launch is depthwise_conv2d]
    if direct:
        width = 2 * problem.filters * problem.groups
        return next((choice for choice in direct if choice.tile.channels < width), direct[-1])
    filtered = [choice for choice in found if choice.launch is winograd_conv2d]
    if filtered:
        written = [directly(problem, found, device)] if len(filtered) < len(found) else []
        if device.transform is None:
            return (*written, *filtered)[0]
        return min((*written, *filtered), key=lambda choice: work_of(choice, problem, device).time)
    addressed = [choice for choice in found if choice.launch is not conv2d_box]
    if not addressed:

        def read_in_turns(choice: Choice) -> tuple[int, int]:
            channels, pixels = choice.tile[:2]
            programs = problem.boxed(choice.tile) // pixels * ceil_div(problem.filters, channels)
            turns = ceil_div(programs, device.programs)
            return turns * (channels + pixels), turns * channels * pixels

        return min(found, key=read_in_turns)
    found = addressed
    depth = problem.channels
    in_runs = [choice for choice in found if choice.launch is stem_conv2d]
    if in_runs and problem.stem:
        outputs, prices = problem.pixels * problem.filters, device.prices(problem.dtype)
        if len(in_runs) == len(found) or runs_pay(problem.stem, outputs, depth, prices):
            found, depth = in_runs, problem.stem.run
        else:
            found = [choice for choice in found if choice not in in_runs]
    blocks = {choice.tile.reduction for choice in found}
    block = max((b for b in blocks if depth % b == 0), default=0)
    block = block or min((b for b in blocks if b >= 32), default=min(blocks))
    fitting = [choice for choice in found if choice.tile.reduction == block]
    if predicted is not None and found[0].launch is conv2d:
        doubts = {b: SMALL_BLOCK if b != block else 1.0 for b in blocks}
        return min(found, key=lambda c: doubts[c.tile.reduction] * predicted(problem, c.tile))
    narrowest = min(choice.tile.channels for choice in fitting)

    def merit(choice: Choice) -> tuple[bool, int, bool, int, int]:
        channels, pixels = choice.tile.channels, choice.tile.pixels
        programs = problem.programs(choice.tile)
        fills = programs >= device.programs
        narrow = channels < 2 * problem.filters or channels == narrowest
        computed = problem.computed(choice.tile) if problem.overlaps else 0
        return narrow, -computed, fills, channels * pixels if fills else programs, channels

    return max(fitting, key=merit)
