"""`torch.compile(model, backend="graphcnn")`: equal to torch; what stays with torch says why."""

import subprocess
import sys

import pytest
import torch
import torch.fx.experimental._config as shape_config
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.functional import conv2d, dropout
from torch.utils._pytree import tree_leaves

import graphcnn as gx
from graphcnn import errors
from graphcnn.torch_backend import region


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def compiled(function, **kwargs):
    return torch.compile(function, backend="graphcnn", **kwargs)


def assert_same(found, wanted):
    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert len(found) == len(wanted)
    for ours, torchs in zip(found, wanted, strict=True):
        if isinstance(torchs, torch.Tensor):
            assert (ours.dtype, ours.shape, ours.stride()) == (
                torchs.dtype,
                torchs.shape,
                torchs.stride(),
            )
            within = 1e-4 * float(torchs.double().abs().max()) if torchs.numel() else 0
            torch.testing.assert_close(ours, torchs, atol=within, rtol=0)
        else:
            assert ours == torchs


def reasons(report):
    return [piece.because for graph in report.graphs for piece in graph.pieces if piece.because]


def network():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)).eval()


WEIGHTS = [name for name in network().state_dict() if not name.endswith("tracked")]


def image(batch=2):
    return torch.randn(batch, 3, 10, 12)


CONV = nn.Conv2d(3, 4, 3)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
        self.second = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3))

    def forward(self, x):
        return self.second(self.first(x)).relu()


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


def test_batches_without_a_trace_of_their_own():
    model = network()
    made = compiled(model)
    # torch 2.11 traces a convolution of a single sample apart.
    apart = int(torch.__version__.startswith("2.11."))
    with torch.no_grad(), shape_config.patch(backed_size_oblivious=True):
        for batch in (1, 2, 7, 8):
            x = image(batch)
            torch._dynamo.mark_dynamic(x, 0)
            with torch._dynamo.config.patch(error_on_recompile=batch > 1 + apart):
                assert_same(made(x), model(x))
    assert counters["stats"]["unique_graphs"] == 1 + apart
    graphs = gx.explain(made).graphs
    assert [piece.runs for graph in graphs for piece in graph.pieces] == ["graphcnn"] * (1 + apart)


def test_dynamic_keeps_the_other_sizes():
    model = network()
    made = compiled(model, dynamic=True)
    with torch.no_grad():
        for batch in (2, 7, 8):
            x = image(batch)
            with torch._dynamo.config.patch(error_on_recompile=batch > 2):
                assert_same(made(x), model(x))
        wider = torch.randn(2, 3, 10, 20)  # another size of maps is another trace
        assert_same(made(wider), model(wider))
    assert counters["stats"]["unique_graphs"] == 2


def test_a_batch_that_is_a_number_has_a_plan_of_its_own():
    def function(x):
        return x.relu() * x.shape[0]

    made = compiled(function, dynamic=True)
    for batch in (2, 7, 2):
        x = image(batch)
        assert_same(made(x), function(x))
    assert counters["stats"]["unique_graphs"] == 1


def test_a_region_is_one_plan_for_all_batches_and_holds_the_weights(monkeypatch):
    made = []

    def compile(graph, **kwargs):
        made.append(graph)
        return gx.compile(graph, **kwargs)

    monkeypatch.setattr(region, "compile", compile)
    model = network()
    predict = compiled(model, dynamic=True)
    with torch.no_grad():
        for batch in (2, 7, 8):
            predict(image(batch))
    (graph,) = made
    assert len(graph.inputs) == 1
    assert {param.name for param in graph.params} == {f"_{name}" for name in WEIGHTS}


def test_a_region_that_sees_twice_the_batch():
    def function(x):
        stacked = torch.einsum("nchw->cnhw", torch.cat([x, x * 2])).transpose(0, 1)
        return torch.cumsum(stacked, 1).relu() * 3

    made = compiled(function, dynamic=True)
    for batch in (2, 7):
        x = image(batch)
        assert_same(made(x), function(x))
    assert gx.explain(made).regions == 2
    assert counters["stats"]["unique_graphs"] == 1


