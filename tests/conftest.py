"""Settings that have to stand before torch is imported, the marker `kernels`, our options."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker is a process of its own; together they would want more threads than there are.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
# What compiles no kernel. `make test-fast` runs these tests without a C compiler.
FAST = (
    "analysis",
    "frontend",
    "ir",
    "models",
    "ops",
    "passes",
    "plan",
    "targets/test_chain.py",
    "targets/test_layout.py",
    "test_architecture.py",
    "test_disk.py",
    "test_files.py",
    "test_golden.py",
    "test_import.py",
    "test_strategies.py",
)


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew")


def pytest_collection_modifyitems(items):
    for item in items:
        if not any(item.path.is_relative_to(HERE / place) for place in FAST):
            item.add_marker(pytest.mark.kernels)
