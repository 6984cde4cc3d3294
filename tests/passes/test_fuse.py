"""Fuse: what becomes a group, what is exported, and what is refused."""

from __future__ import annotations

import pytest

from graphcnn.errors import FusionRefused, InvalidAttribute, UnknownNode
from graphcnn.ir import (
    Chosen,
    CompileLog,
    Fused,
    Graph,
    OpKind,
    Refusal,
    Unprofitable,
    inline,
    verify,
)
from graphcnn.passes import Fuse, Supports, Time, default_pipeline, demands, run_passes
from tests.passes.before_after import becomes, declines, graph
from tests.targets.chains import supports

IMAGE = "f64[1,4,8,8]"
HALF = "f64[1,4,4,4]"
CONV = f"h: {IMAGE} = conv2d(x, v)"
POOL = "kernel_size=(2, 2), stride=(2, 2)"


def fused(
    body: str | Graph,
    supports: Supports = supports,
    time: Time | None = None,
    **demands: tuple[tuple[str, ...], ...],
) -> tuple[list[str], CompileLog]:
    """The groups, as "first+second>export", and the log."""
    given = graph(body) if isinstance(body, str) else body
    log = CompileLog()
    after = Fuse(supports, time=time, **demands).run(given, log)
    verify(after)
    assert sorted(map(str, inline(after).nodes)) == sorted(map(str, given.nodes))
    return [
        "+".join(inner.name for inner in node.op.body.nodes) + ">" + ",".join(node.op.exports)
        for node in after.nodes
        if isinstance(node.op, Fused)
    ], log


def reasons(log: CompileLog) -> list[str]:
    return [str(refusal) for refusal in log.refusals]


@pytest.mark.parametrize(
    "step",
    [
        "relu(h)",
        "leaky_relu(h, negative_slope=0.2)",
        "sigmoid(h)",
        "tanh(h)",
        "silu(h)",
        "hardswish(h)",
        "gelu(h, approximate='tanh')",
        "add(h, c)",
        "mul(h, c)",
        "add(c, h)",
        "add(h, r)",
        "add(r, h)",
        "mul(h, r)",
        "add(h, h)",
        "batch_norm(h, m, q.var, s.weight, t)",
    ],
)
def test_pointwise_ops_join(step: str) -> None:
    becomes(
        Fuse(),
        f"{CONV}\ny: {IMAGE} = {step}\nreturn y",
        f"""y: {IMAGE} = fused({operands(step)}) {{
          {CONV}
          y: {IMAGE} = {step}
          return y
        }}
        return y""",
    )


def operands(step: str) -> str:
    listed = step[step.index("(") + 1 : -1].split(", ")
    others = [name for name in listed if name != "h" and "=" not in name]
    return ", ".join(["x", *(n for n in others if n == "r"), "v", *(n for n in others if n != "r")])


@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d"])
def test_a_long_chain_with_a_pool_is_one_group(pool: str) -> None:
    chain = f"""{CONV}
        a: {IMAGE} = add(h, r)
        n: {IMAGE} = batch_norm(a, m, q.var, s.weight, t)
        g: {IMAGE} = silu(n)
        p: {HALF} = {pool}(g, {POOL})
        y: {HALF} = relu(p)
        return y"""
    groups, log = fused(chain)
    assert groups == ["h+a+n+g+p+y>y"]
    assert reasons(log) == []


def test_a_scalar_joins() -> None:
    sources = "input x: f64[1,4,8,8]\nparam v: f64[4,4,1,1]\nparam k: f64[]"
    groups, _ = fused(graph(f"{CONV}\ny: {IMAGE} = mul(h, k)\nreturn y", sources))
    assert groups == ["h+y>y"]


def test_linear_anchors_a_group() -> None:
    sources = "input x: f64[2,4]\nparam v: f64[5,4]"
    body = "h: f64[2,5] = linear(x, v)\ny: f64[2,5] = relu(h)\nreturn y"
    assert fused(graph(body, sources))[0] == ["h+y>y"]


def test_a_lone_anchor_stays_a_plain_node() -> None:
    groups, log = fused(f"{CONV}\nreturn h")
    assert groups == []
    assert log.refusals == []


