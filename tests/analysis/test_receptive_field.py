"""Receptive fields against published ones, and against what NaN at single pixels reaches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphcnn as gx
from graphcnn import models
from graphcnn.analysis import Field, receptive_fields
from graphcnn.frontend import Tensor, param
from graphcnn.ir import CompileLog, Graph, evaluate, parse, with_he_weights
from graphcnn.passes import Fuse
from graphcnn.report import inspect
from tests.networks import unet_block
from tests.strategies import graphs, inputs


def reached(graph: Graph, source: str, axis: int, position: int) -> dict[str, set[int]]:
    """By value, the indices along an axis of what depends on a position of an input, exactly: NaN
    there passes every op, a product with zero included."""
    arrays = inputs(graph)
    poisoned = np.moveaxis(arrays[source].copy(), axis, 0)
    poisoned[position] = np.nan
    arrays[source] = np.moveaxis(poisoned, 0, axis)
    with np.errstate(all="ignore"):
        values = evaluate(graph, arrays, [node.name for node in graph.nodes])
    return {
        name: set(np.nonzero(np.isnan(value))[axis]) if value.ndim > axis else set()
        for name, value in values.items()
    }


def assert_sound(graph: Graph) -> int:
    """No value depends on a position outside of its field; returns the number of dependences."""
    fields, count = receptive_fields(graph), 0
    for source in graph.inputs:
        for axis, size in enumerate(source.type.shape[2:], 2):
            for position in range(size):
                for name, indices in reached(graph, source.name, axis, position).items():
                    if not indices:
                        continue
                    field = fields[name][source.name][axis - 2]
                    count += len(indices)
                    assert not isinstance(field, Field) or all(
                        position in field.at(p) for p in indices
                    ), name
    return count


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(max_steps=5))
def test_nothing_outside_of_a_field_is_seen(graph: Graph) -> None:
    assert_sound(graph)


def window(graph: Graph, name: str, index: int, axis: int) -> range:
    """The positions of the only input that an index along an axis depends on, first to last."""
    (source,) = graph.inputs
    found = [
        position
        for position in range(source.type.shape[axis])
        if index in reached(graph, source.name, axis, position)[name]
    ]
    return range(found[0], found[-1] + 1)


TEXT = """graph g {
  input x: f32[1,2,40,41]
  param w: f32[3,2,3,2]
  param v: f32[3,1,3,3]
  pad: f32[1,2,43,44] = pad(x, padding=(1, 0, 2, 3))
  conv: f32[1,3,20,43] = conv2d(pad, w, stride=(2, 1), dilation=(2, 1))
  act: f32[1,3,20,43] = relu(conv)
  grouped: f32[1,3,20,43] = conv2d(act, v, padding=(1, 1, 1, 1), groups=3)
  sum: f32[1,3,20,43] = add(act, grouped)
  both: f32[1,6,20,43] = concat(act, sum)
  pool: f32[1,6,10,15] = max_pool2d(both, kernel_size=(3, 2), stride=(2, 3), padding=(1, 0, 1, 1))
  mean: f32[1,6,5,7] = avg_pool2d(pool, kernel_size=(2, 2), stride=(2, 2))
  soft: f32[1,6,5,7] = softmax(mean)
  drop: f32[1,6,5,7] = dropout(soft)
  return drop
}"""


def test_a_field_is_what_an_element_depends_on() -> None:
    graph = with_he_weights(parse(TEXT), 0)
    fields = receptive_fields(graph)
    for node in graph.nodes:
        for axis, field in enumerate(fields[node.name]["x"], 2):
            assert isinstance(field, Field)
            index = node.type.shape[axis] // 2
            assert field.at(index) == window(graph, node.name, index, axis), node.name
    assert fields["conv"]["x"] == (Field(5, 2, -1), Field(2, 1, 0))
    # Two taps, two more of the grouped filter, one more to pool, and the next pool 3 columns on.
    assert fields["drop"]["x"][1] == Field(2 + 2 + 1 + 3, 6, -1)
    assert assert_sound(graph) > 1000


def test_a_fused_graph_has_the_fields_of_its_nodes() -> None:
    graph = with_he_weights(parse(TEXT), 0)
    fused = Fuse().run(graph, CompileLog())
    assert len(fused.nodes) < len(graph.nodes)
    assert receptive_fields(fused) == receptive_fields(graph)


WHOLE = {
    "flatten": gx.flatten,
    "global_avg_pool2d": gx.global_avg_pool2d,
    "reshape": lambda x: gx.reshape(x, (1, 2, 6, 6)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_mixes_positions_sees_the_whole_input(name: str) -> None:
    x = gx.input("x", (1, 2, 4, 9))
    graph = gx.graph("g", gx.relu(WHOLE[name](x), name="last"))
    assert receptive_fields(graph)["last"] == {"x": (None, None)}


LARGER = {
    "transposed": lambda x: gx.conv_transpose2d(x, np.ones((2, 2, 4, 3), "f"), None, 2, (1, 0)),
    "dilated": lambda x: gx.conv_transpose2d(x, np.ones((2, 2, 2, 3), "f"), None, 3, dilation=2),
    "nearest": lambda x: gx.interpolate(x, scale_factor=2),
    "nearest, uneven": lambda x: gx.interpolate(x, (7, 15)),
    "nearest, smaller": lambda x: gx.interpolate(x, (2, 4)),
    "nearest, a factor": lambda x: gx.interpolate(x, scale_factor=(1.5, 0.75)),
    "exact": lambda x: gx.interpolate(x, scale_factor=2, mode="nearest-exact"),
    "exact, uneven": lambda x: gx.interpolate(x, (7, 15), mode="nearest-exact"),
    "exact, smaller": lambda x: gx.interpolate(x, (2, 3), mode="nearest-exact"),
    "bilinear": lambda x: gx.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, uneven": lambda x: gx.interpolate(x, (7, 15), mode="bilinear"),
    "corners": lambda x: gx.interpolate(x, (7, 15), mode="bilinear", align_corners=True),
    "as it was": lambda x: gx.interpolate(x, (4, 18), mode="bilinear"),
    "shuffled": lambda x: gx.pixel_shuffle(gx.concat([x, x]), 2),
    "unshuffled": lambda x: gx.pixel_unshuffle(x[..., :8], 2),
    "over channels": lambda x: gx.local_response_norm(x, 3),
    "mean of channels": lambda x: gx.mean(x, 1, True),
    "adaptive": lambda x: gx.adaptive_avg_pool2d(x, (2, 3)),
    "layer norm": lambda x: gx.layer_norm(x, (9,)),
    "a block": lambda x: gx.conv2d(
        gx.interpolate(
            gx.max_pool2d(gx.conv2d(x, np.ones((2, 2, 3, 3), "f"), padding=1), 2), (4, 8)
        ),
        np.ones((2, 2, 3, 3), "f"),
        padding=1,
    ),
}


def seen(graph: Graph, axis: int, weight_aside: bool) -> dict[int, set[int]]:
    """By index along an axis of the output, the positions of the input that it depends on: those
    that change it, where NaN would pass a product with zero."""
    found: dict[int, set[int]] = {}
    (source,), (name,) = graph.inputs, graph.outputs
    given = inputs(graph)
    base = evaluate(graph, given, [name])[name]
    for position in range(source.type.shape[axis]):
        changed = np.moveaxis(given["x"].copy(), axis, 0)
        changed[position] += 1.0 if weight_aside else np.nan
        value = evaluate(graph, {"x": np.moveaxis(changed, 0, axis)}, [name])[name]
        for index in set(np.nonzero(value != base)[axis]):
            found.setdefault(int(index), set()).add(position)
    return found


@pytest.mark.parametrize("name", LARGER)
def test_fields_of_larger_and_smaller_maps(name: str) -> None:
    graph = gx.graph("g", LARGER[name](gx.input("x", (1, 2, 4, 9))))
    (output,) = graph.outputs
    fields = receptive_fields(graph)[output]["x"]
    known = 0
    for axis, field in enumerate(fields, 2):
        if not isinstance(field, Field):
            continue
        known += 1
        dependences = seen(
            graph, axis, weight_aside="linear" in name or name in ("corners", "as it was")
        )
        for index, positions in dependences.items():
            assert positions <= set(field.at(index)), (axis, index)
        largest = max(max(found) - min(found) + 1 for found in dependences.values())
        # Where the steps are no binary fraction, an element more than there is may be named.
        near = "uneven" in name or "factor" in name or name in ("corners", "dilated")
        loose = 3 if name == "a block" else near
        assert largest <= int(field.size) <= largest + loose
    assert known == (1 if name == "layer norm" else 2)


def test_what_is_not_known_is_not_called_all() -> None:
    x = gx.input("x", (1, 2, 6, 6))
    outputs = {
        "permute": gx.permute(x, (0, 1, 3, 2), name="permute"),
        "adaptive": gx.adaptive_max_pool2d(x, 4, name="adaptive"),
        "matmul": gx.matmul(x, x, name="matmul"),
        "odd": gx.interpolate(x, scale_factor=0.7, name="odd"),
        "unsqueeze": gx.unsqueeze(x, 1, name="unsqueeze"),
    }
    graph = gx.graph("g", list(outputs.values()))
    fields = receptive_fields(graph)
    assert {fields[name]["x"] for name in outputs} == {("unknown", "unknown")}
    printed = str(inspect(graph))
    assert printed.count("unknown") == 5
    assert " all " not in printed


def test_one_dimension_may_be_seen_whole() -> None:
    x = gx.input("x", (1, 2, 4, 9))
    some = gx.softmax(x, dim=2, name="softmax")
    flat = gx.linear(x, np.ones((5, 9), np.float32), name="linear")
    beside = gx.concat([x, x], dim=3, name="concat")
    fields = receptive_fields(gx.graph("g", [some, flat, beside]))
    assert fields["softmax"] == {"x": (None, Field())}
    assert fields["linear"] == {"x": (Field(), None)}
    assert fields["concat"] == {"x": (Field(), "unknown")}


def test_fields_of_slices_and_paddings() -> None:
    x = gx.input("x", (1, 2, 9, 12))
    outputs = {
        "slice": gx.slice(gx.slice(x, 2, -7, 8, 2), 3, 3, name="slice"),
        "channels": gx.slice(x, 1, 1, name="channels"),
        "constant": gx.pad(x, (2, 1, 0, 3), name="constant"),
        "reflect": gx.pad(x, (2, 0, 0, 0), "reflect", name="reflect"),
        "line": gx.pad(gx.reshape(x, (1, 2, 108)), (5, 0), name="line"),
        "roll": gx.roll(x, (1, 1), (1, 3), name="roll"),
        "permute": gx.permute(x, (0, 1, 3, 2), name="permute"),
    }
    fields = receptive_fields(gx.graph("g", list(outputs.values())))
    assert {name: fields[name]["x"] for name in outputs} == {
        "slice": (Field(1, 2, 2), Field(1, 1, 3)),
        "channels": (Field(), Field()),
        "constant": (Field(1, 1, -2), Field(1, 1, -1)),
        "reflect": ("unknown", Field()),
        "line": (None, None),
        "roll": (Field(), "unknown"),
        "permute": ("unknown", "unknown"),
    }


def test_branches_of_different_jumps_share_no_field() -> None:
    x = gx.input("x", (1, 2, 7, 8))
    w = np.ones((2, 2, 1, 4), np.float32)
    halves = gx.conv2d(x, w, stride=(1, 2), name="halves")
    rest = gx.conv2d(x, np.ones((2, 2, 1, 6), np.float32), name="rest")
    graph = gx.graph("g", gx.add(halves, rest, name="sum"))
    assert receptive_fields(graph)["sum"] == {"x": (Field(), "unknown")}
    assert assert_sound(graph)


def test_a_row_added_everywhere_is_seen_everywhere() -> None:
    x = gx.input("x", (1, 1, 3, 5))
    row = gx.conv2d(x, np.ones((1, 1, 3, 1), np.float32), name="row")
    graph = gx.graph("g", [gx.add(row, gx.input("y", (1, 1, 4, 5)), name="sum")])
    fields = receptive_fields(graph)
    assert fields["sum"] == {"x": (Field(3, 0, 0), Field()), "y": (Field(), Field())}
    assert assert_sound(graph)


def test_params_are_not_seen_and_inputs_see_themselves() -> None:
    text = """graph g {
  input x: f32[1,4]
  input w: f32[2,3,3,3]
  input y: f32[1,3,8,8]
  param p: f32[3]
  double: f32[3] = add(p, p)
  conv: f32[1,2,6,6] = conv2d(y, w)
  act: f32[1,4] = relu(x)
  return double, conv, act
}"""
    fields = receptive_fields(parse(text))
    assert fields["double"] == {}
    assert fields["y"] == {"y": (Field(), Field())}
    assert fields["conv"] == {"y": (Field(3, 1, 0), Field(3, 1, 0)), "w": (None, None)}
    assert fields["act"] == {"x": ()}


# Size, jump and padding in front. VGG-16 as the table of the library of Araujo, Norris and Sim has
# it (google-research/receptive_field); conv5_3, which it leaves out, is the pool without its second
# tap. The ResNets have their strides in the 3x3 convolutions, as torchvision's do.
PUBLISHED = {
    "vgg16 conv1_1": (3, 1, 1),
    "vgg16 pool1": (6, 2, 2),
    "vgg16 conv2_1": (10, 2, 4),
    "vgg16 pool2": (16, 4, 6),
    "vgg16 conv3_1": (24, 4, 10),
    "vgg16 conv3_2": (32, 4, 14),
    "vgg16 pool3": (44, 8, 18),
    "vgg16 conv4_1": (60, 8, 26),
    "vgg16 conv4_2": (76, 8, 34),
    "vgg16 pool4": (100, 16, 42),
    "vgg16 conv5_1": (132, 16, 58),
    "vgg16 conv5_2": (164, 16, 74),
    "vgg16 conv5_3": (196, 16, 90),
    "vgg16 pool5": (212, 32, 90),
    "resnet18 layer4.1.relu": (435, 32, 217),
    "resnet50 layer4.2.relu": (427, 32, 213),
}


@pytest.mark.parametrize("place", PUBLISHED)
def test_published_fields(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    network, name = place.split()
    size, jump, padding = PUBLISHED[place]
    fields = receptive_fields(models.build(network))
    assert fields[name]["image"] == (Field(size, jump, -padding),) * 2


def test_a_skip_keeps_the_larger_field() -> None:
    fields = receptive_fields(unet_block())
    assert fields["down"]["image"][0] == Field(6, 2, -2)
    assert fields["b2.relu"]["image"] == fields["cat"]["image"]


def dilated(x: Tensor, name: str, kernel: int, dilation: int) -> Tensor:
    """A causal convolution of one channel."""
    weight = param(f"{name}.weight", (1, 1, kernel), x.dtype)
    padding = ((kernel - 1) * dilation, 0)
    return gx.conv1d(x, weight, padding=padding, dilation=dilation, name=name)


def test_causal_networks_see_the_past() -> None:
    """The TCN of Bai et al. for sequential MNIST: 8 blocks of two convolutions of 7 taps; and three
    stacks of WaveNet behind its first convolution."""
    h = x = gx.input("x", (1, 1, 5000))
    for block in range(8):
        y = dilated(dilated(h, f"a{block}", 7, 2**block), f"b{block}", 7, 2**block)
        h = gx.add(y, h, name=f"tcn{block}")
    w = dilated(x, "first", 2, 1)
    for layer in range(30):
        w = gx.add(w, dilated(w, f"w{layer}", 2, 2 ** (layer % 10)), name=f"wavenet{layer}")
    fields = receptive_fields(gx.graph("g", [h, w]))
    assert fields["tcn7"] == {"x": (Field(3061, 1, -3060),)}
    assert fields["wavenet29"] == {"x": (Field(3071, 1, -3070),)}


def test_a_random_draw_sees_nothing():
    x = gx.input("x", (1, 2, 8, 8))
    graph = gx.graph("g", gx.max_pool2d(gx.random_normal(x, 1), 2) + gx.max_pool2d(x, 2))
    fields = receptive_fields(graph)
    assert fields["random_normal"] == {}
    assert fields[graph.outputs[0]] == {"x": (Field(2, 2, 0),) * 2}
