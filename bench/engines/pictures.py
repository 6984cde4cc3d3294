"""Pictures of the results, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.engines.cases import SCALING, SIDE_BY_SIDE, Case
from bench.engines.results import Inside, Machine, Memory, Results, SideBySide
from graphcnn.runtime.timing import three_digits

mpl.use("Agg")
# M. Okabe and K. Ito, Color Universal Design, 2008: told apart by all kinds of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
GREY = "#999999"
FUSED, UNFUSED = "graphcnn fused", "graphcnn unfused"
COLOURS = {FUSED: RED, UNFUSED: ORANGE, "ONNX Runtime": BLUE, "torch eager": BLACK}
MARKERS = {FUSED: "o", UNFUSED: "s", "ONNX Runtime": "^", "torch eager": "v"}
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"}
AXES = {
    "batch": "images per call",
    "size": "height and width of the image, pixels",
    "depth": "layers of the ResNet",
    "threads": "threads",
}


def draw(results: Results, folder: Path) -> list[str]:
    """Draw all there is something for; the names of the files, without their endings."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = results.machine
    assert machine is not None
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        full = [found for found in results.cases if found.case in SIDE_BY_SIDE]
        for kind in dict.fromkeys((found.case.dtype, found.case.batch) for found in full):
            cases = [found for found in full if (found.case.dtype, found.case.batch) == kind]
            drawn["engines_{}_b{}".format(*kind)] = _engines(cases, machine)
        for inside in results.insides:
            drawn[f"layers_{inside.case.network}"] = _layers(inside, machine)
        if results.insides:
            drawn["memory"] = _memory(results.insides, machine)
            drawn["roofline"] = _roofline(results.insides, machine)
        if any(len(_known(results, cases)) > 1 for cases in SCALING.values()):
            drawn["scaling"] = _scaling(results, machine)
        for name, figure in drawn.items():
            figure.savefig(folder / f"{name}.png", dpi=110)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
    return list(drawn)


def _title(figure: Figure, what: str, dates: Sequence[str], machine: Machine) -> None:
    days = sorted({date[:10] for date in dates})
    when = days[0] if len(days) == 1 else f"{days[0]} .. {days[-1]}"
    where = f"{machine.cores} cores of an {machine.processor}, {when}"
    figure.suptitle(f"{what}\n{where}", fontsize=11)


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    size = (width * columns, height * rows + 0.8)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")


def _engines(cases: Sequence[SideBySide], machine: Machine) -> Figure:
    columns = min(3, len(cases))
    rows = -(-len(cases) // columns)
    figure, grid = _panels(rows, columns, 4.3, 2.5)
    for axes, found in zip(grid.flat, cases, strict=False):
        _bars(axes, found)
    for axes in grid.flat[len(cases) :]:
        axes.set_axis_off()
    case = cases[0].case
    what = f"One call of {case.batch} image{'s' * (case.batch > 1)}, {case.dtype}, "
    what += f"{case.threads} threads: median and quartiles of rounds by turns"
    _title(figure, what, [found.date for found in cases], machine)
    return figure


def _bars(axes: Axes, found: SideBySide) -> None:
    timed = [row for row in found.rows if row.wall is not None]
    for at, row in enumerate(timed):
        wall = row.wall
        assert wall is not None
        colour = {FUSED: RED, UNFUSED: ORANGE, found.best: BLUE}.get(row.engine, SKY)
        spread = [[1e3 * (wall.median - wall.low)], [1e3 * (wall.high - wall.median)]]
        axes.barh(at, 1e3 * wall.median, color=colour, xerr=spread, error_kw={"lw": 1})
        axes.text(1e3 * wall.high, at, f"  {three_digits(1e3 * wall.median)}", va="center", size=8)
    axes.set_yticks(range(len(timed)), [row.engine for row in timed])
    axes.invert_yaxis()
    longest = max(row.wall.high for row in timed if row.wall)
    axes.set_xlim(0, 1.2e3 * longest)
    axes.set_title(found.case.network, size=10)
    axes.set_xlabel("ms", labelpad=1)
    axes.locator_params(axis="x", nbins=5)


def _layers(inside: Inside, machine: Machine) -> Figure:
    layers = inside.layers
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(max(8, 0.27 * len(layers) + 2), 6.5), sharex=True, layout="constrained"
    )
    at = np.arange(len(layers))
    times = [
        (UNFUSED, -0.2, ORANGE, [1e3 * (ly.unfused.median if ly.unfused else 0) for ly in layers]),
        (FUSED, 0.2, RED, [1e3 * layer.fused.median for layer in layers]),
    ]
    for name, shift, colour, heights in times:
        above.bar(at + shift, heights, 0.4, color=colour, label=name)
        spreads = [layer.fused if name == FUSED else layer.unfused for layer in layers]
        lows = [1e3 * (s.median - s.low) if s else 0 for s in spreads]
        highs = [1e3 * (s.high - s.median) if s else 0 for s in spreads]
        above.errorbar(at + shift, heights, [lows, highs], fmt="none", ecolor=BLACK, lw=0.7)
    above.set_ylabel("ms")
    above.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    for shift, colour, amounts in (
        (-0.2, ORANGE, [layer.unfused_bytes for layer in layers]),
        (0.2, RED, [layer.fused_bytes for layer in layers]),
    ):
        below.bar(at + shift, np.array(amounts) / 2**20, 0.4, color=colour)
    below.set_ylabel("MiB read and written")
    below.set_xticks(at, [layer.name for layer in layers], rotation=90, size=7)
    below.set_xlim(-0.7, len(layers) - 0.3)
    what = f"{inside.case}: each fused kernel beside the unfused kernels of the same nodes"
    _title(figure, what, [inside.date], machine)
    return figure