@pytest.mark.parametrize(
    ("rest", "outputs", "exports"),
    [
        ("", "y, h", "h,y"),
        (f"z: {IMAGE} = softmax(h)", "y, z", "h,y"),
        (f"z: {IMAGE} = conv2d(h, v)", "y, z", "h,y"),
        ("z: f64[1,8,8,8] = concat(h, y)", "z", "h,y"),
    ],
)
def test_a_value_with_a_second_reader_is_exported(rest: str, outputs: str, exports: str) -> None:
    groups, log = fused(f"{CONV}\ny: {IMAGE} = relu(h)\n{rest}\nreturn {outputs}")
    assert groups == [f"h+y>{exports}"]
    assert reasons(log) == []


def test_an_export_is_read_before_the_last_value() -> None:
    """The group stands where its first reader needs it."""
    after = Fuse().run(
        graph(f"""{CONV}
        z: {IMAGE} = conv2d(h, v)
        w1: {IMAGE} = softmax(z)
        y: {IMAGE} = relu(h)
        return y, w1"""),
        CompileLog(),
    )
    assert [node.name for node in after.nodes] == ["y", "z", "w1"]


def test_a_residual_that_is_computed_later_is_waited_for() -> None:
    after = Fuse().run(
        graph(f"""{CONV}
        k: {IMAGE} = softmax(r)
        y: {IMAGE} = add(h, k)
        return y"""),
        CompileLog(),
    )
    assert [node.name for node in after.nodes] == ["k", "y"]


def test_only_one_of_two_readers_continues_the_chain() -> None:
    groups, log = fused(f"{CONV}\na: {IMAGE} = relu(h)\ny: {IMAGE} = tanh(h)\nreturn a, y")
    assert groups == ["h+a>h,a"]
    assert reasons(log) == ["fuse: y: the kernel of 'a' goes on with another reader of 'h' [h]"]


@pytest.mark.parametrize(
    "diamond",
    [
        f"a: {IMAGE} = tanh(h)\ny: {IMAGE} = mul(h, a)",
        f"a: {IMAGE} = tanh(h)\ne: {IMAGE} = sigmoid(h)\ny: {IMAGE} = mul(e, a)",
        f"a: {IMAGE} = tanh(h)\ne: {IMAGE} = relu(a)\nf: {IMAGE} = add(e, a)\n"
        f"y: {IMAGE} = mul(h, f)",
    ],
)
def test_diamonds_are_closed(diamond: str) -> None:
    names = [line.split(":")[0] for line in diamond.split("\n")]
    groups, log = fused(f"{CONV}\n{diamond}\nreturn y")
    assert groups == ["h+" + "+".join(names) + ">y"]
    assert reasons(log) == []


def test_a_diamond_that_the_target_refuses_is_cut() -> None:
    body = (
        f"{CONV}\na: {IMAGE} = tanh(h)\ne: {IMAGE} = sigmoid(h)\ny: {IMAGE} = mul(e, a)\nreturn y"
    )
    groups, log = fused(body, Without("mul"))
    assert groups == ["h+a>h,a"]
    assert reasons(log) == [
        "fuse: y: 'e' needs the kernel of 'h', which would need it [e]",
        "fuse: e: the kernel of 'a' goes on with another reader of 'h' [h]",
    ]


