"""One arena for all activations: buffers whose live ranges do not meet share its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphcnn.analysis import LiveRange, live_ranges
from graphcnn.errors import SanitizerFault
from graphcnn.plan.plan import Location, Lowered, Plan, Slot

# Vector loads of 16 bytes and a DRAM burst both divide it.
ALIGNMENT = 256


def plan_memory(lowered: Lowered, inputs: Iterable[str], outputs: Iterable[str]) -> Plan:
    """Give every buffer an address. Values without one are none of the arena's.

    One after the other is laid at the lowest offset where it meets no buffer that is alive at the
    same time: the largest first, or those of the step that needs the most, or those alive the
    longest for their size, whichever of these orders takes the least (the first two are greedy by
    size and by breadth of Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net
    Inference, 2020, algorithms 3 and 2).

    Args:
        lowered: Steps and buffers of a target.
        inputs: The graph's inputs: alive from before the first step.
        outputs: Its outputs: alive after the last step.
    """

    def planned(names: Iterable[str]) -> list[str]:
        return [name for name in buffers_of(names, lowered.locations) if name in lowered.buffers]

    reads = [planned(step.reads) for step in lowered.steps]
    writes = [planned(step.writes) for step in lowered.steps]
    ranges = live_ranges(reads, writes, inputs=planned(inputs), outputs=planned(outputs))
    owners = _share_in_place(lowered, ranges)
    groups: dict[str, list[str]] = {}
    for name in ranges:
        groups.setdefault(owners[name], []).append(name)
    spans = {
        owner: LiveRange(min(ranges[n].first for n in names), max(ranges[n].last for n in names))
        for owner, names in groups.items()
    }
    sizes = {owner: max(lowered.buffers[n] for n in names) for owner, names in groups.items()}
    plans = (_placed(order, sizes, spans) for order in _orders(sizes, spans))
    offsets = min(
        plans, key=lambda offsets: max((offsets[o] + sizes[o] for o in offsets), default=0)
    )
    slots = tuple(
        Slot(name, offsets[owners[name]], lowered.buffers[name], span.first, span.last)
        for name, span in ranges.items()
    )
    end = max((slot.offset + slot.nbytes for slot in slots), default=0)
    return Plan(lowered.steps, lowered.locations, slots, _align(end), lowered.weights)


def buffers_of(names: Iterable[str], locations: Mapping[str, Location]) -> list[str]:
    """The buffers that hold some values; those that have no location stand for themselves."""
    return [locations[name].buffer.name if name in locations else name for name in names]


def _share_in_place(lowered: Lowered, ranges: dict[str, LiveRange]) -> dict[str, str]:
    """The buffer whose memory each one uses: its own, or that of the one it overwrites.

    Safe because the step reads and writes each element at the same position, the sizes are equal
    and no later step, nor the caller, reads what is overwritten.
    """
    owners = {name: name for name in ranges}
    for index, step in enumerate(lowered.steps):
        if not step.in_place:
            continue
        read, written = step.reads[0], step.writes[0]
        dies_here = ranges[read].last == index and step.reads.count(read) == 1
        born_here = ranges[written].first == index
        if dies_here and born_here and lowered.buffers[read] == lowered.buffers[written]:
            owners[written] = owners[read]
    return owners


def check_sharing(plan: Plan) -> None:
    """Check that no step writes over what it reads, except in place, and that of two values that
    steps write to one buffer one is a part of the other where they share elements.

    What a step overwrites for later steps shows when they read it; this may not, where few
    programs happen to read first.

    Raises:
        SanitizerFault: naming the step and both buffers, or both values.
    """
    _check_parts(plan)
    slots = {slot.name: slot for slot in plan.slots}
    for step in plan.steps:
        names = (buffers_of(side, plan.locations) for side in (step.reads, step.writes))
        for read, written in product(*names):
            if read == written or not {read, written} <= slots.keys():
                continue
            x, y = slots[read], slots[written]
            apart = x.offset + x.nbytes <= y.offset or y.offset + y.nbytes <= x.offset
            in_place = step.in_place and (read, written) == (step.reads[0], step.writes[0])
            if not apart and not (in_place and x.offset == y.offset):
                raise SanitizerFault(
                    f"step '{step.node}' writes over what it reads: '{written}' shares memory "
                    f"with '{read}'",
                    where=f"kernel {step.label}",
                    got=f"bytes {y.offset} to {y.offset + y.nbytes} of the arena, "
                    f"and {x.offset} to {x.offset + x.nbytes}",
                    remedy="plan each its own bytes while both live",
                )


def _check_parts(plan: Plan) -> None:
    """The second half of `check_sharing`. Each element knows the last value that was laid on it."""
    ends: dict[str, int] = {}
    for at in plan.locations.values():
        end = at.buffer.offset + at.reach
        ends[at.buffer.name] = max(end, ends.get(at.buffer.name, 0))
    holders = {buffer: np.full(end, -1) for buffer, end in ends.items()}
    written = {step.node for step in plan.steps} & plan.locations.keys()
    places = [(name, plan.locations[name]) for name in written]
    places.sort(key=lambda item: (item[1].type.size, item[0]))
    names, sizes = [*dict(places)], [at.type.size for _, at in places]
    for number, (name, at) in enumerate(places):
        holder = holders[at.buffer.name]
        strides = [stride * holder.itemsize for stride in at.strides]
        elements = as_strided(holder[at.buffer.offset :], at.type.shape, strides)
        for other, count in zip(*np.unique(elements, return_counts=True), strict=True):
            if other >= 0 and count < sizes[other]:
                raise SanitizerFault(
                    f"'{name}' and '{names[other]}' lie across each other in one buffer",
                    where=f"buffer '{at.buffer.name}'",
                    got=f"{count} elements of both",
                    wanted="one inside the other, or no element of both",
                    remedy="place one of them elsewhere",
                )
        elements[...] = number


def _orders(sizes: Mapping[str, int], spans: Mapping[str, LiveRange]) -> Iterator[list[str]]:
    """Orders in which buffers may be placed; where two do as well, the earlier one is taken."""
    by_size = sorted(sizes, key=lambda name: (-sizes[name], spans[name], name))
    yield by_size
    needed: dict[int, int] = {}
    for name, span in spans.items():
        for step in range(span.first, span.last + 1):
            needed[step] = needed.get(step, 0) + sizes[name]
    fullest = sorted(needed, key=lambda step: (-needed[step], step))
    rank = {step: number for number, step in enumerate(fullest)}
    first = {n: min(rank[s] for s in range(spans[n].first, spans[n].last + 1)) for n in sizes}
    yield sorted(by_size, key=first.__getitem__)
    yield sorted(
        by_size, key=lambda name: -sizes[name] * (1 + spans[name].last - spans[name].first)
    )


def _placed(
    order: Iterable[str], sizes: Mapping[str, int], spans: Mapping[str, LiveRange]
) -> dict[str, int]:
    """The offset of each buffer, placed in an order."""
    placed: list[tuple[LiveRange, int, int]] = []
    offsets: dict[str, int] = {}
    for name in order:
        offsets[name] = _lowest_gap(placed, sizes[name], spans[name])
        placed.append((spans[name], offsets[name], sizes[name]))
    return offsets


def _lowest_gap(placed: list[tuple[LiveRange, int, int]], nbytes: int, span: LiveRange) -> int:
    """Lowest offset at which `nbytes` meet no placed (span, offset, size) alive in `span`."""
    rivals = ((start, size) for other, start, size in placed if other.overlaps(span))
    offset = 0
    for start, size in sorted(rivals):
        if offset + nbytes <= start:
            break
        offset = max(offset, _align(start + size))
    return offset


def _align(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
