"""Graphs as programs: running the text gives an equal graph."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphcnn as gx
from graphcnn import models
from graphcnn.errors import InvalidGraph, UnsupportedOp
from graphcnn.ir import CompileLog, DType, Op, inline
from graphcnn.ir.graph import Fused, Node, Value
from graphcnn.passes import FoldBatchNorm, Fuse, Simplify, run_passes
from graphcnn.targets import resolve
from tests import networks
from tests.opinfo import SAMPLES
from tests.strategies import graphs
from tests.test_built_in import SMALL


def run(text):
    names = {}
    exec(compile(text, "program", "exec"), names)
    return names["network"]


def came_back(graph):
    again = run(gx.as_python(graph))
    assert again == inline(graph)
    held = {p.name: p.data for p in graph.params if p.constant and not p.type.shape}
    for param in again.params:
        assert (param.data is None) == (held.get(param.name) is None)
        assert param.data is None or param.data == held[param.name]
    return True


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.BF16])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples_of_every_op(sample, dtype):
    assert came_back(sample.graph(dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SMALL)
def test_built_in_networks(name, dtype):
    assert came_back(models.build(name, 1, dtype, **SMALL[name]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(dtypes=("float32", "float16")))
def test_drawn_graphs(graph):
    assert came_back(graph)


@pytest.mark.parametrize("name", ["lenet", "resnet18", "unet_bn", "densenet121", "wavenet"])
def test_what_passes_make(name):
    source = models.build(name, 1, **SMALL[name])
    passes = (Simplify(), FoldBatchNorm(), Fuse(resolve("triton", "cpu").supports))
    graph = run_passes(source, passes, CompileLog())
    assert any(isinstance(node.op, Fused) for node in graph.nodes)
    assert came_back(graph)


def test_how_it_reads():
    x = gx.input("image", (1, 3, 8, 8))
    h = gx.relu(networks.conv(x, "stem.conv", 4, 3), name="relu")
    h = gx.max_pool2d(h, 2, name="pool")
    h = gx.pad(h, (0, 1, 0, 1), value=float("-inf"), name="pad")
    source = gx.graph("net", [gx.leaky_relu(gx.concat([h, h]), 0.2, name="class")])
    graph = gx.compile(source, device="cpu", target="numpy").graph
    fused = run_passes(graph, (Fuse(),), CompileLog())
    assert gx.as_python(fused) == HOW_IT_READS
    assert run(HOW_IT_READS) == graph


HOW_IT_READS = """\
import graphcnn as gx

image = gx.input("image", (1, 3, 8, 8))

stem_conv_weight = gx.param("stem.conv.weight", (4, 3, 3, 3))
stem_conv_bias = gx.param("stem.conv.bias", (4,))

# One kernel: conv2d + relu + max_pool2d
stem_conv = gx.conv2d(image, stem_conv_weight, stem_conv_bias, padding=1, name="stem.conv")
relu = gx.relu(stem_conv, name="relu")
pool = gx.max_pool2d(relu, kernel_size=2, name="pool")

pad = gx.pad(pool, padding=(0, 1, 0, 1), value=-1e999, name="pad")
concat = gx.concat([pad, pad], name="concat")
class_ = gx.leaky_relu(concat, negative_slope=0.2, name="class")

network = gx.graph("net", [class_])
"""


def test_the_weights_go_in_again():
    graph = networks.preactivation()
    again = gx.load_weights(run(gx.as_python(graph)), {p.name: p.data for p in graph.params})
    assert again.fingerprint == graph.fingerprint


def test_numbers_of_the_code_are_read():
    x = gx.input("x", (2,), "float16")
    program = gx.as_python(gx.graph("net", gx.minimum(0.1 * x, gx.constant("top", 1e-20))))
    assert 'mul_other = gx.constant("mul.other", 0.1)\ntop = gx.constant("top", 1e-20)' in program
    numbers = {param.name: param for param in run(program).params}
    assert numbers["mul.other"].data == np.float32(0.1)
    assert numbers["top"].constant


def test_any_name_becomes_a_variable_of_its_own():
    names = ["a.b", "a_b", "a-b", "a/b", "gx", "network", "lambda", "None", "float", "a_b_2"]
    h = gx.input("in.put", (1, 2))
    for name in names:
        h = gx.relu(h, name=name)
    assert came_back(gx.graph("g", [h, h]))


def test_long_lines_are_broken():
    assert max(map(len, gx.as_python(models.build("mobilenet_v2", 1)).splitlines())) <= 100


def test_what_no_output_depends_on_is_left_out():
    text = "graph g {{\n  input x: f32[2]\n  y: f32[2] = relu(x)\n{}  return y\n}}"
    dead = gx.parse(text.format("  z: f32[2] = tanh(y)\n"))
    assert run(gx.as_python(dead)) == gx.parse(text.format(""))


def test_an_operator_without_a_function():
    class Odd(type(gx.parse(ROLL)["y"].op)):
        pass

    Odd.name = "odd"
    graph = gx.parse(ROLL)
    node = graph["y"]
    odd = graph.replace(nodes=(Node("y", Odd((1,), (0,)), node.inputs, (Value("y", node.type),)),))
    with pytest.raises(UnsupportedOp, match="odd"):
        gx.as_python(odd)
    with pytest.raises(InvalidGraph):
        gx.as_python("graph")
    assert "odd" not in Op.registry


ROLL = "graph g {\n  input x: f32[2]\n  y: f32[2] = roll(x, shifts=(1,), dims=(0,))\n  return y\n}"
