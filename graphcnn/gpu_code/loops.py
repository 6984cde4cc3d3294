"""The loops of machine code."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.gpu_code.instructions import Instruction


def successors(code: Sequence[Instruction]) -> list[list[int]]:
    """Of each instruction, the indices of those that may follow it."""
    found = []
    for index, instruction in enumerate(code):
        after = [index + 1] if instruction.goes_on and index + 1 < len(code) else []
        if instruction.target is not None and instruction.target < len(code):
            after.append(instruction.target)
        found.append(after)
    return found


def reached(begin: int, after: Sequence[Sequence[int]], without: int = -1) -> set[int]:
    """What can follow an instruction, itself included, on ways that leave one out."""
    found: set[int] = set()
    waiting = [begin]
    while waiting:
        at = waiting.pop()
        if at != without and at not in found:
            found.add(at)
            waiting += after[at]
    return found


def loops(code: Sequence[Instruction]) -> list[frozenset[int]]:
    """The natural loops of a kernel: all instructions of each, in any order.

    What leads back to the head of one is reached through this head alone (Aho, Lam, Sethi and
    Ullman, Compilers, 2006, 9.6). So no loop begins where code comes back that was moved out of the
    way, as where a barrier is waited for. Loops of one head count as one.
    """
    after = successors(code)
    before: list[list[int]] = [[] for _ in code]
    live = reached(0, after) if code else set()
    for index in sorted(live):
        for follower in after[index]:
            before[follower].append(index)
    found = []
    targets = {target for index in live if (target := code[index].target) is not None}
    for head in sorted(targets & live):
        elsewhere = reached(0, after, without=head)
        ends = [index for index in before[head] if index not in elsewhere]
        if ends:
            # Backwards from these, the head ends every way.
            found.append(frozenset({head}.union(*(reached(i, before, head) for i in ends))))
    return found
