"""Exact counts of what one program does, from the addresses that it uses.

Instructions are those of PTX, which ptxas still changes; sectors and conflicts follow from
addresses alone.
"""

from collections import Counter

import numpy as np

SECTOR = 32  # bytes that global memory moves at least
BANKS, WORD = 32, 4


NAMED = {"mma", "ldmatrix", "stmatrix", "shfl", "bar", "div", "rem", "cvt", "selp", "bra"}


def kind_of(instruction):
    """What is told apart: memory by its space, what is slow or a tensor core's, and the rest."""
    name, *rest = instruction.parts
    if name in ("ld", "st", "cp"):
        return f"{name}.{rest[0]}"
    return name if name in NAMED else "other"


class Counters:
    """Warp instructions by kind, and by kind of access requests, sectors, phases and conflicts."""

    def __init__(self):
        self.instructions = Counter()
        self.requests, self.sectors, self.needed = Counter(), Counter(), Counter()
        self.phases, self.wavefronts = Counter(), Counter()

    def count(self, instructions, executed):
        """How often each instruction was executed by a warp."""
        for instruction, times in zip(instructions, executed, strict=True):
            self.instructions[kind_of(instruction)] += times

    def global_access(self, kind, addresses, size):
        """One request of a warp: addresses of its lanes that are not masked."""
        if not addresses.size:
            return
        addresses = np.unique(addresses)
        self.requests[kind] += 1
        self.sectors[kind] += np.unique(addresses // SECTOR).size
        self.needed[kind] += -(-addresses.size * size // SECTOR)

    def shared_access(self, kind, addresses, size):
        """Lanes that fill 128 bytes go together, once for each word that one bank has to give."""
        together = BANKS * WORD // max(size, WORD)
        for start in range(0, addresses.size, together):
            part = addresses[start : start + together]
            words = np.unique((part[:, None] + np.arange(0, max(size, WORD), WORD)) // WORD)
            self.phases[kind] += 1
            self.wavefronts[kind] += int(np.bincount(words % BANKS).max())

    def lines(self):
        """Text, one line a kind."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.instructions.items()))
        yield f"instructions {self.instructions.total()}: {kinds}"
        for kind in sorted(self.requests):
            counts = self.requests[kind], self.sectors[kind], self.needed[kind]
            yield "{}: {} requests, {} sectors, {} at least".format(kind, *counts)
        for kind in sorted(self.phases):
            counts = self.wavefronts[kind], self.phases[kind]
            yield "{}: {} wavefronts, {} without conflicts".format(kind, *counts)