REFUSED = {
    "overlapping pool": (
        "max_pool2d(h, kernel_size=(3, 3), stride=(2, 2))",
        "f64[1,4,3,3]",
        "its windows overlap, and what tiles compute twice is stored before them [h]",
    ),
    "overlapping in one dimension": (
        "avg_pool2d(h, kernel_size=(2, 3), stride=(2, 2))",
        "f64[1,4,4,3]",
        "its windows overlap, and what tiles compute twice is stored before them [h]",
    ),
    "windows with gaps": (
        "max_pool2d(h, kernel_size=(2, 2), stride=(3, 3))",
        "f64[1,4,3,3]",
        "its windows leave gaps: kernel 2x2, stride 3x3 [h]",
    ),
    "average that counts padding": (
        "avg_pool2d(h, kernel_size=(2, 2), stride=(2, 2), padding=(1, 1, 1, 1))",
        "f64[1,4,5,5]",
        "its averages count the padding (1, 1, 1, 1) [h]",
    ),
    "dilated pool": (
        "max_pool2d(h, kernel_size=(2, 2), stride=(2, 2), dilation=(2, 2))",
        "f64[1,4,3,3]",
        "its windows are dilated by (2, 2) [h]",
    ),
    "broadcast that grows": (
        "add(h, k)",
        "f64[3,4,8,8]",
        "its broadcast grows f64[1,4,8,8] to f64[3,4,8,8] [h, k]",
    ),
    "computed statistics": (
        "batch_norm(h, d, q.var, s.weight, t)",
        IMAGE,
        "'d' is computed by the graph, not a param [d]",
    ),
    "depthwise convolution": (
        "conv2d(h, u, groups=4)",
        IMAGE,
        "a depthwise conv2d reads neighbours and anchors its own kernel",
    ),
    "residual that needs the group": (
        "add(h, g)",
        IMAGE,
        "'g' needs the kernel of 'h', which would need it [g]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    call, type, reason = REFUSED[case]
    sources = f"""input x: {IMAGE}
        input k: f64[3,4,8,8]
        input i: f64[4]
        param v: f64[4,4,1,1]
        param u: f64[4,1,1,1]
        param q.var: f64[4]
        param s.weight: f64[4]
        param t: f64[4]"""
    body = f"""{CONV}
        d: f64[4] = tanh(i)
        g: {IMAGE} = softmax(h)
        y: {type} = {call}
        return y"""
    groups, log = fused(graph(body, sources))
    assert groups == []
    assert reason in [told.split(": y: ")[-1] for told in reasons(log)]


def test_a_second_pool_is_refused() -> None:
    body = f"""{CONV}
        p: {HALF} = max_pool2d(h, {POOL})
        y: f64[1,4,2,2] = max_pool2d(p, {POOL})
        return y"""
    groups, log = fused(body)
    assert groups == ["h+p>p"]
    assert reasons(log) == ["triton: y: a kernel holds at most one pool [p]"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"y: {IMAGE} = relu(x)\nreturn y", "its operand 'x' is an input of the graph [x]"),
        (
            f"h: f64[1,8,8,8] = concat(x, r)\ny: f64[1,8,4,4] = max_pool2d(h, {POOL})\nreturn y",
            "its operand 'h' is that of a concat, and groups start at convolutions and linear "
            "layers [h]",
        ),
    ],
)
def test_what_follows_no_anchor_is_explained(body: str, reason: str) -> None:
    groups, log = fused(body)
    assert groups == []
    assert reasons(log) == [f"fuse: y: {reason}"]


def test_two_groups_do_not_wait_for_each_other() -> None:
    """Each add alone could join its convolution; both together would be a cycle."""
    body = f"""h: {IMAGE} = conv2d(x, v)
        k: {IMAGE} = conv2d(r, v)
        ah: {IMAGE} = tanh(h)
        ak: {IMAGE} = tanh(k)
        sh: {IMAGE} = softmax(h)
        sk: {IMAGE} = softmax(k)
        y: {IMAGE} = add(ah, sk)
        z: {IMAGE} = add(ak, sh)
        return y, z"""
    groups, log = fused(body)
    assert groups == ["h+ah>h,ah", "k+ak+z>k,z"]
    assert reasons(log) == [
        "fuse: y: 'sk' needs the kernel of 'h', which would need it [k, ak, sh, sk, z]"
    ]


@pytest.mark.parametrize("operands", ["h, k", "k, h"])
@pytest.mark.parametrize("later", ["h", "k"])
def test_the_later_convolution_takes_the_residual(later: str, operands: str) -> None:
    convs = [f"k: {IMAGE} = conv2d(r, v)", CONV]
    first, second = convs if later == "h" else convs[::-1]
    body = f"{first}\n{second}\na: {IMAGE} = add({operands})\ny: {IMAGE} = relu(a)\nreturn y"
    groups, log = fused(body)
    assert groups == [f"{later}+a+y>y"]
    assert reasons(log) == []


