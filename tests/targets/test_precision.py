"""Float32 as "tf32x3", "tf32" and "ieee": what is rounded where, how far that takes results, and
that the bounds of tf32 see what rounding does not explain."""

from typing import get_args

import numpy as np
import pytest
import torch

import graphcnn as gx
from graphcnn.arguments import PRECISIONS
from graphcnn.cli import main
from graphcnn.errors import InvalidAttribute
from graphcnn.ir import Op, OpKind, evaluate
from graphcnn.kernels import IN_TF32, Precision, stages
from graphcnn.ops import Anchor
from graphcnn.plan import Call
from graphcnn.runtime.boundary import example_inputs
from graphcnn.targets.tf32 import tf32
from graphcnn.targets.triton import TABLE
from graphcnn.tuning.cache import environment
from graphcnn.tuning.candidates import candidates, spelled
from graphcnn.tuning.measure import Subject
from tests.report.test_verification import shifted


def draw(*shape, seed=0):
    fan = np.prod(shape[1:])
    drawn = np.random.default_rng(seed).standard_normal(shape) * np.sqrt(2 / fan)
    return drawn.astype(np.float32)


def conv(h, filters, size=3, seed=0, **options):
    depth = h.shape[1] // options.get("groups", 1)
    return gx.conv2d(h, draw(filters, depth, size, size, seed=seed), padding=size // 2, **options)


def image(channels=16, size=12):
    return gx.input("x", (2, channels, size, size))


def separable():
    h = gx.relu(conv(image(64, 24), 64, groups=64))
    return gx.graph("separable", gx.relu(conv(h, 64, 1)))


LAYERS = {
    "a convolution": lambda: gx.graph("n", gx.relu(conv(image(), 32))),
    "a stem": lambda: gx.graph("n", gx.max_pool2d(gx.relu(conv(image(3), 32, 7)), 2)),
    "groups": lambda: gx.graph("n", conv(image(32), 32, groups=4)),
    "of one dimension": lambda: gx.graph(
        "n", gx.conv1d(gx.input("x", (2, 16, 40)), draw(24, 16, 5), padding=2)
    ),
    "transposed": lambda: gx.graph(
        "n", gx.conv_transpose2d(image(), draw(16, 8, 3, 3), stride=2, padding=1)
    ),
    "a linear layer": lambda: gx.graph("n", gx.linear(gx.input("x", (5, 300)), draw(40, 300))),
    "a gate": lambda: gx.graph(
        "n", gx.tanh(conv(x := image(), 32)) * gx.sigmoid(conv(x, 32, seed=1))
    ),
    "a residual": lambda: gx.graph("n", gx.relu(conv(x := image(), 16) + x)),
    "repeated pixels": lambda: gx.graph(
        "n", conv(gx.interpolate(image(32, 6), scale_factor=2), 32, 1)
    ),
    "separable": separable,
}


def modes(graph, **options):
    return {word: gx.compile(graph, device="cpu", precision=word, **options) for word in PRECISIONS}


def relative(model, inputs):
    """Distance of an output from the float64 reference, relative to its size."""
    (name,) = model.source.outputs
    exact = evaluate(model.source, inputs)[name]
    assert np.ptp(exact) > 0
    return np.linalg.norm(model(**inputs) - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_stay_within_the_bounds_of_each_precision(layer):
    graph = LAYERS[layer]()
    inputs = example_inputs(graph)
    off = {}
    for word, model in modes(graph).items():
        verdict = gx.verify(model)
        assert verdict.ok, verdict
        off[word] = relative(model, inputs)
    assert off["tf32x3"] < 1e-6
    assert off["ieee"] < 1e-6
    assert 1e-5 < off["tf32"] < 1e-3


def chain(layers=6):
    h = image(3, 24)
    for number in range(layers):
        h = gx.relu(conv(h, 32, seed=number))
        h = gx.max_pool2d(h, 2) if number % 2 else h
    rows = gx.flatten(h)
    return gx.graph("chain", gx.linear(rows, draw(10, rows.shape[1], seed=9)))


@pytest.mark.parametrize("fuse", [True, False])
def test_errors_of_a_network(fuse):
    graph = chain()
    inputs = example_inputs(graph)
    off = {}
    for word, model in modes(graph, fuse=fuse).items():
        assert gx.verify(model).ok
        off[word] = relative(model, inputs)
    assert max(off["tf32x3"], off["ieee"]) < 2e-6
    assert 1e-4 < off["tf32"] < 2e-3


def multiplied(model):
    """How each launch multiplies, by its node."""
    launches = {s.node: s.work for s in model.plan.steps if not isinstance(s.work, Call)}
    return {n: w.meta["PRECISION"] for n, w in launches.items() if "PRECISION" in w.meta}


def in_memory(model, inputs):
    """Whether each value that a kernel stores holds numbers of tf32 only."""
    found = {}
    with model.loaded(inputs) as executor:
        for step, run in executor.steps():
            run()
            array = executor.value(step.writes[0]).numpy()
            found[step.writes[0]] = bool((tf32(array) == array).all())
    return found


def test_images_are_rounded_where_products_alone_read_them():
    """Once, as they are stored; what the caller gives is rounded as it is loaded."""
    h = gx.relu(conv(image(3), 32), name="first")
    h = gx.relu(conv(h, 32, seed=1), name="second")
    model = modes(gx.graph("chain", gx.relu(conv(h, 32, seed=2), name="third")))["tf32"]
    rounded, loaded = IN_TF32
    assert multiplied(model) == {"first": loaded, "second": rounded, "third": rounded}
    wanted = {"first": True, "second": True, "third": False}
    assert in_memory(model, example_inputs(model.graph)) == wanted


@pytest.mark.parametrize("reader", ["the caller", "a sum", "a depthwise convolution", "a gate"])
def test_what_anything_else_reads_stays_float32(reader):
    h = gx.relu(conv(image(), 32), name="first")
    last = gx.relu(conv(h, 32, seed=1), name="last")
    outputs = {
        "the caller": lambda: [last, h],
        "a sum": lambda: [last + h],
        "a depthwise convolution": lambda: [last, conv(h, 32, groups=32)],
        "a gate": lambda: [last * gx.sigmoid(h)],
    }[reader]()
    model = modes(gx.graph("shared", outputs=outputs))["tf32"]
    assert gx.verify(model).ok
    (group,) = [n for n in model.graph.nodes if "first" in {v.name for v in n.outputs}]
    assert not model.plan.locations["first"].tf32
    assert not in_memory(model, example_inputs(model.graph))[group.outputs[0].name]
    assert IN_TF32[0] not in multiplied(model).values()


def test_values_go_rounded_through_pools_and_concats():
    """A skip of a U-Net: a pool and a concat read it, and products read these."""
    skip = gx.relu(conv(image(), 32), name="skip")
    deep = gx.relu(conv(gx.max_pool2d(skip, 2), 32, seed=1), name="deep")
    up = gx.conv_transpose2d(deep, draw(32, 32, 2, 2, seed=2), stride=2, name="up")
    last = conv(gx.concat([skip, up], 1, name="both"), 16, seed=3, name="last")
    for fuse in (True, False):
        model = modes(gx.graph("skip", last), fuse=fuse)["tf32"]
        assert gx.verify(model).ok
        places = model.plan.locations
        assert all(places[name].tf32 for name in ("skip", "deep", "up", "both"))
        assert multiplied(model)["last"] == IN_TF32[0]


def test_one_row_and_depthwise_convolutions_multiply_float32_as_it_is():
    h = gx.relu(gx.linear(gx.input("x", (1, 64)), draw(32, 64), name="row"), name="relu")
    model = modes(gx.graph("row", gx.linear(h, draw(8, 32), name="last")))["tf32"]
    assert relative(model, example_inputs(model.graph)) < 1e-6
    model = modes(gx.graph("depthwise", conv(image(), 16, groups=16)))["tf32"]
    assert relative(model, example_inputs(model.graph)) < 1e-6


def spoil_1001(packed, rows):
    return packed * np.float32(1.001)


def cut(packed, rows):
    """What tensor cores make of weights that nobody has rounded."""
    bits = packed.view(np.uint32) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


@pytest.mark.parametrize("spoil", [shifted, spoil_1001], ids=["shifted taps", "1.001"])
def test_the_bound_of_tf32_sees_faults(spoil):
    graph = gx.graph("n", gx.relu(conv(image(), 32)))
    model = modes(graph)["tf32"]
    assert gx.verify(model).ok
    ((name, packed),) = model._weights.tensors.items()
    assert name.endswith("@tf32")
    packed.copy_(torch.from_numpy(spoil(packed.numpy().ravel(), 16 * 9).reshape(packed.shape)))
    assert not gx.verify(model).ok


def test_the_bound_of_tf32_sees_weights_that_are_cut():
    """Numbers that are cut in place of rounded are twice as far off, all to one side."""
    graph = gx.graph("n", conv(image(), 32))
    model = modes(graph)["tf32"]
    ((_, packed),) = model._weights.tensors.items()
    plain = modes(graph)["ieee"]
    ((_, given),) = plain._weights.tensors.items()
    packed.copy_(torch.from_numpy(cut(given.numpy().copy(), 0)).reshape(packed.shape))
    assert not gx.verify(model).ok


def test_a_refit_rounds_the_new_weights():
    graph = gx.graph("n", conv(image(), 32))
    model = modes(graph)["tf32"]
    weight = draw(32, 16, 3, 3, seed=5)
    model.refit({graph.params[0].name: weight})
    (packed,) = model._weights.tensors.values()
    np.testing.assert_array_equal(np.sort(packed.numpy().ravel()), np.sort(tf32(weight).ravel()))
    assert gx.verify(model).ok


def test_what_is_not_finite_passes():
    graph = gx.graph("n", gx.relu(conv(image(), 32)))
    x = np.random.default_rng(0).standard_normal((2, 16, 12, 12)).astype(np.float32)
    x[0, 0, 3, 3], x[1, 2, 5, 5], x[1, 3, 9, 9] = np.nan, np.inf, 3.4e38
    assert gx.verify(modes(graph)["tf32"], x=x).ok


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_what_it_is(dtype):
    graph = gx.models.lenet(4, dtype)
    found = modes(graph)
    first, *others = (str(model.plan) for model in found.values())
    assert others == [first, first]
    inputs = example_inputs(graph)
    wanted = found["tf32x3"](**inputs)
    for model in found.values():
        np.testing.assert_array_equal(model(**inputs), wanted)
        assert "float32 as" not in str(gx.explain(model))


def test_the_precision_goes_where_a_model_goes():
    model = modes(chain())["tf32"]
    assert gx.parallel(model, ["cpu"]).models == (model,)
    assert environment(model.target)["precision"] == "tf32"
    assert environment(modes(chain())["ieee"].target)["precision"] == "ieee"
    x = np.random.default_rng(0).standard_normal((4, 3, 24, 24)).astype(np.float32)
    model.prepare((4,))
    alone = np.concatenate([model(x[:2]), model(x[2:])])
    np.testing.assert_allclose(model(x), alone, rtol=1e-3, atol=1e-3)
    line = gx.input("x", (1, 8, 20))
    h = gx.relu(gx.conv1d(gx.pad(line, (2, 0)), draw(8, 8, 3)))
    pieces = gx.stream(gx.compile(gx.graph("line", h), device="cpu", precision="tf32"))
    assert pieces._model.target.precision == "tf32"


def test_tuning_tries_a_node_on_operands_as_they_will_be():
    h = gx.relu(conv(image(), 32), name="first")
    model = modes(gx.graph("n", gx.relu(conv(h, 32, seed=1), name="last")))["tf32"]
    ways = candidates(model.graph, model.target)["last"]
    subject = Subject(model.graph, model.graph.nodes[-1], model.target)
    bound = subject.bind(ways[0])
    assert bound.plan.steps[0].work.meta["PRECISION"] == IN_TF32[0]
    _, problem = subject.check(bound)
    assert problem is None
    assert "in tf32" in spelled(model.graph, model.graph.nodes[-1], model.plan.locations)


def test_reports_say_the_precision():
    graph = chain(2)
    for word, model in modes(graph).items():
        told = f"float32 as {'ieee' if word == 'tf32x3' else word}"
        models = {"own": model}
        for report in (
            gx.verify(model),
            gx.explain(model),
            gx.profile(model, seconds=0),
            gx.compare(models, seconds=0),
        ):
            assert told in " ".join(str(report).split())
    assert "float32 as" not in str(gx.verify(gx.compile(graph, device="cpu", target="library")))


@pytest.mark.parametrize("precision", ["float16", "auto", "TF32", None, 1, ["tf32"]])
def test_any_other_precision_is_refused(precision):
    with pytest.raises(InvalidAttribute) as caught:
        gx.compile(chain(2), device="cpu", precision=precision)
    assert all(f'"{word}"' in caught.value.wanted for word in PRECISIONS)
    assert caught.value.where == "the argument precision"


def test_the_command_line_takes_it(capsys):
    assert main(["verify", "lenet", "--device", "cpu", "--batch", "2", "--precision", "tf32"]) == 0
    assert "float32 as tf32" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["verify", "lenet", "--precision", "direct"])
    told = capsys.readouterr().err
    assert all(word in told for word in PRECISIONS)


def test_the_words_are_the_kernels():
    assert get_args(Precision) == PRECISIONS


def test_only_steps_of_a_tail_round_what_they_store():
    """The rule finds them by kind and name, lowering by its table."""
    for name, op in Op.registry.items():
        if op.kind <= OpKind.BROADCAST and hasattr(stages, name) and not issubclass(op, Anchor):
            assert not any(family in TABLE for family in op.__mro__), name
