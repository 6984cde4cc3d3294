"""Settings that have to stand before torch is imported, the lanes of the tests, our options."""

import os
from collections import Counter
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker is a process of its own; together they would want more threads than there are.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
# The lane of a file of tests is that of its nearest place; of a test, what it is marked with.
# `make test-fast` runs `pure` without a C compiler, so a test that compiles fails there.
LANES = {
    "pure": (
        "analysis",
        "bench",
        "cpu/test_corpus.py",
        "frontend",
        "gpu_code",
        "ir",
        "kernels/test_epilogue.py",
        "kernels/test_choices.py",
        "kernels/test_toom_cook.py",
        "models",
        "ops",
        "passes",
        "plan",
        "ptx/test_instructions.py",
        "report/test_inspection.py",
        "report/test_tables.py",
        "targets/test_availability.py",
        "targets/test_capability.py",
        "targets/test_chain.py",
        "targets/test_cuda.py",
        "targets/test_cuda_memory.py",
        "targets/test_layout.py",
        "targets/test_lowering.py",
        "targets/test_parts.py",
        "targets/test_winograd_bound.py",
        "test_architecture.py",
        "test_checkpoint.py",
        "test_disk.py",
        "test_docs.py",
        "test_files.py",
        "test_golden.py",
        "test_import.py",
        "test_lanes.py",
        "test_nvidia.py",
        "test_reproducible.py",
        "test_strategies.py",
        "torch_import",
        "tuning/test_cache.py",
        "tuning/test_trial.py",
    ),
    "cpu": (".",),
    "compile": (
        "kernels/test_gpu_compile.py",
        "kernels/test_gpu_counts.py",
        "kernels/test_precisions_on_gpus.py",
        "ptx",
        "report/test_gpu_report.py",
        "runtime/test_cuda_graphs.py",
        "runtime/test_host_time.py",
        "runtime/test_interleavings.py",
        "runtime/test_lending_on_cuda.py",
        "runtime/test_sharing.py",
        "runtime/test_stand_in_gpu.py",
        "targets/test_gpu_configurations.py",
        "test_self_check.py",
    ),
    "gpu": ("gpu",),
}


def lane(path):
    """The lane of a file of tests."""
    inside = path.relative_to(HERE)
    known = {place: name for name, places in LANES.items() for place in places}
    return next(known[str(at)] for at in (inside, *inside.parents) if str(at) in known)


# Of files that compile hundreds of kernels for GPUs, one test in so many runs by itself.
SAMPLED = {
    "kernels/test_gpu_compile.py": 16,
    "kernels/test_precisions_on_gpus.py": 16,
    "targets/test_gpu_configurations.py": 8,
}


def sampled(items):
    """Without most tests of such files."""
    seen = Counter()
    for item in items:
        place = str(item.path.relative_to(HERE)) if item.path.is_relative_to(HERE) else ""
        if seen[place] % SAMPLED.get(place, 1) == 0:
            yield item
        seen[place] += 1


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")
    parser.addoption(
        "--every-kernel", action="store_true", help="compile all kernels for GPUs, not a sample"
    )
    parser.addoption("--one-in", type=int, default=1, help="run each test of so many, for a sample")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--every-kernel"):
        items[:] = sampled(items)
    items[:] = items[:: config.getoption("--one-in")]
    for item in items:
        if not any(map(item.get_closest_marker, LANES)):
            item.add_marker(lane(item.path))


@pytest.fixture
def golden(request):
    """Compare a text with a file of the checkout, or write it there under --update-golden."""

    def check(name, text):
        path = HERE.parent / name
        text = f"{text}\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text

    return check
