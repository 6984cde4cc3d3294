"""Published figures of the built-in networks, which a reader may hold the graphs against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """What a source says of a network with its default options.

    Attributes:
        params: Trainable parameters: running statistics are none.
        macs: Multiply-accumulates of the convolutions and linear layers for one input.
        source: Who says so, or what was counted.
        unit: What `macs` is rounded to.
    """

    params: int
    macs: int
    source: str
    unit: int = 1


def _torchvision(params: int, megamacs: int) -> Published:
    return Published(params, megamacs * 10**6, "torchvision's num_params and _ops", 10**6)


def _layers(params: int, macs: int, source: str) -> Published:
    return Published(params, macs, f"the layers of {source}")


PUBLISHED = {
    "vgg11": _torchvision(132_863_336, 7_609),
    "vgg13": _torchvision(133_047_848, 11_308),
    "vgg16": _torchvision(138_357_544, 15_470),
    "vgg19": _torchvision(143_667_240, 19_632),
    "vgg11_bn": _torchvision(132_868_840, 7_609),
    "vgg13_bn": _torchvision(133_053_736, 11_308),
    "vgg16_bn": _torchvision(138_365_992, 15_470),
    "vgg19_bn": _torchvision(143_678_248, 19_632),
    "resnet18": _torchvision(11_689_512, 1_814),
    "resnet34": _torchvision(21_797_672, 3_664),
    "resnet50": _torchvision(25_557_032, 4_089),
    "resnet101": _torchvision(44_549_160, 7_801),
    "resnet152": _torchvision(60_192_808, 11_514),
    "alexnet_2012": _layers(60_965_224, 724_406_816, "the paper (60 million parameters)"),
    "alexnet_ungrouped": _layers(62_378_344, 1_135_256_096, "its Keras ports (62.4 million)"),
    "alexnet": _torchvision(61_100_840, 714),
    "squeezenet1_1": _torchvision(1_235_496, 349),
    "densenet121": _torchvision(7_978_856, 2_834),
    "mobilenet_v2": _torchvision(3_504_872, 301),
    "unet": _layers(31_030_658, 150_428_424_448, "the paper (31.03 million parameters)"),
    "unet_bn": _layers(31_043_586, 48_171_581_440, "Pytorch-UNet (31.04 million)"),
    "unet_bilinear": _layers(17_267_458, 39_984_300_032, "Pytorch-UNet (17.3 million)"),
    "deep_autoencoder": _layers(2_837_314, 2_833_000, "the paper"),
    "conv_autoencoder": _layers(4_385, 751_680, "the Keras blog, which counts the parameters"),
    "vae": _layers(652_824, 651_200, "pytorch/examples"),
    "vae_conv": _layers(134_165, 6_660_928, "the Keras example (69,076 + 65,089 parameters)"),
    "vanilla_vae": _layers(3_937_635, 52_396_032, "PyTorch-VAE"),
    "tcn": _layers(66_510, 51_607_050, "the paper (about 70,000 parameters), causal and folded"),
    "wavenet": _layers(556_864, 558_891_008, "the paper, those that are read"),
}
