"""Canonical networks as graphs."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from graphcnn.errors import InvalidAttribute, UnknownModel, shown
from graphcnn.ir.graph import Graph
from graphcnn.models.alexnet import alexnet, alexnet_2012, alexnet_ungrouped
from graphcnn.models.autoencoder import conv_autoencoder, deep_autoencoder
from graphcnn.models.densenet import densenet121
from graphcnn.models.lenet import lenet, mnist_sample
from graphcnn.models.mobilenet import mobilenet_v2
from graphcnn.models.published import PUBLISHED, Published
from graphcnn.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from graphcnn.models.squeezenet import squeezenet1_1
from graphcnn.models.tcn import tcn
from graphcnn.models.unet import unet, unet_bilinear, unet_bn
from graphcnn.models.vae import vae, vae_conv, vanilla_vae
from graphcnn.models.vgg import (
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from graphcnn.models.wavenet import wavenet

MODELS: dict[str, Callable[..., Graph]] = {
    build.__name__: build
    for build in (
        lenet,
        *(vgg11, vgg13, vgg16, vgg19),
        *(vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn),
        *(resnet18, resnet34, resnet50, resnet101, resnet152),
        *(alexnet_2012, alexnet_ungrouped, alexnet, squeezenet1_1, densenet121, mobilenet_v2),
        *(unet, unet_bn, unet_bilinear, deep_autoencoder, conv_autoencoder),
        *(vae, vae_conv, vanilla_vae, tcn, wavenet),
    )
}

__all__ = [
    "MODELS",
    "PUBLISHED",
    "Published",
    "alexnet",
    "alexnet_2012",
    "alexnet_ungrouped",
    "build",
    "conv_autoencoder",
    "deep_autoencoder",
    "densenet121",
    "lenet",
    "mnist_sample",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "squeezenet1_1",
    "tcn",
    "unet",
    "unet_bilinear",
    "unet_bn",
    "vae",
    "vae_conv",
    "vanilla_vae",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wavenet",
]


def build(name: str, batch: int = 1, dtype: str = "float32", **options: Any) -> Graph:
    """A built-in network by name.

    Args:
        name: A key of `MODELS`.
        batch: Images per call.
        dtype: Element type of the image and the weights.
        options: What the builder of that network takes besides.

    Raises:
        UnknownModel: for another name.
        InvalidAttribute: for an option that the network does not have, or an impossible size.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise UnknownModel(
            f"there is no built-in network {shown(name)}",
            got=shown(name),
            wanted=", ".join(MODELS),
            remedy="use one of these names, or the path of a text graph",
        )
    try:
        signature(MODELS[name]).bind(batch, dtype, **options)
    except TypeError as error:
        raise InvalidAttribute(
            f"the network '{name}' has no such option",
            got=str(error),
            wanted=str(signature(MODELS[name])),
            remedy="leave it out",
        ) from None
    return MODELS[name](batch, dtype, **options)
