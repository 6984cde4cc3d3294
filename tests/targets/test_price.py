"""Whether a convolution has a head in its kernel, by device."""

import pytest

import graphcnn as gx
from graphcnn.ir import Graph
from graphcnn.kernels import CPU, CUDA
from graphcnn.report import explain
from graphcnn.targets import resolve
from graphcnn.targets.chain import chain_of
from graphcnn.targets.price import unprofitable


def separable(channels: int, filters: int, size: int, dtype: str = "float32") -> Graph:
    x = gx.input("x", (1, channels, size, size), dtype)
    d = gx.param("d", (channels, 1, 3, 3), dtype)
    h = gx.relu6(gx.conv2d(x, d, padding=1, groups=channels, name="dw"), name="h")
    w = gx.param("w", (filters, channels, 1, 1), dtype)
    return gx.graph("g", gx.conv2d(h, w, name="pw"))


def refusal(traits, graph):
    return unprofitable(chain_of(graph), graph, traits)


@pytest.mark.parametrize(
    ("traits", "filters", "dtype"),
    [(CPU, 128, "float32"), (CUDA, 128, "float16"), (CUDA, 256, "float32")],
)
def test_what_pays(traits, filters, dtype):
    assert refusal(traits, separable(64, filters, 56, dtype)) is None


@pytest.mark.parametrize(
    ("traits", "filters", "dtype", "because"),
    [
        (
            CPU,
            129,
            "float32",
            "2 tiles of 128 channels would make 'h' anew: 1,806,336 products more, to save "
            "1,605,632 bytes, which take the time of 802,816",
        ),
        (
            CUDA,
            129,
            "float16",
            "2 tiles of 128 channels would make 'h' anew: 1,806,336 products more, to save "
            "802,816 bytes, which take the time of 1,605,632",
        ),
        (
            CUDA,
            257,
            "float32",
            "3 tiles of 128 channels would make 'h' anew: 3,612,672 products more, to save "
            "1,605,632 bytes, which take the time of 3,211,264",
        ),
    ],
)
def test_what_costs_more_than_it_saves(traits, filters, dtype, because):
    refused = refusal(traits, separable(64, filters, 56, dtype))
    assert (refused.node, refused.because) == ("pw", because)
    assert refused.blame == ("dw", "h")


def test_what_leaves_a_device_idle():
    refused = refusal(CPU, separable(64, 64, 7))
    assert refused.because == (
        "with 'dw' in its kernel there would be 4 programs, and 8 keep the device busy"
    )
    assert refusal(CPU, separable(64, 64, 14)) is None
    assert refusal(CUDA, separable(64, 64, 14)) is not None


def test_a_group_without_a_head_has_no_price():
    x = gx.input("x", (1, 3, 4, 4))
    graph = gx.graph("g", gx.relu(gx.conv2d(x, gx.param("w", (500, 3, 3, 3)))))
    assert refusal(CPU, graph) is None


def test_the_target_and_explain_tell():
    graph = separable(64, 129, 56)
    told = resolve("triton", "cpu").supports(graph)
    assert told == refusal(CPU, graph)
    report = explain(gx.compile(graph, device="cpu"))
    assert told in report.refusals
    assert [row.nodes for row in report.rows] == [("dw", "h"), ("pw",)]
    (row,) = explain(gx.compile(separable(64, 128, 56), device="cpu")).rows
    assert (row.kernel, row.nodes) == ("conv2d+relu6+conv2d", ("dw", "h", "pw"))


def repeated(taps: int, filters: int, dtype: str = "float32") -> Graph:
    x = gx.input("x", (1, 64, 8, 8), dtype)
    up = gx.interpolate(x, scale_factor=2, name="up")
    w = gx.param("w", (filters, 64, taps, taps), dtype)
    return gx.graph("g", gx.conv2d(up, w, padding=taps // 2, name="conv"))


@pytest.mark.parametrize(("traits", "taps"), [(CPU, 1), (CUDA, 1), (CUDA, 3)])
def test_repeated_pixels_are_read_where_they_are(traits, taps):
    assert refusal(traits, repeated(taps, 32)) is None


@pytest.mark.parametrize(
    ("traits", "dtype", "because"),
    [
        (
            CPU,
            "float32",
            "9 taps and 2 tiles of 32 channels would find 294,912 addresses of repeated elements, "
            "to save 131,072 bytes, which take the time of 65,536",
        ),
        (
            CUDA,
            "float16",
            "9 taps and 1 tiles of 64 channels would find 147,456 addresses of repeated elements, "
            "to save 65,536 bytes, which take the time of 131,072",
        ),
    ],
)
def test_repeated_pixels_are_written_where_that_takes_less(traits, dtype, because):
    told = refusal(traits, repeated(3, 64, dtype))
    assert (told.node, told.because, told.blame) == ("conv", because, ("up",))