def test_the_convolution_whose_value_nothing_else_reads_takes_the_residual() -> None:
    body = f"{CONV}\nk: {IMAGE} = conv2d(r, v)\na: {IMAGE} = add(h, k)\nreturn a, k"
    assert fused(body)[0] == ["h+a>a"]


def test_matching_gives_every_convolution_a_residual() -> None:
    """Taken greedily, `h` gets the sum, which comes first, and the product stays alone."""
    body = f"""{CONV}
        k: {IMAGE} = conv2d(r, v)
        i: {IMAGE} = softmax(x)
        a: {IMAGE} = add(h, k)
        y: {IMAGE} = mul(h, i)
        return a, y"""
    assert fused(body)[0] == ["h+y>h,y", "k+a>a"]
    swapped = body.replace("(h, k)", "(k, h)").replace("(h, i)", "(k, i)")
    assert fused(swapped)[0] == ["k+y>k,y", "h+a>a"]


def test_a_sum_of_three_is_shared_out() -> None:
    body = f"""{CONV}
        k: {IMAGE} = conv2d(r, v)
        e: {IMAGE} = conv2d(x, w, padding=(1, 1, 1, 1))
        a: {IMAGE} = add(h, k)
        y: {IMAGE} = add(a, e)
        return y"""
    assert fused(body)[0] == ["k+a>a", "e+y>y"]


def test_two_residuals_can_join_one_chain() -> None:
    body = f"{CONV}\na: {IMAGE} = add(h, r)\ny: {IMAGE} = mul(a, x)\nreturn y"
    assert fused(body)[0] == ["h+a+y>y"]


class Without:
    """A target that refuses bodies with one op."""

    def __init__(self, op: str) -> None:
        self.op = op

    def __call__(self, body: Graph) -> Refusal | None:
        for node in body.nodes:
            if node.op.name == self.op:
                return Refusal("target", node.name, f"has no {self.op}")
        return None


def test_the_chain_is_cut_until_the_target_agrees() -> None:
    body = f"{CONV}\na: {IMAGE} = relu(h)\ne: {IMAGE} = tanh(a)\ny: {IMAGE} = sigmoid(e)\nreturn y"
    groups, log = fused(body, Without("tanh"))
    assert groups == ["h+a>a"]
    assert reasons(log) == [
        "target: e: has no tanh",
        "fuse: y: its operand 'e' is that of a tanh, and groups start at convolutions and "
        "linear layers [e]",
    ]
    assert fused(body, Without("conv2d"))[0] == []


def test_a_residual_goes_to_the_other_convolution_when_the_target_refuses() -> None:
    body = f"""{CONV}
        k: {IMAGE} = conv2d(r, v)
        n: {IMAGE} = tanh(k)
        y: {IMAGE} = add(h, n)
        return y"""
    assert fused(body)[0] == ["k+n+y>y"]
    groups, log = fused(body, Without("tanh"))
    assert groups == ["h+y>y"]
    assert reasons(log) == ["target: n: has no tanh"]


def test_must_fuse_decides_who_takes_a_residual() -> None:
    body = f"{CONV}\nk: {IMAGE} = conv2d(r, v)\ny: {IMAGE} = add(h, k)\nreturn y"
    assert fused(body)[0] == ["k+y>y"]
    assert fused(body, must_fuse=(("h", "y"),))[0] == ["h+y>y"]


def test_must_fuse_decides_which_reader_continues() -> None:
    body = f"{CONV}\na: {IMAGE} = relu(h)\ny: {IMAGE} = tanh(h)\nreturn a, y"
    assert fused(body, must_fuse=(("h", "y"),))[0] == ["h+y>h,y"]


def test_must_fuse_fails_with_the_reason() -> None:
    body = f"{CONV}\ny: f64[1,4,3,3] = max_pool2d(h, kernel_size=(2, 2), stride=(3, 3))\nreturn y"
    with pytest.raises(FusionRefused, match="kernel 2x2, stride 3x3") as caught:
        fused(body, must_fuse=(("h", "y"),))
    assert caught.value.where == "must_fuse: h, y"


