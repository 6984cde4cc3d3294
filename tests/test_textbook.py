"""What a textbook says of a CNN holds for the reference and for the compiled networks, fused and
not; and docs/what_a_cnn_computes.md, which tells it, runs and states the figures of the code."""

import re
import shlex
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import graphcnn as gx
from graphcnn import models
from graphcnn.analysis import Field, receptive_fields
from graphcnn.cli import main
from graphcnn.frontend import Tensor
from graphcnn.ir import Graph, evaluate
from graphcnn.report import inspect
from tests.test_docs import ROOT

PAGE = (ROOT / "docs/what_a_cnn_computes.md").read_text()
Draw = Callable[[tuple[int, ...]], np.ndarray]
RNG = np.random.default_rng(0)


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(shape: tuple[int, ...]) -> np.ndarray:
    """With these every ReLU is open, and what grows in a window is its largest element."""
    return RNG.uniform(0.5, 1, shape).astype(np.float32)


def integers(shape: tuple[int, ...]) -> np.ndarray:
    """Small ones: float32 holds every sum and product of them, in any order of summation."""
    return RNG.integers(-2, 3, shape).astype(np.float32)


def image_network(draw: Draw) -> Graph:
    """Padding, a pool, a dilated convolution with a residual, a second pool: jump 4."""
    x = gx.input("x", (1, 3, 32, 32))
    h = gx.relu(gx.conv2d(x, draw((4, 3, 3, 3)), draw((4,)), padding=1))
    h = gx.max_pool2d(h, 2)
    y = gx.relu(gx.conv2d(h, draw((4, 4, 3, 3)), padding=2, dilation=2))
    return gx.graph("image", gx.avg_pool2d(y + h, 2, name="y"))


def sequence_network(draw: Draw, padding: Callable[[int], tuple[int, int]]) -> Graph:
    """Three dilated convolutions of three taps with residuals; padding for each dilation."""
    h: Tensor = gx.input("x", (1, 2, 24))
    for dilation in (1, 2, 4):
        pads = padding(dilation)
        y = gx.conv1d(h, draw((2, 2, 3)), draw((2,)), padding=pads, dilation=dilation)
        h = gx.add(gx.relu(y), h, name=f"y{dilation}")
    return gx.graph("sequence", h)


def reference(graph: Graph) -> Callable[[np.ndarray], np.ndarray]:
    (name,) = graph.outputs
    return lambda x: evaluate(graph, {"x": x})[name]


def fused(graph: Graph) -> Callable[[np.ndarray], np.ndarray]:
    model = gx.compile(graph, device="cpu")
    return lambda x: model(x=x)


def unfused(graph: Graph) -> Callable[[np.ndarray], np.ndarray]:
    model = gx.compile(graph, device="cpu", fuse=False)
    return lambda x: model(x=x)


on_all = pytest.mark.parametrize("made", [reference, fused, unfused])


def field_of(graph: Graph) -> tuple[Field, ...]:
    return receptive_fields(graph)[graph.outputs[0]]["x"]


@on_all
@pytest.mark.parametrize("index", [(0, 0), (3, 4), (7, 2)])
def test_nothing_outside_of_the_receptive_field_changes_an_element(made, index):
    graph = image_network(normal)
    run, x = made(graph), normal((1, 3, 32, 32))
    rows, columns = (field.at(at) for field, at in zip(field_of(graph), index, strict=True))
    inside = np.isin(np.arange(32), rows)[:, None] & np.isin(np.arange(32), columns)
    assert 40 < inside.sum() < 200
    before = run(x)
    for other in (normal(x.shape), np.full_like(x, np.nan)):
        after = run(np.where(inside, x, other))
        assert after[0, :, *index].tobytes() == before[0, :, *index].tobytes()
        assert (after != before).any()


@on_all
def test_every_corner_of_the_receptive_field_changes_its_element(made):
    graph = image_network(positive)
    run, x = made(graph), positive((1, 3, 32, 32))
    before = run(x)
    corners = [(field.at(4)[0], field.at(4)[-1]) for field in field_of(graph)]
    for row, column in product(*corners):
        changed = x.copy()
        changed[0, :, row, column] += 100
        assert (run(changed)[0, :, 4, 4] > before[0, :, 4, 4]).all()


