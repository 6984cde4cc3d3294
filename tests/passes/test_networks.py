"""What the pipeline makes of whole networks: one kernel per convolution, skips exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from unittest.mock import patch

import numpy as np
import pytest

from graphcnn.analysis import node_traffic, traffic
from graphcnn.ir import CompileLog, Fused, Graph, Node, evaluate, inline
from graphcnn.models import alexnet_2012, resnet18, resnet50, squeezenet1_1, vgg16
from graphcnn.passes import Fuse, default_pipeline, run_passes
from tests.networks import preactivation, unet_block
from tests.stand_in_gpu import stand_in_target
from tests.strategies import inputs
from tests.targets.chains import supports


def kernels(graph: Graph) -> Counter[str]:
    """How many nodes of each kind, a group by its ops and number of exports."""
    return Counter(
        "+".join(inner.op.name for inner in node.op.body.nodes) + f">{len(node.op.exports)}"
        if isinstance(node.op, Fused)
        else node.op.name
        for node in graph.nodes
    )


def exports(node: Node) -> list[str]:
    return [value.name for value in node.outputs]


def test_resnet18_is_one_kernel_per_convolution() -> None:
    log = CompileLog()
    fused = run_passes(resnet18(size=64), default_pipeline(supports), log)
    assert kernels(fused) == {
        "conv2d+relu+max_pool2d>1": 1,
        "conv2d+relu>1": 8,
        "conv2d+add+relu>1": 7,
        "conv2d+add+relu+global_avg_pool2d>1": 1,
        "conv2d": 3,
        "flatten": 1,
        "linear": 1,
        "softmax": 1,
    }
    assert not log.refusals


def test_resnet50_is_one_kernel_per_convolution() -> None:
    fused = run_passes(resnet50(size=64), default_pipeline(supports), CompileLog())
    assert kernels(fused) == {
        "conv2d+relu+max_pool2d>1": 1,
        "conv2d+relu>1": 32,
        "conv2d+add+relu>1": 15,
        "conv2d+add+relu+global_avg_pool2d>1": 1,
        "conv2d": 4,
        "flatten": 1,
        "linear": 1,
        "softmax": 1,
    }


def test_unet_skips_are_exported() -> None:
    fused = run_passes(unet_block(), default_pipeline(supports), CompileLog())
    assert kernels(fused) == {
        "conv2d+relu>1": 4,
        "conv2d+relu+max_pool2d>2": 2,
        "conv2d": 1,
        "concat": 2,
    }
    assert exports(fused["down"]) == ["a2.relu", "down"]
    assert exports(fused["bottom"]) == ["b2.relu", "bottom"]


def test_preactivation_sums_are_exported() -> None:
    log = CompileLog()
    fused = run_passes(preactivation(), default_pipeline(supports), log)
    assert kernels(fused) == {
        "conv2d+batch_norm+relu>2": 1,
        "conv2d+relu>1": 2,
        "conv2d+add+batch_norm+relu>2": 1,
        "conv2d+add+relu>1": 1,
    }
    assert [str(refusal) for refusal in log.refusals] == [
        "fold-batch-norm: first.norm1: 'stem' is also read by first.add [first.add]",
        "fold-batch-norm: second.norm1: add 'first.add' stands between it and 'stem' [first.add]",
    ]


@pytest.mark.parametrize(
    "build",
    [partial(resnet18, size=64), partial(resnet50, size=64), unet_block, preactivation],
    ids=["resnet18", "resnet50", "unet_block", "preactivation"],
)
def test_networks_keep_their_meaning(build: Callable[..., Graph]) -> None:
    given = build(dtype="float64")
    fused = run_passes(given, default_pipeline(supports), CompileLog())
    unfused = run_passes(given, default_pipeline(supports, fuse=False), CompileLog())
    assert sorted(map(str, inline(fused).nodes)) == sorted(map(str, unfused.nodes))
    assert Fuse(supports).run(fused, CompileLog()) == fused
    arrays = inputs(given)
    old, new = evaluate(given, arrays), evaluate(fused, arrays)
    for name, renamed in zip(given.outputs, fused.outputs, strict=True):
        assert np.ptp(old[name]) > 0
        assert np.abs(new[renamed] - old[name]).max() <= 1e-12 * np.ptp(old[name])


@cache
def vgg(fuse: bool) -> Graph:
    # No pass looks at a number of this network, and drawing 138 million takes seconds.
    with patch("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph):
        return run_passes(vgg16(), default_pipeline(supports, fuse=fuse), CompileLog())


def test_vgg16_groups() -> None:
    assert kernels(vgg(True)) == {
        "conv2d+relu>1": 8,
        "conv2d+relu+max_pool2d>1": 5,
        "flatten+linear+relu>1": 1,
        "linear+relu>1": 1,
        "linear": 1,
        "softmax": 1,
    }


def test_vgg16_traffic() -> None:
    """57.4 M elements unfused, 18.0 M fused up to the last pool."""
    fused, unfused = vgg(True), vgg(False)
    assert traffic(unfused) == 57_437_112
    assert traffic(fused) == 18_082_744
    head = fused.nodes[: fused.nodes.index(fused["relu6"])]
    assert sum(node_traffic(node, fused) for node in head) == 18_038_272


def test_alexnet_of_2012_takes_the_norm_that_fits_and_no_pool_that_costs_more() -> None:
    log, target = CompileLog(), stand_in_target(80)[0]
    graph = alexnet_2012(32, "float16", classes=10)
    fused = run_passes(graph, default_pipeline(target.supports), log)
    assert kernels(fused) == {
        "conv2d+relu+local_response_norm>1": 1,
        "conv2d+relu>1": 4,
        "local_response_norm": 1,
        "max_pool2d": 3,
        "flatten+linear+relu>1": 1,
        "linear+relu>1": 1,
        "linear": 1,
        "softmax": 1,
    }
    because = {refusal.node: refusal.because for refusal in log.refusals}
    assert because["norm2"] == "it brings channels together, and a tile holds 128 of the 256"
    assert "its windows overlap: with it the convolution is predicted to take" in because["pool1"]


def test_the_stems_of_squeezenet_and_resnet_do_not_take_their_pool_on_a_gpu() -> None:
    target = stand_in_target(80)[0]
    for network in (squeezenet1_1, resnet18):
        log = CompileLog()
        graph = network(8, "float16", classes=10)
        fused = run_passes(graph, default_pipeline(target.supports), log)
        assert "conv2d+relu+max_pool2d>1" not in kernels(fused)
        (refused,) = (r for r in log.refusals if r.node in ("pool1", "maxpool"))
        assert "its windows overlap: with it the convolution is predicted to" in refused.because