def test_must_fuse_names_the_target_s_reason() -> None:
    body = f"{CONV}\ny: {IMAGE} = tanh(h)\nreturn y"
    with pytest.raises(FusionRefused, match="target: y: has no tanh"):
        fused(body, Without("tanh"), must_fuse=(("h", "y"),))


class Dear:
    """A target that had better not pool."""

    def __call__(self, body: Graph) -> Refusal | None:
        pools = [node.name for node in body.nodes if node.op.kind is OpKind.WINDOW]
        return Unprofitable("target", pools[0], "is dear") if pools else None


def test_a_demand_overrides_a_price() -> None:
    body = f"{CONV}\np: {HALF} = max_pool2d(h, {POOL})\ny: {HALF} = relu(p)\nreturn y"
    groups, log = fused(body, Dear())
    assert groups == []
    assert "target: p: is dear" in [str(refusal) for refusal in log.refusals]
    assert fused(body, Dear(), must_fuse=(("h", "p"),))[0] == ["h+p+y>y"]


def test_must_fuse_of_nodes_that_no_chain_joins() -> None:
    body = f"{CONV}\nk: {IMAGE} = conv2d(h, v)\nreturn k"
    with pytest.raises(FusionRefused, match="do not form a chain") as caught:
        fused(body, must_fuse=(("h", "k"),))
    assert "one convolution or linear layer, perhaps behind an" in caught.value.wanted


def test_must_fuse_fails_with_what_is_about_one_node_only_behind_the_rule() -> None:
    body = f"{CONV}\np: {HALF} = max_pool2d(h, {POOL})\nz: {HALF} = relu(p)\nreturn z"
    with pytest.raises(FusionRefused) as caught:
        fused(body, Dear(), must_fuse=(("h", "z"),))
    rule, told = str(caught.value.got).split("; ")
    assert rule == "the nodes do not form a chain that starts at one anchor"
    assert told.startswith("fuse: z: its operand 'p' is that of a max_pool2d")


@pytest.mark.parametrize("names", [("h",), ()])
def test_a_demand_is_of_two_nodes_or_more(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidAttribute, match="a tuple of two node names or more"):
        demands.groups("must_fuse", [names])


def test_must_not_fuse_ends_the_chain() -> None:
    body = f"{CONV}\na: {IMAGE} = relu(h)\ny: {HALF} = max_pool2d(a, {POOL})\nreturn y"
    groups, log = fused(body, must_not_fuse=(("h", "y"),))
    assert groups == ["h+a>a"]
    assert reasons(log) == ["fuse: y: must_not_fuse keeps it from h [h]"]
    assert fused(body, must_not_fuse=(("a", "y"), ("h", "a")))[0] == []


def test_must_not_fuse_gives_a_residual_to_the_other_convolution() -> None:
    body = f"{CONV}\nk: {IMAGE} = conv2d(r, v)\ny: {IMAGE} = add(h, k)\nreturn y"
    assert fused(body, must_not_fuse=(("k", "y"),))[0] == ["h+y>y"]


def test_contradicting_demands_fail() -> None:
    with pytest.raises(FusionRefused, match="must_not_fuse keeps it from h"):
        fused(
            f"{CONV}\ny: {IMAGE} = relu(h)\nreturn y",
            must_fuse=(("h", "y"),),
            must_not_fuse=(("h", "y"),),
        )


@pytest.mark.parametrize("which", ["must_fuse", "must_not_fuse"])
def test_unknown_names_are_told(which: str) -> None:
    with pytest.raises(UnknownNode, match="no node 'ghost'"):
        fused(f"{CONV}\ny: {IMAGE} = relu(h)\nreturn y", **{which: (("h", "ghost"),)})


@pytest.mark.parametrize("which", ["must_fuse", "must_not_fuse"])
@pytest.mark.parametrize("names", [("h", "y"), "hy", (("h", 1),), 5], ids=str)
def test_demands_of_the_pass_are_groups_of_names(which: str, names: object) -> None:
    with pytest.raises(InvalidAttribute, match="list of groups"):
        Fuse(**{which: names})


