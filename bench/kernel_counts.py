"""Registers and instructions of a convolution's kernel with each tile, compiled for GPUs.

    python -m bench.kernel_counts CAPABILITY ...

No GPU is needed. Prints rows of the table in `graphcnn/costs/counts.py`: of 3x3 filters, with a
bias and a ReLU, on channels-last maps of as many channels as a tile's block divides, and of 3
channels, whose addresses are scattered, for tiles that bear that. A multiprocessor issues an
instruction for 32 threads at a time.
"""

import re
import sys

from graphcnn.costs.counts import Count
from graphcnn.gpu_code import GpuCode, architecture, compile_for
from graphcnn.kernels import Pressure, conv2d, cuda_traits
from graphcnn.kernels.tile import ConvTile
from tests.kernels.buffers import RELU
from tests.kernels.gpu_launches import call_of, view

MATRIX = r"\b(HMMA|HGMMA|QGMMA|UTC\w*MMA|IMMA)\b"


def count(tile: ConvTile, dtype: str, capability: int, channels: int) -> Count:
    """What the compiler makes of a tile."""
    size, filters = 56, 256
    shape = (8, filters, size, size)
    launch = conv2d(
        view((8, channels, size, size), dtype),
        view((filters, 9 * channels), dtype),
        view((filters,), dtype),
        [view(shape, dtype)],
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        groups=1,
        out_size=(size, size),
        tail=(RELU,),
        tile=tile,
    )
    return counted(compile_for(call_of(launch), architecture(f"sm_{capability}")))


def counted(kernel: GpuCode) -> Count:
    """Registers, and instructions of the loop that multiplies, and around it."""
    code = re.findall(r"/\*([0-9a-f]+)\*/ +(\w.*|@.*);", kernel.machine_code)
    places = [int(at, 16) for at, _ in code]
    loops = []
    for at, line in code:
        jump = re.search(r"\bBRA\b.*0x([0-9a-f]+)", line)
        if jump and int(jump[1], 16) < int(at, 16):
            inside = [text for place, text in code if jump_holds(jump[1], place, at)]
            if any(re.search(MATRIX, text) for text in inside):
                loops.append((int(jump[1], 16), int(at, 16)))
    assert loops, "no loop multiplies"
    first, last = max(loops, key=lambda loop: loop[1] - loop[0])
    step = sum(first <= place <= last for place in places)
    end = next((n for n, (_, line) in enumerate(code) if re.fullmatch(r"EXIT ?", line)), len(code))
    around = sum(not first <= place <= last for place in places[: max(end, 1)])
    return Count(kernel.registers, step, around)


def jump_holds(to: str, place: str, at: str) -> bool:
    """Whether a place lies between a jump and where it goes."""
    return int(to, 16) <= int(place, 16) <= int(at, 16)


def main() -> None:
    for capability in map(int, sys.argv[1:]):
        traits = cuda_traits(capability)
        for dtype in ("f16", "f32"):
            rows = [ConvTile(*tile) for tile in traits.linear_tiles(dtype) if tile.rows > 1]
            for tile in dict.fromkeys((*traits.conv_tiles(dtype), *rows)):
                told(capability, dtype, tile, count(tile, dtype, capability, 16 * tile.reduction))
                if traits.conv_tiles(dtype).get(tile) == Pressure.HIGH:
                    told(capability, dtype, tile, count(tile, dtype, capability, 24), "scattered")


def told(capability: int, dtype: str, tile: ConvTile, found: Count, word: str = "") -> None:
    """Print a row."""
    size = "x".join(map(str, tile[:5]))
    key = (capability, dtype, f"{size} {word}".rstrip())
    print(f"    {key}: Count{tuple(found)},".replace("'", '"'), flush=True)


if __name__ == "__main__":
    main()
