"""What the backend says of Triton IR that it cannot compile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphcnn.errors import UnsupportedTritonOp

REMEDY = "write the kernel without it, or run this kernel on a GPU"


@contextmanager
def understanding(line: str, where: str) -> Iterator[None]:
    """Name the line of Triton IR whose reading or translation fails inside the block.

    Triton checks its IR before it prints it. So what breaks an assumption of this package is not a
    mistake in the text but something that the package does not know, and it can show anywhere.

    Raises:
        UnsupportedTritonOp: In place of what an assumption raises that does not hold.
    """
    try:
        yield
    except UnsupportedTritonOp as error:
        error.got = error.got or line[:120]
        raise error.at(where) from error.__cause__
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise UnsupportedTritonOp(
            "the CPU backend does not understand a line of Triton IR",
            where=where,
            got=line[:120] or "an empty line",
            remedy=REMEDY,
        ) from error
