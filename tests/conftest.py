"""Settings that have to stand before torch is imported."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker is a process of its own; together they would want more threads than there are.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
