"""Random graphs compiled fused, unfused and for the library, and run at several batch sizes."""

import random
from contextlib import suppress

import graphcnn as gx
from graphcnn.errors import GraphCNNError
from graphcnn.ir import rebatch, with_he_weights
from tests.fuzz.drawing import arrays, drawn
from tests.stepwise import check_model

TARGETS = ({}, {"fuse": False}, {"target": "library"})


def check(seed: int) -> str:
    """Every node within its bound; with infinities and NaN among the inputs, `verify` agrees."""
    choice = random.Random(seed)
    graph = with_he_weights(drawn(seed, ("float32", "float32", "float16", "bfloat16")))
    sizes = [graph]
    with suppress(GraphCNNError):  # some graphs have one batch size only
        sizes.append(rebatch(graph, choice.choice((1, 2, 3, 5))))
    refused = []
    for options in TARGETS:
        try:
            model = gx.compile(graph, device="cpu", **options)
        except GraphCNNError as error:
            refused.append(type(error).__name__)
            continue
        for size in sizes:
            check_model(model, arrays(size, seed, special=False))
            result = gx.verify(model, **arrays(size, seed, special=True))
            # oneDNN makes NaN of an infinity's neighbours in some convolutions of bfloat16.
            right = result.ok or model.target.name == "library"
            assert right, f"{options}: verify fails\n{result}"
    return f"refused: {', '.join(refused)}" if refused else "three models agree"