def test_gradients_are_torchs():
    model = network()
    made = compiled(model)
    x = image().requires_grad_()
    made(x).sum().backward()
    found = [x.grad.clone(), *(p.grad.clone() for p in model.parameters())]
    x.grad = None
    model.zero_grad()
    model(x).sum().backward()
    for ours, torchs in zip(found, [x.grad, *(p.grad for p in model.parameters())], strict=True):
        assert torch.equal(ours, torchs)
    report = gx.explain(made)
    assert report.regions == 0
    assert "a gradient could be asked for" in str(reasons(report))
    assert "6 parameters require one" in str(reasons(report))
    with torch.no_grad():
        made(x)
    assert gx.explain(made).regions == 1


def test_no_grad_inside_of_a_function():
    model, x = network(), image()

    @torch.no_grad()
    def predict(x):
        return model(x)

    made = compiled(predict)
    assert_same(made(x), predict(x))
    assert gx.explain(made).regions == 1


def test_gradients_inside_of_a_function():
    @torch.no_grad()
    def function(x):
        with torch.enable_grad():
            return CONV(x)

    made = compiled(function)
    assert made(image()).requires_grad
    assert gx.explain(made).regions == 0


def test_gradients_of_an_input():
    made = compiled(lambda x: x.relu() * 2)
    x = image().requires_grad_()
    made(x).sum().backward()
    assert torch.equal(x.grad, 2 * (x > 0))
    assert "an input requires one" in str(reasons(gx.explain(made)))


def test_inference_mode():
    model, x = network(), image()
    made = compiled(model)
    with torch.inference_mode():
        assert_same(made(x), model(x))
        assert_same(made(x), model(x))
    assert gx.explain(made).regions == 1


def test_training_mode_stays_with_torch():
    model, x = network().train(), image()
    made = compiled(model)
    before = model[1].running_mean.clone()
    with torch.no_grad():
        made(x)
    assert not torch.equal(model[1].running_mean, before)
    assert reasons(gx.explain(made)) == [
        "it writes to its inputs, or to the state of a module in training"
    ]


def test_autocast_stays_with_torch():
    x = image()
    made = compiled(CONV)
    with torch.no_grad(), torch.autocast("cpu"):
        assert made(x).dtype is torch.bfloat16
    assert reasons(gx.explain(made)) == ["it runs under autocast"]


