"""Published points beside what the model predicts: the tables of `docs/predicted.md`.

    python -m bench.predicted

No GPU is needed, and nothing is measured here. Prints Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import graphcnn as gx
from bench.tile_choice import Replay, on_h200
from graphcnn.costs.devices import GPUS
from graphcnn.ir import rebatch
from graphcnn.kernels import Choice, stem_conv2d
from graphcnn.models import layers
from graphcnn.report.estimation import predict
from graphcnn.targets.policy import Noting

AITEMPLATE = "AITemplate"
THIS = "this project"
PUBLISHED = "published"
HEAD = "| network | GPU | batch | took, ms | by | predicted, ms | error |"


class Point(NamedTuple):
    """A network in float16, and the milliseconds that somebody measured."""

    network: str
    device: str
    batch: int
    milliseconds: float
    by: str


POINTS = (
    Point("resnet50", "a100", 1, 0.58, AITEMPLATE),
    Point("resnet50", "a100", 32, 2.40, AITEMPLATE),
    Point("vgg16", "t4", 1, 2.50, PUBLISHED),
    Point("vgg16", "h200", 1, 0.30, THIS),
    Point("vgg16", "h200", 8, 0.66, THIS),
    Point("vgg16", "h200", 32, 1.93, THIS),
    Point("resnet50", "h200", 1, 0.31, THIS),
    Point("resnet50", "h200", 8, 0.54, THIS),
    Point("resnet50", "h200", 32, 1.29, THIS),
)


class AsMeasured(Noting):
    """The kernels that there were when the H200 was measured: no reduction in parts, no stem whose
    filter's rows are runs."""

    def allows(self, choice: Choice) -> bool:
        """Whether it was there."""
        return choice.tile.parts == 1 and choice.launch is not stem_conv2d


def rows() -> Iterator[str]:
    """A row of the first table for each point."""
    graphs = {name: types_alone(name) for name in {point.network for point in POINTS}}
    for point in POINTS:
        graph = rebatch(graphs[point.network], point.batch)
        noting = AsMeasured() if point.by == THIS else Noting()
        found = predict(graph, GPUS[point.device], noting)
        predicted = found.total.microseconds / 1e3
        error = predicted / point.milliseconds - 1
        yield (
            f"| {point.network} | {point.device} | {point.batch} | {point.milliseconds:.2f} | "
            f"{point.by} | {predicted:.2f} | {error:+.0%} |"
        )


def types_alone(name: str) -> gx.Graph:
    """A built-in network in float16 whose weights have no numbers: nobody reads them here."""
    seeded = layers.with_he_weights
    layers.with_he_weights = lambda graph, seed: graph  # type: ignore[assignment]
    try:
        return gx.models.build(name, 1, "float16")
    finally:
        layers.with_he_weights = seeded


def choice_rows() -> Iterator[str]:
    """A row of the second table for each dtype."""
    for dtype in ("f16", "f32"):
        replay = Replay.of(list(on_h200(dtype)))
        worst = max(replay.groups.values())
        yield (
            f"| H200, this project's kernels, {dtype} | {replay.layers} | {replay.mean:.2%} | "
            f"{replay.worst:.1%} | {worst:.1%} | {replay.off:.0%} |"
        )


def main() -> None:
    print(HEAD, "|---" * 7 + "|", *rows(), "", *choice_rows(), sep="\n")


if __name__ == "__main__":
    main()
