"""The U-Nets against PyTorch; their figures are in test_published."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graphcnn import errors, models
from graphcnn.ir import node_cost
from tests.models.against_torch import assert_equals_torch

WIDTH = 8
CHANNELS = (WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)
# MACs of the paper's convolutions by level: down, bottom, up; a transposed one stands in front.
PAPER = [
    *((187_142_400, 11_893_211_136), (5_863_145_472, 11_560_550_400)),
    *((5_616_304_128, 10_909_384_704), (5_138_546_688, 9_663_676_416)),
    (4_246_732_800, 7_398_752_256),
    (1_644_167_168, 13_759_414_272, 6_379_536_384),
    (1_417_674_752, 12_273_057_792, 5_898_240_000),
    (1_310_720_000, 11_561_730_048, 5_664_669_696),
    (1_258_815_488, 11_214_028_800, 5_549_654_016),
    (19_269_632,),
]


def plain(before, filters):
    convs = nn.Conv2d(before, filters, 3), nn.Conv2d(filters, filters, 3)
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU())


def normed(before, filters, last=None):
    last = last or filters
    return nn.Sequential(
        *(nn.Conv2d(before, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()),
        *(nn.Conv2d(filters, last, 3, padding=1), nn.BatchNorm2d(last), nn.ReLU()),
    )


class UNet(nn.Module):
    """Its layers in the order of use."""

    def __init__(self, down, up):
        super().__init__()
        self.down = nn.ModuleList(down)
        self.up = nn.ModuleList(map(nn.ModuleList, up))
        self.scores = nn.Conv2d(WIDTH, 2, 1)

    def forward(self, x):
        skips = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for up, block in self.up:
            x, skip = up(x), skips.pop()
            top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], x.shape[2:], strict=True))
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = block(torch.cat([skip, x], 1))
        return self.scores(x)


def test_the_papers():
    module = UNet(
        map(plain, (1, *CHANNELS), (*CHANNELS, 16 * WIDTH)),
        [(nn.ConvTranspose2d(2 * c, c, 2, 2), plain(2 * c, c)) for c in CHANNELS[::-1]],
    )
    net = models.unet(size=188, width=WIDTH, seed=1)
    assert net.type_of("softmax").shape == (1, 2, 4, 4)
    assert_equals_torch(net, module)


def test_padded_with_batch_norm():
    module = UNet(
        map(normed, (3, *CHANNELS), (*CHANNELS, 16 * WIDTH)),
        [(nn.ConvTranspose2d(2 * c, c, 2, 2), normed(2 * c, c)) for c in CHANNELS[::-1]],
    )
    assert_equals_torch(models.unet_bn(2, size=32, width=WIDTH, seed=1), module)


def test_bilinear():
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    module = UNet(
        map(normed, (3, *CHANNELS), (*CHANNELS, CHANNELS[-1])),
        [(up, normed(2 * c, c, max(c // 2, WIDTH))) for c in CHANNELS[::-1]],
    )
    assert_equals_torch(models.unet_bilinear(2, size=32, width=WIDTH, seed=1), module)


def test_layers_of_the_papers(without_weights):
    net = models.unet()
    convs = [node for node in net.nodes if node.op.kind.name == "ANCHOR"]
    assert [node_cost(node, net).macs for node in convs] == [n for row in PAPER for n in row]
    assert len(convs) == 23
    margins = [node.op.start for node in net.nodes if node.op.name == "slice"]
    assert margins == [4, 4, 16, 16, 40, 40, 88, 88]
    assert net.type_of("softmax").shape == (1, 2, 388, 388)


def test_a_size_that_does_not_fit():
    with pytest.raises(errors.ShapeError):
        models.unet_bn(size=40)
