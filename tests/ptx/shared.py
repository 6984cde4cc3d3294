"""The shared memory of one program: garbage at first, copies on their way, and who touched what."""

import numpy as np

from tests.ptx.program import PtxError

NOBODY, SEVERAL = -1, -2
GARBAGE = 0xFF  # NaN in every type


class SharedMemory:
    """Bytes between whose warps only a barrier makes an order.

    For each byte since the last barrier: which warp wrote it, which read it (or SEVERAL), and
    whether an asynchronous copy that nobody has waited for is on its way there. Raises PtxError for
    a byte that one warp writes and another touches between two barriers, for one that is read
    before its copy was waited for, and outside of the memory.
    """

    def __init__(self, size):
        self.bytes = np.full(size, GARBAGE, np.uint8)
        self.writer = np.full(size, NOBODY, np.int16)
        self.reader = np.full(size, NOBODY, np.int16)
        self.copying = np.zeros(size, bool)

    def barrier(self):
        self.writer.fill(NOBODY)
        self.reader.fill(NOBODY)

    def places(self, addresses, size):
        """The bytes of accesses of `size` bytes: [lanes, size]."""
        if addresses.size and (addresses.min() < 0 or addresses.max() + size > self.bytes.size):
            raise PtxError(f"outside of {self.bytes.size} bytes of shared memory")
        if (addresses % size).any():
            raise PtxError(f"an address of shared memory that is no multiple of {size}")
        return addresses[:, None] + np.arange(size)

    def read(self, warp, addresses, size):
        places = self.places(addresses, size)
        if self.copying[places].any():
            raise PtxError("shared memory is read before its copy was waited for")
        writer = self.writer[places]
        if ((writer != NOBODY) & (writer != warp)).any():
            raise PtxError("shared memory is read that another warp wrote since the last barrier")
        reader = self.reader[places]
        self.reader[places] = np.where((reader == NOBODY) | (reader == warp), warp, SEVERAL)
        return self.bytes[places]

    def write(self, warp, addresses, values):
        """Values are [lanes, size] bytes."""
        places = self.places(addresses, values.shape[1])
        if self.copying[places].any():
            raise PtxError("shared memory is written before a copy to it was waited for")
        self._claim(warp, places, values)
        self.bytes[places] = values

    def start_copy(self, warp, addresses, size):
        """What is there is garbage until the copy has landed."""
        places = self.places(addresses, size)
        if self.copying[places].any():
            raise PtxError("two copies to the same shared memory, and none was waited for")
        self._claim(warp, places, None)
        self.bytes[places] = GARBAGE
        self.copying[places] = True

    def arrive(self, addresses, values):
        """A copy is there before anybody waited for it."""
        self.bytes[self.places(addresses, values.shape[1])] = values

    def land(self, warp, addresses, values):
        """A copy is there, for its own warp to read, and for others after a barrier."""
        places = self.places(addresses, values.shape[1])
        self.writer[places] = warp
        self.copying[places] = False
        self.bytes[places] = values

    def _claim(self, warp, places, values):
        """Warps may write the same to the same place: Triton lets them, of what they share."""
        readers, writers = self.reader[places], self.writer[places]
        if ((readers != NOBODY) & (readers != warp)).any():
            raise PtxError("shared memory is written that another warp read since the last barrier")
        others = (writers != NOBODY) & (writers != warp)
        if others.any() and (values is None or (self.bytes[places] != values)[others].any()):
            raise PtxError("two warps write to the same shared memory between barriers")
        self.writer[places] = warp