def _stepped(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _one_element(model):
    model[0].weight.data[0, 0, 0, 0] += 5


def _in_inference_mode(model):
    with torch.inference_mode():
        model[0].weight.fill_(0.5)


CHANGES = {
    "optimizer": _stepped,
    "data": lambda model: model[0].weight.data.copy_(torch.ones(8, 3, 3, 3)),
    "one element": _one_element,
    "numpy": lambda model: model[0].weight.detach().numpy().fill(0.5),
    "dlpack": lambda model: torch.from_dlpack(model[0].weight.detach()).fill_(0.5),
    "inference mode": _in_inference_mode,
    "state dict": lambda model: model.load_state_dict(network().state_dict()),
    "buffer": lambda model: model[1].running_var.fill_(9.0),
    "exchanged": lambda model: setattr(model[5], "weight", nn.Parameter(torch.ones(5, 32))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_seen(change):
    model, x = network(), image()
    made = compiled(model)
    with torch.no_grad():
        before = made(x)
    CHANGES[change](model)
    with torch.no_grad():
        after = made(x)
        assert not torch.allclose(before, after)
        assert_same(after, model(x))


def test_changed_weights_in_another_layout_are_seen():
    model, x = network().to(memory_format=torch.channels_last), image()
    made = compiled(model)
    with torch.no_grad():
        made(x)
        model[0].weight.data[7, 2, 2, 2] += 5
        assert_same(made(x), model(x))


def test_weights_that_are_inference_tensors_are_compared():
    with torch.inference_mode():
        model, x = network(), image()
        made = compiled(model)
        assert_same(made(x), model(x))
        model[0].weight.mul_(2)
        assert_same(made(x), model(x))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_keep_the_plan(change, monkeypatch):
    model, x = network(), image()
    made = compiled(model)
    with torch.no_grad():
        made(x)
        monkeypatch.setattr(region, "compile", pytest.fail)
        for turn in range(2):
            CHANGES[change](model)
            model[0].bias.fill_(turn)
            assert_same(made(x), model(x))


def test_what_is_computed_of_weights_is_computed_anew(monkeypatch):
    model, x = Normed().eval(), image()
    made = compiled(model)
    with torch.no_grad():
        made(x)
        monkeypatch.setattr(region, "compile", pytest.fail)
        for parameter in model.parameters():
            parameter.data.mul_(1.5).add_(0.1)
        assert_same(made(x), model(x))


def test_every_plan_of_a_region_is_refit(monkeypatch):
    model = nn.Conv2d(3, 4, 3).eval()
    made = compiled(lambda x: model(x) * x.shape[0], dynamic=True)
    with torch.no_grad():
        for turn in range(2):
            for batch in (2, 7):
                x = image(batch)
                assert_same(made(x), model(x) * batch)
            model.weight.add_(turn + 1)
            monkeypatch.setattr(region, "compile", pytest.fail)


class Shifted(nn.Module):
    """Zeros that are added leave the plan; numbers do not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("shift", torch.zeros(4, 1, 1))

    def forward(self, x):
        return (self.conv(x).relu() + self.shift).sigmoid()


def test_a_plan_that_depends_on_the_weights_is_made_anew():
    model, x = Shifted().eval(), image()
    made = compiled(model)
    with torch.no_grad():
        for value in (0.0, 1.0, 0.0):
            model.shift.fill_(value)
            assert_same(made(x), model(x))
        assert gx.explain(made).regions == 1
        model.shift.fill_(float("nan"))
        assert made(x).isnan().all()
        assert "NaN" in str(reasons(gx.explain(made)))
        model.shift.fill_(2.0)
        assert_same(made(x), model(x))
    assert reasons(gx.explain(made)) == []


def test_weights_that_are_not_finite_stay_with_torch():
    model, x = network(), image()
    with torch.no_grad():
        model[0].weight[0] = float("nan")
        made = compiled(model)
        found = made(x)
    assert found.isnan().any()
    assert "NaN" in str(reasons(gx.explain(made)))


def test_explain_as_text():
    made = compiled(lambda x: torch.einsum("nchw->nc", CONV(x).relu()))
    with torch.no_grad():
        made(image())
    text = " ".join(str(gx.explain(made)).split())
    assert "1 graphs, 1 regions as plans of graphcnn" in text
    assert "aten.conv2d.default, aten.relu.default" in text
    assert "graphcnn has no such operator" in text


def test_explain_of_what_was_not_called():
    told = gx.explain(compiled(network()))
    assert told.graphs == ()
    assert "call it first" in str(told)
    for other in (3, [], network()):
        with pytest.raises(errors.InputKindError, match="compiled model"):
            gx.explain(other)


def test_explain_of_a_module_that_compiles_itself():
    model, x = Shifted().eval(), image()
    with pytest.raises(errors.InputKindError, match="compiled model"):
        gx.explain(model)
    model.compile(backend="graphcnn")
    assert "call it first" in str(gx.explain(model))
    with torch.no_grad():
        assert_same(model(x), model.forward(x))
    told = gx.explain(model)
    assert (told.name, told.regions) == ("Shifted", 1)


def test_explain_as_data():
    made = compiled(network())
    with torch.no_grad():
        made(image())
    (graph,) = gx.explain(made).to_json()["graphs"]
    (piece,) = graph["pieces"]
    assert piece["runs"] == "graphcnn"
    assert piece["kernels"] > 0


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
    with pytest.raises(Exception, match="the backend has no modes and no options"):
        compiled(CONV, options={"fast": True})(image())


def test_torch_finds_the_backend_by_itself():
    code = "import torch; assert 'graphcnn' in torch._dynamo.list_backends()"
    subprocess.run([sys.executable, "-c", code], check=True)
