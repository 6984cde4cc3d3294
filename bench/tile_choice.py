"""What the model's choice of tiles costs, replayed on times that were measured.

    python -m bench.tile_choice [FILE.csv ...]

No GPU is needed. For every measured layer: by how much the tile that the model prefers, among those
that were measured, takes longer than the best of them. Replayed are this project's kernels on an
H200 (`bench/results/h200_tiles.json`), and files of CUTLASS's profiler on an RTX 3070, such as
those of the repository masahi/tvm-cutlass-eval: ResNet-50's layers at batch 256 in float16, by
tiles of 16-byte copies. The compiled code of CUTLASS is not at hand: an accumulator and 70
registers stand for what its kernels take, and the issue of instructions is left out.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from graphcnn.costs.counts import Count
from graphcnn.costs.devices import GPUS
from graphcnn.costs.tiles import Product, count_of, product_time
from graphcnn.costs.traits import traits_of
from graphcnn.kernels import ConvProblem, ConvTile, Pool, Pooled, Pressure, by_rule, choices

H200 = Path(__file__).parent / "results/h200_tiles.json"


class Layer(NamedTuple):
    """A layer's group, such as its network, the tile that the model takes, and microseconds of each
    tile: as measured, and as predicted."""

    group: tuple[Any, ...]
    picked: ConvTile
    measured: dict[ConvTile, float]
    predicted: dict[ConvTile, float]

    @property
    def loss(self) -> float:
        """How much longer the picked tile takes than the best, as a part."""
        return self.measured[self.picked] / min(self.measured.values()) - 1


@dataclass(frozen=True, slots=True)
class Replay:
    """What the choices cost.

    Attributes:
        layers: How many.
        mean: Of the losses, as parts.
        worst: Of the losses.
        off: Root mean square of the logarithms of predicted to measured times of all tiles.
        groups: The loss of the sum of each group's layers.
    """

    layers: int
    mean: float
    worst: float
    off: float
    groups: dict[tuple[Any, ...], float]

    @classmethod
    def of(cls, layers: list[Layer]) -> Replay:
        """Sum layers up."""
        losses = [layer.loss for layer in layers]
        logs = [
            math.log(layer.predicted[tile] / time)
            for layer in layers
            for tile, time in layer.measured.items()
        ]
        taken, best = defaultdict(float), defaultdict(float)
        for layer in layers:
            taken[layer.group] += layer.measured[layer.picked]
            best[layer.group] += min(layer.measured.values())
        return cls(
            len(layers),
            sum(losses) / len(losses),
            max(losses),
            math.sqrt(sum(log**2 for log in logs) / len(logs)),
            {group: taken[group] / best[group] - 1 for group in taken},
        )


def on_h200(dtype: str) -> Iterator[Layer]:
    """Every layer of VGG-16 and ResNet-50 on an H200 by this project's kernels, with the tiles that
    are listed; of those for the stems none was measured in float16, and none in parts.

    Predicted are the kernels that were measured, which took more registers and instructions behind
    their loops than those of today.
    """
    file, gpu = json.loads(H200.read_text()), GPUS["h200"]
    code, sizes = gpu.family.code, file["counts"][dtype]
    counts = {(code, dtype, size): Count(*taken) for size, taken in sizes.items()}

    def predicted(problem: Any, tile: Any) -> float:
        product = Product.of(problem, tile)
        count = count_of(product, tile, gpu, counts)
        return product_time(product, tile, gpu, count).microseconds

    traits = replace(traits_of(gpu), predicted=predicted)
    for row in file["rows"]:
        if row["dtype"] != dtype:
            continue
        problem = problem_of(row)
        times = row["microseconds"]
        names = {
            choice: "x".join(map(str, choice.tile[:5]))
            for choice in choices(problem, traits)
            if choice.tile.parts == 1
        }
        found = [choice for choice, name in names.items() if name in times]
        if found:
            picked = by_rule(problem, found, traits).tile
            measured = {choice.tile: times[names[choice]] for choice in found}
            told = {tile: predicted(problem, tile) for tile in measured}
            yield Layer((row["network"], row["batch"]), picked, measured, told)


def problem_of(row: dict[str, Any]) -> ConvProblem:
    """The layer of a row of `h200_tiles.json`."""
    names = ("dtype", "filters", "channels", "groups", "pixels")
    pooled = None
    if "max_pool2d" in row["label"]:
        side = math.isqrt(row["pixels"] // row["batch"])
        pooled = Pooled(Pool("max", (2, 2)), row["batch"], (side, side))
    return ConvProblem(
        *(row[name] for name in names),
        Pressure[row["pressure"]],
        pooled,
        taps=row["taps"],
        stride=row["stride"],
        beside=int("+add" in row["label"]),
    )


def of_cutlass(path: Path) -> Iterator[Layer]:
    """Every layer of a file of CUTLASS's profiler, by tiles with copies of 16 bytes."""
    gpu, found = GPUS["rtx3070"], defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["inst_k"] == "16" and row["Operation"].endswith("align8"):
                names = ("n", "h", "w", "c", "k", "r", "s", "p", "q", "stride_h", "stride_w")
                layer = (row["accum"], row["Output"][:3], *(int(row[name]) for name in names))
                warps = int(row["warps_m"]) * int(row["warps_n"])
                size = (int(row[name]) for name in ("cta_n", "cta_m", "cta_k"))
                found[layer][ConvTile(*size, warps, int(row["stages"]))] = float(row["Runtime"])
    for (accum, output, *sizes), times in found.items():
        # Sums in float16 come at twice the rate.
        own = replace(gpu, tensor=2 * gpu.tensor) if accum == "f16" else gpu
        predicted = {
            tile: product_time(_product(output, sizes, tile), tile, own, _taken(tile)).microseconds
            for tile in times
        }
        measured = {tile: 1e3 * time for tile, time in times.items()}
        yield Layer((accum,), min(predicted, key=lambda t: predicted[t]), measured, predicted)


def _product(output: str, sizes: list[int], tile: ConvTile) -> Product:
    n, _, _, c, k, r, s, p, q, down, right = sizes
    pixels, taps = n * p * q, r * s
    read = 2 * (pixels * min(taps, down * right) * c + k * taps * c)
    stored = pixels * k * (4 if output == "f32" else 2)
    computed = -(-pixels // tile.pixels) * tile.pixels
    return Product(k, computed, c, taps, 1, 2, read, stored, 0)


def _taken(tile: ConvTile) -> Count:
    return Count(min(255, tile.channels * tile.pixels // (32 * tile.num_warps) + 70), 0, 0)


def main() -> None:
    for dtype in ("f16", "f32"):
        show(f"H200, {dtype}", Replay.of(list(on_h200(dtype))))
    for path in map(Path, sys.argv[1:]):
        show(f"RTX 3070, {path.name}", Replay.of(list(of_cutlass(path))))


def show(title: str, replay: Replay) -> None:
    """Print a replay."""
    print(
        f"{title}: {replay.layers} layers; the model's first choice costs {replay.mean:.2%} on "
        f"average, {replay.worst:.1%} at worst; its times are {replay.off:.0%} off (rms)"
    )
    for group, loss in replay.groups.items():
        print("   ", *group, f"{loss:.2%}")


if __name__ == "__main__":
    main()
