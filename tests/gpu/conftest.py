"""Everything in this folder runs on a CUDA device; `pytest -m gpu` runs nothing else."""

from pathlib import Path

import pytest
import torch

WITHOUT = pytest.mark.skip(reason="needs a CUDA device, and torch finds none")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(WITHOUT)
