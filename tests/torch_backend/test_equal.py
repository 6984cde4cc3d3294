"""What a compiled function returns is what torch returns: numbers, dtypes, strides, memory."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, dropout

import graphcnn as gx
from graphcnn import errors
from graphcnn.torch_backend import region
from tests.torch_backend.compared import (
    CONV,
    Normed,
    assert_same,
    compiled,
    image,
    network,
    reasons,
)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)])
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x) * self.scale
        return {"out": x, "pair": (x.mean((2, 3)), x.shape[0])}


CASES = {
    "network": (network(), 1, []),
    "parametrised": (Normed().eval(), 1, []),
    "module list, dict": (Scaled().eval(), 1, []),
    "in place": (lambda x: CONV(x).relu_().add_(1).mul_(2), 1, []),
    "chunks": (lambda x: [part.relu() for part in CONV(x).chunk(2, 1)], 1, []),
    "writes to a dropout": (lambda x: dropout(CONV(x), 0.5, False).add_(x.mean()).relu(), 1, []),
    "dropouts that drop nothing": (
        lambda x: dropout(dropout(CONV(x), 0.5, False).relu(), 0.5, False),
        1,
        [],
    ),
    "truth values": (lambda x: (x > 0, torch.where(x > 0.1, x, -x)), 1, []),
    "constants": (lambda x: conv2d(x, torch.ones(2, 3, 1, 1)) * torch.tensor([2.0]), 1, []),
    "einsum between": (
        lambda x: torch.einsum("nchw,nchw->nc", CONV(x), CONV(x).relu()).relu() * 3,
        2,
        ["graphcnn has no such operator"],
    ),
    "top of a network": (
        lambda x: torch.topk(CONV(x).flatten(1), 3),
        1,
        ["graphcnn has no such operator"],
    ),
    "views of an input": (
        lambda x: (x.view(-1), x[:, :2], dropout(x, 0.5, False), x + 1),
        1,
        ["it returns a view of an input"],
    ),
    "float64": (lambda x: x.double() * 2, 0, ["a result in torch.float64", "no kernel for cpu"]),
    "random": (lambda x: CONV(x) + torch.rand(1), 1, ["random numbers"]),
    "without elements": (lambda x: CONV(x[:0]), 0, ["an empty slice", "without elements"]),
    "torch.cond": (
        lambda x: torch.cond(x.sum() > 0, torch.relu, torch.abs, (CONV(x),)),
        1,
        ["no operator of ATen's"],
    ),
    "numbers of the batch": (lambda x: x.reshape(x.shape[0] // 2, 2, -1) * x.shape[0], 1, []),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_torch(case):
    function, regions, because = CASES[case]
    x = image(4)
    made = compiled(function)
    with torch.no_grad():
        made(x)
        for call in range(2):
            torch.manual_seed(call)
            found = made(x)
            torch.manual_seed(call)
            assert_same(found, function(x))
    report = gx.explain(made)
    assert report.regions == regions
    for reason, told in zip(because, reasons(report), strict=True):
        assert reason in told


@pytest.mark.parametrize("channels_last", [False, True])
def test_strides_are_those_of_torch(channels_last):
    x = image()
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for function in (lambda x: CONV(x).relu(), lambda x: CONV(x).relu().transpose(1, 2)):
            assert_same(compiled(function)(x), function(x))


def test_results_that_share_memory_still_do():
    def function(x):
        y = x * 2
        return y, y.view(-1), x[:, :1]

    x = image()
    y, flat, part = compiled(function)(x)
    flat[0] = 7
    part[0] = 9
    assert y.flatten()[0] == 7
    assert x[0, 0, 0, 0] == 9


def test_graph_breaks_leave_the_rest_to_us():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x):
            y = self.first(x).relu()
            torch._dynamo.graph_break()
            return self.second(y).sigmoid()

    model, x = Broken().eval(), image()
    made = compiled(model)
    with torch.no_grad():
        assert_same(made(x), model(x))
    report = gx.explain(made)
    assert [len(graph.pieces) for graph in report.graphs] == [1, 1]
    assert report.regions == 2


def test_control_flow_on_values():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = (nn.Conv2d(3, 3, k, padding=k // 2) for k in (3, 3, 1))

        def forward(self, x):
            y = self.stem(x).relu()
            if y.mean() > 1:
                return self.one(y)
            return self.two(y)

    model = Branching().eval()
    made = compiled(model)
    with torch.no_grad():
        for x in (image(), 20 * image()):
            assert_same(made(x), model(x))
    report = gx.explain(made)
    assert report.regions == 3
    assert reasons(report) == []


def test_a_callable_that_cannot_be_remembered():
    class Doubling:
        __slots__ = ()
        __hash__ = None

        def __call__(self, x):
            return x * 2

    x = image()
    assert_same(compiled(Doubling())(x), x * 2)


def test_what_the_user_has_to_know_is_raised(monkeypatch):
    def compile(graph, **kwargs):
        raise errors.MissingCompiler("there is no C compiler", remedy="install one")

    monkeypatch.setattr(region, "compile", compile)
    with torch.no_grad(), pytest.raises(errors.MissingCompiler, match="no C compiler"):
        compiled(network())(image())


def test_options_are_refused():
    with pytest.raises(Exception, match="the backend has no modes, and one option"):
        compiled(CONV, options={"fast": True})(image())
    with pytest.raises(Exception, match="there is no such precision"):
        compiled(CONV, options={"precision": "fast"})(image())


def test_the_precision_is_an_option():
    x = image()
    with torch.no_grad():
        exact = deepcopy(CONV).double()(x.double())
        off = [
            float((compiled(CONV, options={"precision": word})(x) - exact).norm() / exact.norm())
            for word in ("tf32x3", "tf32")
        ]
    assert off[0] < 1e-6
    assert 1e-5 < off[1] < 1e-3


def test_torch_finds_the_backend_by_itself():
    code = "import torch; assert 'graphcnn' in torch._dynamo.list_backends()"
    subprocess.run([sys.executable, "-c", code], check=True)
