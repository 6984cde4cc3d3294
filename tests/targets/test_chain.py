"""Which groups one kernel can compute, and what is said about the others."""

import pytest

import graphcnn as gx
from graphcnn.ir import Graph, Refusal, Unprofitable, outline
from graphcnn.kernels import stages
from graphcnn.targets import resolve
from graphcnn.targets.chain import chain_of
from graphcnn.targets.lowering import Lowering
from graphcnn.targets.policy import MODEL
from graphcnn.targets.resolve_device import resolve_device

CONV = """graph g {{
  input x: f32[1,3,8,6]
  input r: f32[1,4,8,6]
  input one: f32[1]
  param w: f32[4,3,3,3]
  param fc: f32[5,7]
  param v: f32[4]
  conv: f32[1,4,8,6] = conv2d(x, w, padding=(1, 1, 1, 1))
{}
}}"""


def body(*lines: str, text: str = CONV) -> Graph:
    """A body: the convolution, these lines; the last is returned, or what a `return` line says."""
    if not lines[-1].startswith("return"):
        lines = (*lines, "return " + lines[-1].split(":")[0])
    return gx.parse(text.format("\n".join(f"  {line}" for line in lines)))


UP = """graph g {{
  input x: f32[1,{channels},4,3]
  param w: f32[4,{depth},3,3]
  up: f32[1,{channels},{size}] = interpolate(x, {how})
  conv: f32[1,4,{size}] = conv2d(up, w, padding=(1, 1, 1, 1), groups={groups})
  return {result}
}}"""