@on_all
def test_a_shifted_image_gives_a_shifted_map(made):
    """Where no padding is seen, and for shifts by multiples of the jump."""
    graph = image_network(integers)
    run, field = made(graph), field_of(graph)[0]
    scene = integers((1, 3, 40, 40))

    def seen(offset: int) -> np.ndarray:
        return run(scene[:, :, offset : offset + 32, offset : offset + 32])

    inner = [p for p in range(8) if field.at(p)[0] >= 0 and field.at(p)[-1] < 32]
    assert (field.jump, inner) == (4, [2, 3, 4, 5])
    start = seen(8)
    assert np.ptp(start[:, :, 2:6, 2:6]) > 0
    for steps in (1, 2):
        moved = seen(8 - steps * field.jump)
        here, there = slice(2, 6 - steps), slice(2 + steps, 6)
        np.testing.assert_array_equal(moved[:, :, there, there], start[:, :, here, here])
        assert (moved[:, :, steps:, steps:] != start[:, :, :-steps, :-steps]).any()
    between = seen(7)
    for steps in (0, 1):
        here, there = slice(2, 6 - steps), slice(2 + steps, 6)
        assert (between[:, :, there, there] != start[:, :, here, here]).any()


@on_all
def test_the_future_does_not_change_the_past(made):
    graph = sequence_network(normal, lambda dilation: (2 * dilation, 0))
    assert field_of(graph) == (Field(15, 1, -14),)
    run, x = made(graph), normal((1, 2, 24))
    before = run(x)
    for t in (0, 5, 13, 22):
        changed = x.copy()
        changed[:, :, t + 1 :] = normal(changed[:, :, t + 1 :].shape)
        after = run(changed)
        assert after[:, :, : t + 1].tobytes() == before[:, :, : t + 1].tobytes()
        assert (after[:, :, t + 1] != before[:, :, t + 1]).any()


def test_padding_on_both_sides_sees_the_future():
    graph = sequence_network(positive, lambda dilation: (dilation, dilation))
    assert field_of(graph) == (Field(15, 1, -7),)
    run, x = reference(graph), positive((1, 2, 24))
    changed = x.copy()
    changed[:, :, 12] += 1
    assert (run(changed) > run(x))[0, 0].nonzero()[0].tolist() == list(range(5, 20))


def sizes(convolution: Callable[[Tensor, int], Tensor]) -> list[int]:
    """The receptive field of each of five convolutions, one behind the other."""
    h, found = gx.input("x", (1, 1, 999)), []
    for depth in range(5):
        h = convolution(h, depth)
        (field,) = field_of(gx.graph("g", h))
        assert field is not None
        found.append(field.size)
    return found


def growth() -> dict[str, list[int]]:
    taps = np.ones((1, 1, 3), np.float32)
    return {
        "stride 1": sizes(lambda h, depth: gx.conv1d(h, taps)),
        "dilations 1, 2, 4, 8, 16": sizes(lambda h, depth: gx.conv1d(h, taps, dilation=2**depth)),
        "stride 2": sizes(lambda h, depth: gx.conv1d(h, taps, stride=2)),
    }


def test_the_receptive_field_grows_with_depth():
    """By twice the jump and the dilation for each filter of three taps."""
    doubling = [2 ** (n + 1) - 1 for n in range(1, 6)]
    assert list(growth().values()) == [[1 + 2 * n for n in range(1, 6)], doubling, doubling]


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the page's table with this first heading, without the headings."""
    lines = re.search(rf"^\| {heading} .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1].splitlines()]


def test_the_page_states_the_growth():
    assert rows_of("filters of three taps") == [
        [name, *map(str, found)] for name, found in growth().items()
    ]


def test_the_page_states_every_layer_of_vgg16(monkeypatch):
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    graph = models.vgg16()
    told = inspect(graph)
    stated = []
    for row in told.rows:
        if row.macs or row.op.startswith("max_pool2d"):
            field = row.receptive_field["image"][0]
            seen = ["all", ""] if field is None else [str(field.size), str(field.jump)]
            shape = "x".join(map(str, graph.type_of(row.name).shape[1:]))
            stated.append([row.name, shape, *seen, f"{row.params:,}", f"{row.macs:,}"])
    stated.append(["total", "", "", "", f"{told.params:,}", f"{told.macs:,}"])
    assert rows_of("layer") == stated


def test_the_code_and_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("graphcnn.models.layers.with_he_weights", lambda graph, seed: graph)
    names: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(compile(code, "what_a_cnn_computes.md", "exec"), names)
    (commands,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)[2:]
        assert program == "graphcnn"
        assert main(arguments) == 0
    assert "196x196" in capsys.readouterr().out