@pytest.mark.parametrize("supports", [None, "triton"])
def test_what_cannot_be_asked_is_no_target(supports: object) -> None:
    with pytest.raises(InvalidAttribute, match="supports is a function"):
        Fuse(supports)


NORMED = f"""{CONV}
    n: {IMAGE} = batch_norm(h, m, q.var, s.weight, t)
    d: {IMAGE} = dropout(n)
    y: {IMAGE} = relu(d)
    return y"""


def test_a_convolution_of_constants_takes_nothing() -> None:
    """Its value has one sample at every batch size, and what is added to it has more."""
    sources = "input x: f64[1,4,8,8]\nparam p: f64[1,4,8,8]\nparam v: f64[4,4,1,1]"
    body = f"h: {IMAGE} = conv2d(p, v)\ny: {IMAGE} = add(h, x)\nreturn y"
    (reason,) = declines(Fuse(), body, sources)
    assert reason == (
        "fuse: y: 'h' depends on no input and keeps its shape at other batch sizes [h]"
    )


def test_demands_understand_names_that_earlier_passes_absorbed() -> None:
    log = CompileLog()
    passes = default_pipeline(must_fuse=[("h", "n", "d", "y")], must_not_fuse=[])
    after = run_passes(graph(NORMED), passes, log)
    assert [node.op.name for node in after.nodes] == ["fused"]
    assert (log.survivor("h"), log.survivor("d")) == ("n", "n")
    apart = default_pipeline(must_not_fuse=[("n", "y")])
    after = run_passes(graph(NORMED), apart, CompileLog())
    assert [node.op.name for node in after.nodes] == ["conv2d", "relu"]


def test_what_an_earlier_pass_made_one_cannot_be_kept_apart() -> None:
    passes = default_pipeline(must_not_fuse=[("h", "n")])
    with pytest.raises(FusionRefused, match="an earlier pass made them one"):
        run_passes(graph(NORMED), passes, CompileLog())


def test_demands_hold_for_a_graph_that_is_fused_already() -> None:
    once = Fuse().run(graph(f"{CONV}\ny: {IMAGE} = relu(h)\nreturn y"), CompileLog())
    assert Fuse(must_fuse=(("h", "y"),)).run(once, CompileLog()) == once
    with pytest.raises(FusionRefused, match="in one group already"):
        Fuse(must_not_fuse=(("h", "y"),)).run(once, CompileLog())


GATED = (
    f"f: {IMAGE} = conv2d(x, v)\ng: {IMAGE} = conv2d(x, u)\na: {IMAGE} = tanh(f)\n"
    f"b: {IMAGE} = sigmoid(g)\ny: {IMAGE} = mul(a, b)"
)


@pytest.mark.parametrize(
    ("changes", "groups"),
    [
        ({}, ["f+g+a+b+y>y"]),
        ({"tanh(f)": "tanh(g)", "sigmoid(g)": "sigmoid(f)"}, ["f+g+a+b+y>y"]),
        ({f"a: {IMAGE} = tanh(f)\n": "", "mul(a, b)": "mul(f, b)"}, ["f+g+b+y>y"]),
        ({"mul(a, b)": "sub(b, a)"}, ["f+g+a+b+y>y"]),
        ({"return y": "return y, a"}, ["f+g+a+b+y>a,y"]),
        ({"return y": f"z: {IMAGE} = add(y, r)\nreturn z"}, ["f+g+a+b+y+z>z"]),
        ({"return y": "return y, f"}, ["f+a>f,a", "g+b+y>y"]),
        ({"conv2d(x, u)": "conv2d(r, u)"}, ["f+a>a", "g+b+y>y"]),
        ({"conv2d(x, u)": "conv2d(x, u, b1)"}, ["f+a>a", "g+b+y>y"]),
        ({"conv2d(x, u)": "conv2d(x, w3, padding=(1, 1, 1, 1))"}, ["f+a>a", "g+b+y>y"]),
        ({"conv2d(x, v)": "conv2d(a0, v)", "conv2d(x, u)": "conv2d(a0, u)"}, ["f+g+a+b+y>y"]),
    ],
    ids=[
        "tanh and sigmoid",
        "the other way round",
        "a linear unit",
        "another join",
        "a half that is exported",
        "a residual behind it",
        "a convolution that is exported",
        "another input",
        "one bias",
        "other filters",
        "of a computed input",
    ],
)
def test_a_gate_is_one_group(changes: dict[str, str], groups: list[str]) -> None:
    body = f"r: {IMAGE} = relu(x)\na0: {IMAGE} = exp(x)\n{GATED}\nreturn y"
    for old, new in changes.items():
        assert old in body
        body = body.replace(old, new)
    assert fused(graph(body, GATE_SOURCES))[0] == groups


