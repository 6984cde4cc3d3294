"""The environment variables of graphcnn: the whole list, read at the moment of use.

GRAPHCNN_DEBUG=1     stage times and node counts; 2 adds the IR after each pass that changed it
GRAPHCNN_DUMP=DIR    write the graph after every pass to DIR as numbered text files
GRAPHCNN_VERIFY=0    skip the IR check between passes
GRAPHCNN_SANITIZE=1  CPU kernels check bounds, races, unwritten and overwritten memory

A function argument takes precedence over its variable. Of other programs' variables, the CPU
device heeds CC, its C compiler and options, TMPDIR and TRITON_CACHE_DIR; its threads are torch's,
which starts with as many as OMP_NUM_THREADS says. `import graphcnn` heeds EAGER_IMPORT, of
lazy-loader.
"""

from __future__ import annotations

import os


def debug_level() -> int:
    """`GRAPHCNN_DEBUG` as a number; 0 when unset or not a number."""
    text = os.environ.get("GRAPHCNN_DEBUG", "0")
    return int(text) if text.isdigit() else 0


def dump_directory() -> str | None:
    """`GRAPHCNN_DUMP`, or None."""
    return os.environ.get("GRAPHCNN_DUMP") or None


def verify_between_passes() -> bool:
    """False only for `GRAPHCNN_VERIFY=0`."""
    return os.environ.get("GRAPHCNN_VERIFY", "1") != "0"


def sanitize() -> bool:
    """True for `GRAPHCNN_SANITIZE=1`."""
    return os.environ.get("GRAPHCNN_SANITIZE", "0") == "1"