def interpolated(how, channels=32, groups=1, size="8,6", result="conv"):
    fields = {"how": how, "channels": channels, "groups": groups, "size": size, "result": result}
    return gx.parse(UP.format(depth=channels // groups, **fields))


REFUSALS = {
    "an interpolation between elements": (
        interpolated("size=(8, 6), mode='bilinear'"),
        "conv",
        "'up' does not repeat each pixel equally often, from f32[1,32,4,3] to f32[1,32,8,6]",
    ),
    "elements that are repeated unevenly": (
        interpolated("size=(8, 5)", size="8,5"),
        "conv",
        "'up' does not repeat each pixel equally often, from f32[1,32,4,3] to f32[1,32,8,5]",
    ),
    "filters over few channels of repeated elements": (
        interpolated("scale_factor=(2.0, 2.0)", channels=40),
        "conv",
        "its filters read 40 channels, 8 beyond a multiple of 32: each element of 'up' would be "
        "looked up alone",
    ),
    "a depthwise convolution of repeated elements": (
        interpolated("scale_factor=(2.0, 2.0)", channels=4, groups=4),
        "conv",
        "its filters read 1 channels, 1 beyond a multiple of 32: each element of 'up' would be "
        "looked up alone",
    ),
    "repeated elements that are stored": (
        interpolated("scale_factor=(2.0, 2.0)", result="up, conv"),
        "conv",
        "'up' is read elsewhere too, and would stay in the kernel",
    ),
    "repeated elements that no convolution reads": (
        gx.parse("""graph g {
          input x: f32[1,32,4,3]
          up: f32[1,32,8,6] = interpolate(x, scale_factor=(2.0, 2.0))
          a: f32[1,32,8,6] = relu(up)
          return a
        }"""),
        "a",
        "a group starts with a convolution or linear layer, not relu()",
    ),
    "a group without an anchor": (
        gx.parse("""graph g {
          input x: f32[1,3,8,6]
          a: f32[1,3,8,6] = relu(x)
          return a
        }"""),
        "a",
        "a group starts with a convolution or linear layer, not relu()",
    ),
    "flattened maps that no linear layer reads": (
        gx.parse("""graph g {
          input x: f32[2,3,4]
          flat: f32[2,12] = flatten(x)
          y: f32[2,12] = relu(flat)
          return y
        }"""),
        "y",
        "a group starts with a convolution or linear layer, not relu()",
    ),
    "rows that are not whole maps": (
        gx.parse("""graph g {
          input x: f32[2,3,4,2]
          param w: f32[5,8]
          flat: f32[2,3,8] = flatten(x, start_dim=2)
          fc: f32[2,3,5] = linear(flat, w)
          return fc
        }"""),
        "fc",
        "its rows are no whole maps: dimension 2 and up are joined",
    ),
    "sequences that a flatten makes for a convolution": (
        gx.parse("""graph g {
          input x: f32[2,3,4,2]
          param w: f32[5,3,1]
          flat: f32[2,3,8] = flatten(x, start_dim=2)
          conv: f32[2,5,8] = conv1d(flat, w)
          return conv
        }"""),
        "conv",
        "only a linear layer's kernel reads maps as rows",
    ),
    "a value that the chain does not use": (
        body("a: f32[1,4,8,6] = relu(r)"),
        "a",
        "it reads none of the kernel's values",
    ),
    "a batch norm of a value that the chain does not use": (
        body("a: f32[1,4,8,6] = batch_norm(r, v, v, v, v)"),
        "a",
        "it reads none of the kernel's values",
    ),
    "a weight that the graph computes": (
        gx.parse("""graph g {
          input x: f32[1,3,8,6]
          input w: f32[4,3,1,1]
          conv: f32[1,4,8,6] = conv2d(x, w)
          a: f32[1,4,8,6] = relu(conv)
          return a
        }"""),
        "conv",
        "'w' is computed in the graph; it must be a param",
    ),
    "a value from before the pool": (
        gx.parse("""graph g {
          input x: f32[1,3,2,2]
          param w: f32[4,3,2,2]
          param u: f32[1,4,1,1]
          conv: f32[1,4,2,2] = conv2d(x, w, padding=(1, 0, 0, 1))
          a: f32[1,4,1,1] = max_pool2d(conv, kernel_size=(2, 2), stride=(2, 2))
          b: f32[1,4,2,2] = relu(conv)
          return a, b
        }"""),
        "b",
        "it reads a value from before the kernel's pool",
    ),
    "overlapping windows of what is stored": (
        body(
            "a: f32[1,4,3,2] = max_pool2d(conv, kernel_size=(3, 3), stride=(2, 2))",
            "return conv, a",
        ),
        "a",
        "its windows overlap, and what tiles compute twice is stored before them",
    ),
    "windows with gaps": (
        body("a: f32[1,4,3,2] = max_pool2d(conv, kernel_size=(2, 2), stride=(3, 3))"),
        "a",
        "its windows leave gaps: kernel 2x2, stride 3x3",
    ),
    "a window that no tile holds": (
        body("a: f32[1,4,1,1] = max_pool2d(conv, kernel_size=(8, 6), stride=(3, 5))"),
        "a",
        "its window 8x6 takes 256 pixels; a tile may have 64",
    ),
    "an image that no tile holds": (
        gx.parse("""graph g {
          input x: f32[1,3,8,9]
          param w: f32[4,3,1,1]
          conv: f32[1,4,8,9] = conv2d(x, w)
          a: f32[1,4,1,1] = global_avg_pool2d(conv)
          return a
        }"""),
        "a",
        "its window 8x9 takes 128 pixels; a tile may have 64",
    ),
    "channels of another group": (
        gx.parse("""graph g {
          input x: f32[1,4,8,6]
          param w: f32[4,2,1,1]
          conv: f32[1,4,8,6] = conv2d(x, w, groups=2)
          a: f32[1,4,8,6] = local_response_norm(conv, size=3)
          return a
        }"""),
        "a",
        "it brings channels together, and a tile holds 2 of the 4",
    ),
    "a power of 0": (
        body("a: f32[1,4,8,6] = local_response_norm(conv, size=3, beta=0.0)"),
        "a",
        "its power is 0, which makes even NaN a factor of 1",
    ),
    "channels that are not there": (
        body("a: f32[1,4,8,6] = local_response_norm(conv, size=5)"),
        "a",
        "its windows of 5 are longer than the 4 channels",
    ),
    "an average that counts padding": (
        body(
            "a: f32[1,4,5,3] = avg_pool2d(conv, kernel_size=(2, 2), stride=(2, 2), "
            "padding=(1, 0, 1, 0))"
        ),
        "a",
        "its averages count the padding (1, 0, 1, 0)",
    ),
    "a dilated pool": (
        body(
            "a: f32[1,4,3,2] = max_pool2d(conv, kernel_size=(2, 2), stride=(2, 2), dilation=(2, 2))"
        ),
        "a",
        "its windows are dilated by (2, 2)",
    ),
    "two pools": (
        body(
            "a: f32[1,4,4,3] = max_pool2d(conv, kernel_size=(2, 2), stride=(2, 2))",
            "b: f32[1,4,2,1] = avg_pool2d(a, kernel_size=(2, 2), stride=(2, 2))",
        ),
        "b",
        "a kernel holds at most one pool",
    ),
    "a broadcast that grows": (
        gx.parse("""graph g {
          input x: f32[1,3,8,6]
          input r: f32[2,4,8,6]
          param w: f32[4,3,1,1]
          conv: f32[1,4,8,6] = conv2d(x, w)
          a: f32[2,4,8,6] = add(conv, r)
          return a
        }"""),
        "a",
        "its broadcast grows f32[1,4,8,6] to f32[2,4,8,6]",
    ),
    "an op that no tail takes": (
        body("a: f32[1,4,8,6] = pad(conv, padding=(0, 0, 0, 0))"),
        "a",
        "pad is not a step that a kernel's tail can take",
    ),
    "a reduction": (
        body("a: f32[1,4,8,6] = softmax(conv)"),
        "a",
        "it reduces whole dimensions, and a kernel's program holds a tile",
    ),
}


HEAD = """graph g {{
  input x: f32[1,4,8,6]
  input u: f32[6,4,1,1]
  param d: f32[4,1,3,3]
  param w: f32[6,4,1,1]
  param w3: f32[6,4,3,3]
  param wg: f32[6,2,1,1]
  dw: f32[1,4,8,6] = conv2d(x, d, padding=(1, 1, 1, 1), groups=4)
{}
}}"""
RELU = "h: f32[1,4,8,6] = relu(dw)"
PW = "a: f32[1,6,8,6] = conv2d(h, w)"


def headed(*lines: str) -> Graph:
    """A body whose head is a depthwise convolution."""
    return body(*lines, text=HEAD)


REFUSALS |= {
    "a head with several filters for each channel": (
        gx.parse("""graph g {
          input x: f32[1,4,8,6]
          param d: f32[8,1,1,1]
          param w: f32[6,8,1,1]
          dw: f32[1,8,8,6] = conv2d(x, d, groups=4)
          a: f32[1,6,8,6] = conv2d(dw, w)
          return a
        }"""),
        "a",
        "'dw' has several filters for each channel",
    ),
    "a head of a stride": (
        headed(RELU, "a: f32[1,6,4,3] = conv2d(h, w, stride=(2, 2))"),
        "a",
        "its pixels are not those of 'dw': its stride or padding skips some",
    ),
    "a head of a padded product": (
        headed(RELU, "a: f32[1,6,9,6] = conv2d(h, w, padding=(1, 0, 0, 0))"),
        "a",
        "its pixels are not those of 'dw': its stride or padding skips some",
    ),
    "a head of a 3x3 convolution": (
        headed(RELU, "a: f32[1,6,6,4] = conv2d(h, w3)"),
        "a",
        "'dw' is made inside of a product with 1x1 filters of all channels",
    ),
    "a head of groups": (
        headed(RELU, "a: f32[1,6,8,6] = conv2d(h, wg, groups=2)"),
        "a",
        "'dw' is made inside of a product with 1x1 filters of all channels",
    ),
    "a head with a pool": (
        headed(
            "h: f32[1,4,4,3] = max_pool2d(dw, kernel_size=(2, 2), stride=(2, 2))",
            "a: f32[1,6,4,3] = conv2d(h, w)",
        ),
        "a",
        "the pool 'h' lies between it and 'dw'",
    ),
    "a head with what is no step": (
        headed("h: f32[1,4,8,6] = softmax(dw)", PW),
        "a",
        "it reduces whole dimensions, and a kernel's program holds a tile",
    ),
    "a head that is stored": (
        headed(RELU, PW, "return a, dw"),
        "a",
        "'dw' is read elsewhere too, and would stay in the kernel",
    ),
    "a head that the tail reads": (
        gx.parse("""graph g {
          input x: f32[1,4,8,6]
          param d: f32[4,1,1,1]
          param w: f32[4,4,1,1]
          dw: f32[1,4,8,6] = conv2d(x, d, groups=4)
          a: f32[1,4,8,6] = conv2d(dw, w)
          b: f32[1,4,8,6] = add(a, dw)
          return b
        }"""),
        "a",
        "'dw' is read elsewhere too, and would stay in the kernel",
    ),
    "a head that the anchor does not read": (
        headed(RELU, "a: f32[1,6,8,6] = conv2d(x, w)"),
        "a",
        "it reads 'x', not 'h'",
    ),
    "a weight behind a head that the graph computes": (
        headed(RELU, "a: f32[1,6,8,6] = conv2d(h, u)"),
        "a",
        "'u' is computed in the graph; it must be a param",
    ),
}


@pytest.mark.parametrize(("body", "node", "because"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_name_the_node_and_the_reason(body, node, because):
    refusal = chain_of(body)
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.node, refusal.because) == ("triton", node, because)
    assert resolve("triton", "cpu").supports(body) == refusal


def test_what_costs_more_than_it_saves_is_refused_with_the_numbers():
    refusal = resolve("triton", "cpu").supports(
        body(
            "a: f32[1,4,8,6] = relu(conv)",
            "b: f32[1,4,3,2] = max_pool2d(a, kernel_size=(3, 3), stride=(2, 2))",
            "c: f32[1,4,3,2] = tanh(b)",
        )
    )
    assert isinstance(refusal, Unprofitable)
    assert (refusal.node, refusal.blame) == ("b", ("a",))
    assert "bring 256 values together" in refusal.because
    assert "the 1,536 bytes that it would not move" in refusal.because


def test_a_linear_layer_is_not_pooled():
    text = """graph g {
      input x: f32[1,2,4,6]
      param w: f32[6,6]
      fc: f32[1,2,4,6] = linear(x, w)
      a: f32[1,2,2,3] = max_pool2d(fc, kernel_size=(2, 2), stride=(2, 2))
      return a
    }"""
    refusal = chain_of(gx.parse(text))
    assert isinstance(refusal, Refusal)
    assert refusal.because == "a linear layer has no pixels to pool"
    assert refusal.blame == ("fc",)


def test_a_second_anchor():
    text = """graph g {
      input x: f32[1,4,6]
      param w: f32[6,6]
      fc: f32[1,4,6] = linear(x, w)
      again: f32[1,4,6] = linear(fc, w)
      return again
    }"""
    refusal = chain_of(gx.parse(text))
    assert isinstance(refusal, Refusal)
    assert refusal.because == "linear is not a step that a kernel's tail can take"


def test_a_chain_lists_its_tail_and_exports():
    chain = chain_of(
        body(
            "a: f32[1,4,8,6] = relu(conv)",
            "b: f32[1,4,8,6] = add(r, a)",
            "c: f32[1,4,4,3] = avg_pool2d(b, kernel_size=(2, 2), stride=(2, 2))",
            "d: f32[1,4,4,3] = silu(c)",
            "return a, conv, d",
        )
    )
    assert chain.anchor.name == "conv"
    assert [node.name for node in chain.links] == list("abcd")
    assert [step.reads[-1] for step in chain.tail] == [0, 1, 2, 3]
    assert chain.exports == (1, 0, 4)


def test_a_chain_lists_its_head():
    lines = (RELU, "i: f32[1,4,8,6] = mul(h, dw)", "a: f32[1,6,8,6] = conv2d(i, w)")
    chain = chain_of(headed(*lines, "b: f32[1,6,8,6] = relu(a)"))
    assert [node.name for node in chain.head] == ["dw", "h", "i"]
    assert [step.reads for step in chain.steps] == [(0,), (1, 0)]
    assert (chain.anchor.name, [node.name for node in chain.links]) == ("a", ["b"])
    assert chain.exports == (1,)


DIAMONDS = {
    "one value twice": ("a: f32[1,4,8,6] = add(conv, conv)",),
    "an earlier value": ("a: f32[1,4,8,6] = tanh(conv)", "b: f32[1,4,8,6] = mul(a, conv)"),
    "two branches and a residual": (
        "a: f32[1,4,8,6] = tanh(conv)",
        "b: f32[1,4,8,6] = sigmoid(conv)",
        "c: f32[1,4,8,6] = mul(a, b)",
        "d: f32[1,4,8,6] = add(c, r)",
    ),
}


@pytest.mark.parametrize("target", ["library", "numpy"])
def test_other_targets_take_no_group(target):
    assert resolve(target, "cpu").supports is None


@pytest.mark.parametrize("lines", DIAMONDS.values(), ids=DIAMONDS)
def test_a_step_reads_any_values(lines):
    assert resolve("triton", "cpu").supports(body(*lines)) is None


def lowered(*outputs, **options):
    graph = gx.graph("g", list(outputs))
    return gx.compile(graph, device="cpu", passes=(), **options).target.lower(graph)


def image(name="image", shape=(2, 3, 4, 5)):
    return gx.input(name, shape)


def test_views_follow_the_locations():
    graph = gx.graph("g", gx.relu(gx.relu(image(), name="inner"), name="outer"))
    lowering = Lowering.of(graph, resolve_device("cpu"), MODEL)
    assert lowering.view("image").strides == (60, 20, 5, 1)
    assert lowering.view("inner").strides == (60, 1, 15, 3)
    assert lowering.view("outer").strides == (60, 20, 5, 1)
    assert lowering.operand("inner", graph.type_of("outer")) == lowering.view("inner")


@pytest.mark.cpu
def test_concat_copies_into_windows():
    steps = lowered(gx.concat([image("a"), image("b", (2, 4, 4, 5))], 1, name="cat")).steps
    assert [(s.node, s.label, s.reads, s.writes) for s in steps] == [
        ("cat", "copy", ("a",), ("cat",)),
        ("cat", "copy", ("b",), ("cat",)),
    ]
    assert [s.work.args[1].ptr.offset for s in steps] == [0, 3 * 4 * 5]


@pytest.mark.cpu
def test_pad_is_one_step():
    steps = lowered(gx.pad(image(), (1, 2, 0, 1), value=0.5, name="pad")).steps
    assert [(s.label, s.reads, s.writes) for s in steps] == [
        ("pad", ("image",), ("pad",)),
    ]


@pytest.mark.cpu
def test_aliases_take_no_step():
    h = gx.reshape(gx.flatten(gx.dropout(gx.relu(image(), name="relu"))), (2, 6, 10))
    assert [step.node for step in lowered(h).steps] == ["relu"]


def test_in_place_steps_read_first_what_they_overwrite():
    other = gx.relu(image(), name="other")
    steps = lowered(
        gx.add(gx.mul(other, gx.param("scale", (3, 1, 1)), name="scaled"), other, name="sum")
    ).steps
    assert [(s.node, s.in_place, s.reads) for s in steps] == [
        ("other", False, ("image",)),
        ("scaled", True, ("other",)),
        ("sum", False, ("scaled", "other")),
    ]


def test_a_param_is_never_overwritten_in_place():
    steps = lowered(gx.add(gx.param("p", (2, 3, 4, 5)), gx.relu(image()), name="sum")).steps
    assert steps[-1].node == "sum"
    assert not steps[-1].in_place


def test_a_param_with_a_new_shape_is_copied():
    steps = lowered(gx.add(image(shape=(6,)), gx.flatten(gx.param("p", (2, 3)), 0))).steps
    assert [(s.node, s.label, s.reads) for s in steps] == [
        ("flatten", "copy", ()),
        ("add", "add", ("image", "flatten")),
    ]


def test_tied_statistics_with_other_eps_are_other_weights():
    statistics = [gx.param(name, (3,)) for name in ("mean", "var", "scale", "shift")]
    h = gx.batch_norm(image(), *statistics, eps=1e-5)
    weights = lowered(gx.batch_norm(h, *statistics, eps=0.5)).weights
    assert len({weight.name for weight in weights}) == len(weights) == 4


def test_one_weight_is_packed_once():
    weight = gx.param("w", (3, 3, 3, 3))
    h = gx.conv2d(gx.conv2d(image(), weight, padding=1), weight, padding=1)
    assert [w.sources for w in lowered(h).weights] == [("w",)]


def test_a_pool_goes_before_what_it_commutes_with():
    h = gx.conv2d(image(), gx.param("w", (4, 3, 3, 3)), padding=1)
    h = gx.max_pool2d(gx.relu(h), 2)
    model = gx.compile(gx.graph("g", h), device="cpu")
    (step,) = model.plan.steps
    assert step.label == "conv2d+relu+max_pool2d"
    *_, tail = step.work.args
    pool, relu = tail.steps
    assert (pool.fn.value, relu.fn) == (0, stages.relu)
    assert (tail.pool.AT.value, tail.pool.H.value, tail.pool.W.value) == (0, 2, 2)


def test_a_group_that_memory_keeps_apart_is_lowered_node_by_node():
    """Rank 5, and an operand that repeats: the rows follow one another in the image only."""
    x = image(shape=(2, 3, 2, 3, 4))
    h = gx.linear(x, gx.param("w", (5, 4)), name="fc")
    h = gx.relu(gx.add(h, gx.param("p", (2, 3, 1, 3, 5)), name="sum"), name="relu")
    graph = gx.graph("g", h)
    fused = graph.replace(nodes=(outline(graph.nodes, ("relu",), graph),))
    target = resolve("triton", "cpu")
    assert target.supports(fused.nodes[0].op.body) is None
    lowered = target.lower(fused)
    assert [(s.node, s.label) for s in lowered.steps] == [
        ("fc", "linear"),
        ("sum", "add"),
        ("relu", "relu"),
    ]
    (refusal,) = lowered.refusals
    assert (refusal.node, refusal.blame) == ("relu", ("fc", "sum", "relu"))
    assert "do not follow one another in memory" in refusal.because


def test_slopes_comparisons_and_choices_are_steps():
    """Of values and numbers; a slope has to be known, and a choice between computed values."""
    x = gx.input("x", (2, 3, 8, 8))
    h = gx.conv2d(x, gx.param("w", (5, 3, 3, 3)), name="conv")
    h = h.prelu(gx.param("slope", (5,)))
    model = resolve("triton", "cpu")
    graph = gx.graph("g", gx.where(h > 0.5, h, 0.5))
    group = outline(graph.nodes, graph.outputs, graph)
    assert model.supports(group.op.body) is None
    computed = gx.prelu(h, gx.relu(gx.input("s", (5,))), name="act")
    graph = gx.graph("g", computed)
    nodes = tuple(node for node in graph.nodes if node.name != "relu")
    refused = model.supports(outline(nodes, graph.outputs, graph).op.body)
    assert refused.because == "'relu' is computed in the graph; it must be a param"