GATE_SOURCES = f"""
  input x: {IMAGE}
  param v: f64[4,4,1,1]
  param u: f64[4,4,1,1]
  param w3: f64[4,4,3,3]
  param b1: f64[4]
"""


@pytest.mark.parametrize(
    ("demands", "reason"),
    [
        ({"must_not_fuse": (("f", "g"),)}, "gate: g: must_not_fuse keeps it from f [f]"),
        ({"must_not_fuse": (("a", "b"),)}, "gate: g: must_not_fuse keeps 'b' from a [a]"),
    ],
)
def test_a_gate_that_is_not_fused_is_told(
    demands: dict[str, tuple[tuple[str, ...], ...]], reason: str
) -> None:
    log = fused(graph(f"{GATED}\nreturn y", GATE_SOURCES), **demands)[1]
    assert reason in reasons(log)


def test_a_gate_that_a_target_does_not_compute_is_told() -> None:
    body = f"{GATED}\nreturn y"

    def no_gates(body: Graph) -> Refusal | None:
        gated = sum(node.op.name == "conv2d" for node in body.nodes) > 1
        return Refusal("target", "g", "it has no gates", ("f",)) if gated else supports(body)

    groups, log = fused(graph(body, GATE_SOURCES), no_gates)
    assert groups == ["f+a>a", "g+b+y>y"]
    assert "target: g: it has no gates [f]" in reasons(log)


def test_demands_keep_a_gate_apart() -> None:
    given = graph(f"{GATED}\nreturn y", GATE_SOURCES)
    assert fused(given, must_not_fuse=(("f", "g"),))[0] == ["f+a>a", "g+b+y>y"]
    assert fused(given, must_not_fuse=(("a", "b"),))[0] == ["f+a>a", "g+b+y>y"]
    assert fused(given, must_fuse=(("f", "g", "y"),))[0] == ["f+g+a+b+y>y"]


SEPARABLE = """
  input x: f64[1,4,8,8]
  input r: f64[1,4,8,8]
  param d: f64[4,1,3,3]
  param v: f64[4,4,1,1]
  param c: f64[4,1,1]
"""
DEPTHWISE = f"d1: {IMAGE} = conv2d(x, d, padding=(1, 1, 1, 1), groups=4)\nh: {IMAGE} = relu(d1)"


def separable(rest: str, supports: Supports = supports) -> tuple[list[str], list[str]]:
    groups, log = fused(graph(f"{DEPTHWISE}\n{rest}", SEPARABLE), supports)
    return groups, reasons(log)


def test_a_depthwise_convolution_is_the_head_of_a_chain() -> None:
    body = f"p: {IMAGE} = conv2d(h, v)\na: {IMAGE} = add(p, x)\ny: {IMAGE} = relu(a)\nreturn y"
    assert separable(body) == (["d1+h+p+a+y>y"], [])
    becomes(
        Fuse(supports),
        f"{DEPTHWISE}\np: {IMAGE} = conv2d(h, v)\nreturn p",
        f"p: {IMAGE} = fused(x, d, v) {{\n{DEPTHWISE}\np: {IMAGE} = conv2d(h, v)\nreturn p\n}}\n"
        "return p",
        SEPARABLE,
    )


def test_a_chain_has_one_head() -> None:
    body = f"""p: {IMAGE} = conv2d(h, v)
        d2: {IMAGE} = conv2d(p, d, padding=(1, 1, 1, 1), groups=4)
        q: {IMAGE} = conv2d(d2, v)
        z: {IMAGE} = conv2d(q, v)
        return z"""
    assert separable(body) == (["d1+h+p>p", "d2+q>q"], [])


