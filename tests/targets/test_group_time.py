"""What groups are predicted to take on GPUs that are not here."""

import pytest

import graphcnn as gx
from graphcnn.costs.devices import GPUS
from graphcnn.costs.traits import traits_of
from graphcnn.ir import Graph
from graphcnn.kernels import ConvProblem, Pressure, by_rule, choices
from graphcnn.passes.chains import body_of
from graphcnn.targets.absent import AbsentGpu
from graphcnn.targets.group_time import group_time
from graphcnn.targets.triton import TritonTarget

TRAITS = traits_of(GPUS["h100"])


def graph(steps) -> Graph:
    x = gx.input("x", (8, 64, 56, 56), "float16")
    r = gx.input("r", (8, 64, 56, 56), "float16")
    w = gx.param("w", (64, 64, 3, 3), "float16")
    return gx.graph("g", steps(gx.conv2d(x, w, padding=1, name="conv"), r))


def time_of(network: Graph, *names: str) -> float:
    return group_time(body_of(tuple(network[name] for name in names), network), TRAITS)


def test_a_convolution_takes_what_its_best_tile_takes():
    problem = ConvProblem("f16", 64, 64, 1, 8 * 56 * 56, Pressure.LOW, taps=9)
    tile = by_rule(problem, choices(problem, TRAITS), TRAITS).tile
    assert time_of(graph(lambda h, r: h), "conv") == TRAITS.predicted(problem, tile)


def test_a_residual_and_a_second_output_take_their_trips():
    network = graph(lambda h, r: gx.relu(gx.add(h, r, name="sum"), name="y"))
    alone = time_of(network, "conv")
    both = time_of(network, "conv", "sum")
    exported = graph(lambda h, r: [gx.relu(h, name="y"), gx.tanh(h, name="t")])
    assert both > alone
    assert time_of(exported, "conv", "y") == pytest.approx(both)
    assert time_of(network, "conv", "sum", "y") == pytest.approx(both)


def test_a_pool_leaves_less_to_store():
    network = graph(lambda h, r: gx.max_pool2d(gx.relu(h, name="y"), 2, name="p"))
    apart = time_of(network, "conv", "y") + time_of(network, "p")
    assert time_of(network, "conv", "y", "p") < apart


def test_what_does_not_multiply_in_tiles_takes_the_time_of_what_it_moves():
    network = graph(lambda h, r: gx.relu(h, name="y"))
    assert time_of(network, "y") == TRAITS.moving(2 * 2 * 8 * 64 * 56 * 56)


def test_a_target_predicts_where_its_device_has_a_model():
    network = graph(lambda h, r: gx.relu(h, name="y"))
    target = TritonTarget(AbsentGpu.of(GPUS["h100"]))
    body = body_of((network["conv"], network["y"]), network)
    assert target.time(body) == group_time(body, TRAITS)
    assert gx.compile(network, device="cpu").target.time is None
