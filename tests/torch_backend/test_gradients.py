"""Where a gradient could be asked for, and in training, all stays with torch."""

import torch

import graphcnn as gx
from tests.torch_backend.compared import CONV, assert_same, compiled, image, network, reasons


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