def _memory(insides: Sequence[Inside], machine: Machine) -> Figure:
    columns = min(2, len(insides))
    rows = -(-len(insides) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(5.5 * columns, 2.8 * rows + 0.8),
        squeeze=False,
        layout="constrained",
    )
    for axes, inside in zip(grid.flat, insides, strict=False):
        plans = ((UNFUSED, ORANGE, inside.unfused), (FUSED, RED, inside.fused))
        for name, colour, memory in plans:
            _steps(axes, name, colour, memory)
        axes.set_title(str(inside.case), size=10)
        axes.set_xlabel("part of the plan's steps that have run")
        axes.set_ylabel("MiB")
        axes.set_ylim(0, None)
    for axes in grid.flat[len(insides) :]:
        axes.set_axis_off()
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    what = "Activations alive at each step (filled), and the arena that holds them (dashed)"
    _title(figure, what, [inside.date for inside in insides], machine)
    return figure


def _steps(axes: Axes, name: str, colour: str, memory: Memory) -> None:
    live = np.array(memory.live_bytes) / 2**20
    share = np.arange(len(live)) / max(1, len(live) - 1)
    axes.fill_between(share, live, step="mid", color=colour, alpha=0.35, label=f"{name}: alive")
    axes.axhline(memory.arena_bytes / 2**20, color=colour, ls="--", lw=1.2, label=f"{name}: arena")


def _roofline(insides: Sequence[Inside], machine: Machine) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    peak, copy = machine.fma.median, machine.copy.median
    looks = ((RED, "o"), (BLUE, "s"), (GREEN, "^"), (PURPLE, "D"))
    found: list[float] = []
    for inside, (colour, marker) in zip(insides, looks, strict=False):
        layers = [layer for layer in inside.layers if layer.flops]
        intensity = [layer.flops / layer.fused_bytes for layer in layers]
        rate = [layer.flops / layer.fused.median / 1e9 for layer in layers]
        found += intensity
        axes.scatter(
            *(intensity, rate, 26), c=colour, marker=marker, alpha=0.75, label=inside.case.network
        )
    ends = np.geomspace(min(found) / 1.5, max(found) * 1.5, 200)
    axes.plot(ends, np.minimum(peak, ends * copy), color=BLACK, lw=1.2)
    axes.text(ends[-1], peak * 1.05, f"multiply-adds: {peak:.0f} GFLOP/s", ha="right", va="bottom")
    slope = (ends[0] * peak / copy) ** 0.5  # the middle of the rise
    axes.annotate(
        f"copy: {copy:.1f} GB/s",
        (slope, slope * copy),
        xytext=(-5, 5),
        textcoords="offset points",
        ha="right",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("floating-point operations per byte read or written, weights included")
    axes.set_ylabel("GFLOP/s, of direct operations")
    figure.legend(loc="outside lower center", ncols=len(insides))
    what = f"Every fused kernel, float32, batch 1, {machine.cores} threads, and the machine's roof"
    _title(figure, what, [inside.date for inside in insides], machine)
    return figure


def _known(results: Results, cases: Sequence[Case]) -> list[SideBySide]:
    known = (results.case(case) for case in cases)
    return [found for found in known if found is not None]


def _scaling(results: Results, machine: Machine) -> Figure:
    figure, grid = _panels(2, 2, 5.0, 3.1)
    dates = []
    for axes, (over, cases) in zip(grid.flat, SCALING.items(), strict=True):
        known = _known(results, cases)
        dates += [found.date for found in known]
        for engine, colour in COLOURS.items():
            points = [(_place(over, f.case), f.row(engine), f.case.batch) for f in known]
            timed: list[tuple[Any, Any]] = [
                (at, np.array([row.wall.low, row.wall.median, row.wall.high]) * 1e3 / batch)
                for at, row, batch in points
                if row is not None and row.wall is not None
            ]
            if not timed:
                continue
            at, spans = [at for at, _ in timed], np.array([span for _, span in timed])
            axes.plot(at, spans[:, 1], color=colour, marker=MARKERS[engine], ms=4, label=engine)
            axes.fill_between(at, spans[:, 0], spans[:, 2], color=colour, alpha=0.2)
        if over in {"batch", "size"}:
            axes.set_xscale("log", base=2)
        axes.set_xticks(ticks := [_place(over, case) for case in cases], map(str, ticks))
        axes.minorticks_off()
        axes.set_ylim(0, None)
        axes.set_xlabel(AXES[over])
        axes.set_ylabel("ms per image")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    what = "ResNet-18 (but for depth), float32, one image of 224x224 (but for batch and side), "
    what += f"{machine.cores} threads (but for threads)"
    _title(figure, what, dates, machine)
    return figure


def _place(over: str, case: Case) -> int:
    """Where a case stands on an axis."""
    if over == "depth":
        return int(case.network.removeprefix("resnet"))
    return {"batch": case.batch, "size": case.size or 224, "threads": case.threads}[over]
