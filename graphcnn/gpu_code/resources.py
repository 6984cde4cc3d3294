"""What a kernel's machine code for an NVIDIA GPU takes, by NVIDIA's own tool."""

from __future__ import annotations

import re
import subprocess
import tempfile
from typing import NamedTuple

from graphcnn.triton_api import cuobjdump


class Resources(NamedTuple):
    """What a thread takes.

    Attributes:
        registers: How many.
        spilled_bytes: Stack and local memory, where registers did not suffice.
    """

    registers: int
    spilled_bytes: int


def resources(cubin: bytes) -> Resources:
    """What the compiler gave each thread of a kernel."""
    text = dumped(cubin, "-res-usage")
    match = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    assert match, text
    registers, stack, local = (int(group) for group in match.groups())
    return Resources(registers, stack + local)


def dumped(cubin: bytes, option: str) -> str:
    """What cuobjdump says of machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(cuobjdump()), option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
