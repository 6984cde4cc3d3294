"""One arena for all activations: buffers whose live ranges do not meet share its bytes."""

from __future__ import annotations

from graphcnn.plan.plan import Lowered, Plan, Slot, Step

ALIGNMENT = 256
# Masked lanes of an asynchronous copy still translate their address, up to a padding's width
# outside the tensor: both ends of the arena keep that distance from unmapped memory.
GUARD_BYTES = 64 * 1024

Range = tuple[int, int]


def plan_memory(lowered: Lowered, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Plan:
    """Give every buffer an address.

    Greedy by size: the largest buffer first, at the lowest offset where it meets no buffer that is
    alive at the same time (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net
    Inference, 2020, algorithm 3).

    Args:
        lowered: Steps and buffers of a target.
        inputs: Buffers that hold the graph's inputs: alive from before the first step.
        outputs: Buffers that hold its outputs: alive after the last step.
    """
    ranges = live_ranges(lowered.steps, inputs, outputs)
    owners = _share_in_place(lowered, ranges)
    groups: dict[str, list[str]] = {}
    for name in ranges:
        groups.setdefault(owners[name], []).append(name)
    spans = {
        owner: (min(ranges[n][0] for n in names), max(ranges[n][1] for n in names))
        for owner, names in groups.items()
    }
    sizes = {owner: max(lowered.buffers[n] for n in names) for owner, names in groups.items()}
    placed: list[Slot] = []
    for owner in sorted(groups, key=lambda owner: (-sizes[owner], spans[owner], owner)):
        offset = _lowest_gap(placed, sizes[owner], spans[owner])
        placed.append(Slot(owner, offset, sizes[owner], *spans[owner]))
    offsets = {slot.name: slot.offset for slot in placed}
    slots = tuple(
        Slot(name, offsets[owners[name]], lowered.buffers[name], *ranges[name]) for name in ranges
    )
    end = max((slot.offset + slot.nbytes for slot in slots), default=GUARD_BYTES)
    return Plan(lowered.steps, lowered.locations, slots, _align(end) + GUARD_BYTES, lowered.weights)


def live_ranges(
    steps: tuple[Step, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> dict[str, Range]:
    """First and last step at which each buffer holds something, both inclusive.

    An input is there before step 0 (-1), an output until after the last step. A buffer that
    nothing reads lives at the step that writes it.
    """
    ranges: dict[str, Range] = dict.fromkeys(inputs, (-1, -1))
    for index, step in enumerate(steps):
        for name in (*step.reads, *step.writes):
            ranges[name] = (ranges[name][0] if name in ranges else index, index)
    for name in outputs:
        ranges[name] = (ranges[name][0], len(steps))
    return ranges


def _share_in_place(lowered: Lowered, ranges: dict[str, Range]) -> dict[str, str]:
    """The buffer whose memory each one uses: its own, or that of the one it overwrites.

    Safe because the step reads and writes each element at the same position, the sizes are equal
    and no later step, nor the caller, reads what is overwritten.
    """
    owners = {name: name for name in ranges}
    for index, step in enumerate(lowered.steps):
        if not step.in_place:
            continue
        read, written = step.reads[0], step.writes[0]
        dies_here = ranges[read][1] == index and step.reads.count(read) == 1
        born_here = ranges[written][0] == index
        if dies_here and born_here and lowered.buffers[read] == lowered.buffers[written]:
            owners[written] = owners[read]
    return owners


def _lowest_gap(placed: list[Slot], nbytes: int, span: Range) -> int:
    rivals = (slot for slot in placed if slot.first <= span[1] and span[0] <= slot.last)
    offset = GUARD_BYTES
    for rival in sorted(rivals, key=lambda slot: slot.offset):
        if offset + nbytes <= rival.offset:
            break
        offset = max(offset, _align(rival.offset + rival.nbytes))
    return offset


def _align(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
