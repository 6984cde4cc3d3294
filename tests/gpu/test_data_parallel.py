"""A batch that is split over real devices, on the caller's stream."""

import pytest
import torch

import graphcnn as gx
from graphcnn.ir import rebatch
from graphcnn.runtime.boundary import example_inputs
from tests.runtime.small_networks import NETWORKS


def devices():
    """All CUDA devices; beside a single one the CPU, whose kernels are the same."""
    count = torch.cuda.device_count()
    return [f"cuda:{number}" for number in range(count)] if count > 1 else ["cuda:0", "cpu"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_parts_are_the_whole(name):
    graph = NETWORKS[name]("float32")
    model = gx.compile(graph, device="cuda:0")
    split = gx.parallel(model, devices())
    arrays = example_inputs(rebatch(graph, 5))
    images = {key: torch.from_numpy(array).cuda() for key, array in arrays.items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(10**7)
        delayed = {key: image * 1.0 for key, image in images.items()}
        found = split(**delayed)
    side.synchronize()
    wanted = model(**images)
    for got, right in zip(*map(listed, (found, wanted)), strict=True):
        assert got.device == right.device
        torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-4)
    assert all(gx.verify(each).ok for each in split.models)


def listed(results):
    return [*results.values()] if isinstance(results, dict) else [results]
