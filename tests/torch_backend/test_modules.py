"""Modules of torch's own: equal to torch through the backend, whether graphcnn has them or not."""

import threading

import pytest
import torch
from torch import nn

import graphcnn as gx
from tests.torch_backend.compared import assert_same, compiled, network, reasons

IMAGE, SEQUENCE, ROWS = (2, 4, 8, 8), (2, 4, 12), (3, 8)
# By the modules: the shape of what they take, and how many regions of ours there are.
MODULES = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), SEQUENCE, 1),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 1), dilation=2, groups=2), IMAGE, 1),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), IMAGE, None),
    "conv3d": (lambda: nn.Conv3d(4, 2, 3), (2, 4, 5, 5, 5), 0),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), IMAGE, 1),
    "max_pool2d": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGE, 1),
    "max_pool2d places": (lambda: nn.MaxPool2d(2, return_indices=True), IMAGE, 0),
    "avg_pool2d": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE, 1),
    "adaptive pools": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(2)),
        IMAGE,
        1,
    ),
    "group_norm": (lambda: nn.GroupNorm(2, 4), IMAGE, 1),
    "layer_norm": (lambda: nn.LayerNorm(8), IMAGE, 1),
    "instance_norm": (lambda: nn.InstanceNorm2d(4, affine=True), IMAGE, 1),
    "local_response_norm": (lambda: nn.LocalResponseNorm(3), IMAGE, 1),
    "activations": (
        lambda: nn.Sequential(nn.PReLU(4), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.Softmax(1)),
        IMAGE,
        1,
    ),
    "upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE, 1),
    "bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE, 1),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), IMAGE, None),
    "unfold": (lambda: nn.Unfold(2), IMAGE, None),
    "pads": (lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.ZeroPad2d((1, 0, 2, 0))), IMAGE, 1),
    "linear": (lambda: nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), ROWS, 1),
    "bilinear": (lambda: _Twice(nn.Bilinear(8, 8, 3)), ROWS, None),
    "lstm": (lambda: nn.LSTM(12, 5), SEQUENCE, 0),
    "attention": (lambda: nn.TransformerEncoderLayer(12, 3, 16), SEQUENCE, None),
    "unflatten": (lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten(0, 1)), ROWS, 0),
}


class _Twice(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x, x)


@pytest.mark.parametrize("name", MODULES)
def test_equal_to_torch(name):
    make, shape, regions = MODULES[name]
    model, x = make().eval(), torch.randn(shape)
    made = compiled(model)
    with torch.no_grad():
        assert_same(made(x), model(x))
    told = gx.explain(made)
    assert regions is None or told.regions == regions, str(told)


def test_dropout_in_training_draws_as_torch_does():
    model, x = (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout(), nn.ReLU()).train(),
        torch.randn(IMAGE),
    )
    made = compiled(model)
    with torch.no_grad():
        made(x)
        torch.manual_seed(1)
        found = made(x)
        torch.manual_seed(1)
        assert_same(found, model(x))
    assert reasons(gx.explain(made))


def test_random_numbers_come_in_the_order_of_torch():
    def function(x):
        y = nn.functional.dropout(x.relu(), 0.5, training=True)
        return y * torch.rand(8) + 1

    x, made = torch.randn(IMAGE), compiled(function)
    made(x)
    torch.manual_seed(1)
    found = made(x)
    torch.manual_seed(1)
    assert_same(found, function(x))
    assert reasons(gx.explain(made)) == ["it draws random numbers twice, and their order counts"]


def test_half_precision():
    model, x = nn.Conv2d(4, 6, 3).half(), torch.randn(IMAGE).half()
    made = compiled(model)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), atol=2e-3, rtol=2e-3)
    assert gx.explain(made).regions == 1


def test_threads_take_turns():
    model = network()
    made = compiled(model, dynamic=True)
    images = [torch.randn(2 + n, 3, 10, 12) for n in range(4)]
    found = [None] * 4

    def call(n):
        with torch.no_grad():
            for _ in range(5):
                found[n] = made(images[n])

    call(0)
    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.no_grad():
        for image, ours in zip(images, found, strict=True):
            assert_same(ours, model(image))