def test_a_convolution_inside_a_chain_is_no_rival_for_a_residual() -> None:
    body = f"""p: {IMAGE} = conv2d(h, v)
        q: {IMAGE} = conv2d(r, v)
        y: {IMAGE} = add(p, q)
        return y, q"""
    assert separable(body) == (["d1+h+p+y>y"], [])


@pytest.mark.parametrize("rest", ["return p, h", f"z: {IMAGE} = softmax(h)\nreturn p, z"])
def test_a_head_that_is_read_elsewhere_stays_alone(rest: str) -> None:
    groups, told = separable(f"p: {IMAGE} = conv2d(h, v)\nq: {IMAGE} = relu(p)\n{rest}")
    assert groups[0] == "d1+h>h"
    assert told == ["triton: p: 'h' is read elsewhere too, and would stay in the kernel [d1, h]"]


def test_what_the_target_says_of_an_anchor_is_told_though_it_has_a_kernel() -> None:
    def dear(body: Graph) -> Refusal | None:
        joined = any(node.name == "d1" for node in body.nodes) and body.defines("p")
        return Refusal("target", "p", "is dear") if joined else None

    body = f"p: {IMAGE} = conv2d(h, v)\ny: {IMAGE} = relu(p)\nreturn y"
    assert separable(body, dear) == (["d1+h>h", "p+y>y"], ["target: p: is dear"])


def test_must_fuse_joins_a_head_to_its_anchor() -> None:
    body = f"{DEPTHWISE}\np: {IMAGE} = conv2d(h, v)\ny: {IMAGE} = tanh(h)\nreturn p, y"
    with pytest.raises(FusionRefused, match="'h' is read elsewhere too"):
        fused(graph(body, SEPARABLE), must_fuse=(("d1", "p"),))
    apart = f"{DEPTHWISE}\np: {IMAGE} = conv2d(h, v)\nreturn p"
    groups, _ = fused(graph(apart, SEPARABLE), must_not_fuse=(("d1", "p"),))
    assert groups == ["d1+h>h"]


def test_a_group_that_is_predicted_to_take_longer_is_not_made() -> None:
    """A kernel takes 2 us, and 3 for every node from the third on."""

    def time(body: Graph) -> float:
        return 2.0 + 3.0 * max(0, len(body.nodes) - 2)

    body = f"{CONV}\na: {IMAGE} = relu(h)\ny: {IMAGE} = tanh(a)\nreturn y"
    groups, log = fused(body, time=time)
    assert groups == ["h+a>a"]
    assert reasons(log) == [
        "fuse: y: in the kernel of 'h' both are predicted to take 5.0 us, and 2.0 and 2.0 us apart "
        "[h]"
    ]
    (chosen,) = log.of(Chosen)
    assert chosen.because == (
        "of 2 possible groups no other choice is predicted to take less than 4.0 us; a kernel for "
        "each node 6.0 us"
    )
    assert fused(body, time=time, must_fuse=(("h", "y"),))[0] == ["h+a+y>y"]


def test_without_predictions_the_bytes_decide() -> None:
    log = fused(f"{CONV}\ny: {IMAGE} = relu(h)\nreturn y")[1]
    (chosen,) = log.of(Chosen)
    assert chosen.chosen == (("h", "y"),)
    image = 4 * 8 * 8 * 8
    moved = f"moves fewer than {2 * image:,} bytes, of {4 * image:,}"
    assert chosen.because == f"of 1 possible group no other choice {moved}"


def test_what_is_demanded_is_said_beside_the_choice() -> None:
    log = fused(f"{CONV}\ny: {IMAGE} = relu(h)\nreturn y", must_not_fuse=(("h", "y"),))[1]
    assert log.of(Chosen) == []
    body = f"{CONV}\na: {IMAGE} = relu(h)\ny: {IMAGE} = tanh(h)\nreturn a, y"
    (chosen,) = fused(body, must_fuse=(("h", "y"),))[1].of(Chosen)
    assert chosen.because.startswith("of 2 possible groups, as is demanded, no other choice moves")
