"""Weights stay the module's own: a change is seen, and refits the plans."""

import pytest
import torch
from torch import nn

import graphcnn as gx
from graphcnn.torch_backend import region
from tests.torch_backend.compared import (
    Normed,
    Shifted,
    assert_same,
    compiled,
    image,
    network,
    reasons,
)


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
