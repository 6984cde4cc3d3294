"""Where figures were measured, in words."""

import pytest

from graphcnn.report.environment import Environment


@pytest.mark.parametrize(
    ("device", "threads", "wanted"),
    [
        ("cpu", 1, "cpu, 1 thread, torch 2, triton 3"),
        ("cpu", 2, "cpu, 2 threads, torch 2, triton 3"),
        ("H200", 2, "H200, torch 2, triton 3"),
    ],
)
def test_threads_are_counted_on_the_cpu(device, threads, wanted):
    assert str(Environment(device, threads, "2", "3")) == wanted
