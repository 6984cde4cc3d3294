"""A cache of its own for each test, and a stand-in for the clock on the device."""

import pytest

from graphcnn import triton_api
from graphcnn.tuning.measure import Subject


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the test's measurements are kept; compiled kernels stay where they are."""
    monkeypatch.setattr(triton_api, "cache_folder", lambda: tmp_path)
    return tmp_path / "graphcnn_tuning"


@pytest.fixture
def takes(monkeypatch):
    """Seconds of each way, by name, in place of measured ones: a function of the name."""

    def stand_in(seconds):
        monkeypatch.setattr(Subject, "sample", lambda self, bound: seconds(bound.name))

    return stand_in
