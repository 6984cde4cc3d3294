"""Sound kernels, many of them: does verify ever raise an alarm?

    python bench/false_alarms.py [--groups N] [--seed N] [--target NAME] [--networks N]

Random networks of convolutions, linear layers, batch norms, activations, pools, residual sums and
concatenations are compiled and verified: float32, float16 and bfloat16 by turns, at batch 1 and 8.
A group is one node of a compiled graph on one draw of inputs and weights; the same networks come
back with new weights and inputs, so that kernels are compiled only once. Weights and inputs are
normal, positive, sorted or constant, large or tiny; in every other draw NaN, infinities, the
largest and the smallest numbers of the dtype and both zeros are among the inputs. Prints by dtype
how many groups there were, how many raised an alarm, and the largest share of its bound that an
error used. Exits with status 1 when there was an alarm.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict

import numpy as np
import torch

import graphcnn as gx
from graphcnn.frontend.expr import Tensor
from graphcnn.ir import Array, DType, Graph

DTYPES = ("float32", "float16", "bfloat16")
ACTIVATIONS = (gx.relu, gx.relu, gx.leaky_relu, gx.sigmoid, gx.tanh, gx.silu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--networks", type=int, default=24, help="different networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default="triton", choices=("triton", "library"))
    options = parser.parse_args()
    groups, alarms, share = Counter(), Counter(), defaultdict(float)
    start, number = time.monotonic(), 0
    while groups.total() < options.groups:
        structure = options.seed * options.networks + number % options.networks
        dtype, batch = DTYPES[structure % 3], (1, 8)[structure // 3 % 2]
        draw = np.random.default_rng((options.seed, number))
        graph = network(np.random.default_rng(structure), draw, dtype, batch)
        image = numbers(draw, graph.inputs[0].type.shape, dtype)
        if number // options.networks % 2:
            sprinkle(draw, image, dtype)
        model = gx.compile(graph, target=options.target, device="cpu")
        verdict = gx.verify(model, image=image)
        groups[dtype] += len(verdict.rows)
        if not verdict.ok:
            alarms[dtype] += max(1, sum(row.problem is not None for row in verdict.rows))
            print(f"network {structure}, draw {number}: {verdict.verdict}", flush=True)
        share[dtype] = max(share[dtype], *(row.worst.share for row in verdict.rows))
        number += 1
        if number % options.networks == 0:
            print(f"{groups.total()} groups, {alarms.total()} alarms", flush=True)
    for dtype in DTYPES:
        used = f"{100 * share[dtype]:.0f} % of a bound used"
        print(f"{dtype}: {groups[dtype]} groups, {alarms[dtype]} alarms, {used}")
    print(f"{groups.total()} groups, {number} draws, {time.monotonic() - start:.0f} s")
    print(f"{alarms.total()} false alarms")
    return int(alarms.total() > 0)


def network(rng: np.random.Generator, draw: np.random.Generator, dtype: str, batch: int) -> Graph:
    """A random network: its structure by one generator, its weights by another."""

    def weight(*shape: int) -> Array:
        size = np.prod(shape[1:], dtype=int)
        return DType.of(dtype).round(values(draw, shape) * np.sqrt(2 / size))

    def vector(size: int) -> Array:
        return draw.uniform(0.5, 1.5, size)

    def conv(x: Tensor) -> Tensor:
        channels, size = x.shape[1], min(x.shape[2:])
        kernel = int(rng.choice([k for k in (1, 1, 2, 3, 3, 5) if k <= size]))
        groups = int(rng.choice((1, 1, 1, channels)))
        filters = groups * int(rng.choice((1, 2))) if groups > 1 else int(rng.choice(WIDTHS))
        options = {"stride": int(rng.choice((1, 1, 2))), "padding": kernel // 2, "groups": groups}
        bias = vector(filters) - 1 if rng.random() < 0.5 else None
        return gx.conv2d(x, weight(filters, channels // groups, kernel, kernel), bias, **options)

    def norm(x: Tensor) -> Tensor:
        size = x.shape[1]
        return gx.batch_norm(x, vector(size) - 1, vector(size), vector(size), vector(size) - 1)

    def residual(x: Tensor) -> Tensor:
        channels = x.shape[1]
        h = gx.conv2d(x, weight(channels, channels, 3, 3), padding=1)
        return activation(gx.add(norm(h) if rng.random() < 0.5 else h, x))

    def pool(x: Tensor) -> Tensor:
        kernel = min(2, *x.shape[2:])
        return (gx.max_pool2d, gx.avg_pool2d)[rng.integers(2)](x, kernel)

    def activation(x: Tensor) -> Tensor:
        return ACTIVATIONS[rng.integers(len(ACTIVATIONS))](x)

    def concat(x: Tensor) -> Tensor:
        return gx.concat([x, activation(x)])

    def gate(x: Tensor) -> Tensor:
        channels = x.shape[1]
        mean = gx.global_avg_pool2d(x)
        return gx.mul(x, gx.sigmoid(gx.conv2d(mean, weight(channels, channels, 1, 1))))

    steps = (conv, conv, conv, norm, residual, residual, pool, activation, concat, gate)
    size = int(rng.choice((4, 7, 8, 12)))
    h: Tensor = gx.input("image", (batch, int(rng.choice(WIDTHS)), size, size), dtype)
    for _ in range(rng.integers(3, 9)):
        h = steps[rng.integers(len(steps))](h)
        h = activation(h) if rng.random() < 0.3 else h
    h = gx.flatten(h if rng.random() < 0.5 else gx.global_avg_pool2d(h))
    h = gx.linear(h, weight(10, h.shape[1]), vector(10) - 1)
    return gx.graph("random", (gx.softmax, gx.log_softmax)[rng.integers(2)](h))


WIDTHS = (1, 3, 8, 16, 17, 64, 128)


def numbers(draw: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """An input: of order 1, or near an end of the range of float16, or of all dtypes."""
    factor = draw.choice((1, 1, 1, 1e-3, 1e3, 1e-6, 1e-30 if dtype != "float16" else 1e-6))
    return DType.of(dtype).round(values(draw, shape) * factor)


def values(draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of order 1: mostly normal ones, or none below 0, in order, or all the same."""
    normal = draw.standard_normal(shape)
    match draw.integers(8):
        case 0:
            return np.abs(normal)
        case 1:
            return np.maximum(normal, 0)
        case 2:
            return np.sort(normal.reshape(shape[0], -1)).reshape(shape)
        case 3:
            return np.full(shape, normal.flat[0])
    return normal


def sprinkle(draw: np.random.Generator, image: Array, dtype: str) -> None:
    """Put special numbers at random places: several of them, or one."""
    info = torch.finfo(getattr(torch, dtype))
    tiny = info.smallest_normal
    special = (np.nan, np.inf, -np.inf, info.max, -info.max, tiny, tiny / 2, tiny * info.eps, -0.0)
    for value in draw.choice(special, draw.integers(1, 1 + len(special)), replace=False):
        image.flat[draw.integers(image.size)] = value


if __name__ == "__main__":
    sys.exit(main())
