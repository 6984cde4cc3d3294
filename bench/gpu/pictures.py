"""Pictures of the results, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.engines.pictures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    STYLE,
)
from bench.gpu.cases import POOLED, WORKLOADS
from bench.gpu.contenders import COMPILED, FOLDED, TENSORRT, TF32
from bench.gpu.results import FUSED, TORCH, UNFUSED, Measured, Results
from graphcnn.runtime.timing import Ratio, three_digits

COLOURS = {
    TORCH: BLACK,
    FOLDED: GREY,
    TF32: PURPLE,
    COMPILED: SKY,
    TENSORRT: GREEN,
    UNFUSED: ORANGE,
    FUSED: RED,
}
# Lines of quartiles.
THIN = {"lw": 0.8}
# Of batches, in their order.
MARKERS = "osD^vP"


def draw(results: Results, folder: Path, stem: str) -> list[str]:
    """Draw all there is something for; the names of the files, without their endings."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        for dtype in dict.fromkeys(found.case.dtype for found in results.cases):
            cases = [found for found in results.cases if found.case.dtype == dtype]
            if any(found.row(TORCH) for found in cases):
                drawn[f"{stem}_{dtype}"] = _beside_torch(cases, results)
        if any(results.bought()):
            drawn[f"{stem}_fusion"] = _fusion(results)
        for name, figure in drawn.items():
            figure.savefig(folder / f"{name}.png", dpi=110)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
    return list(drawn)


def _title(figure: Figure, what: str, cases: Sequence[Measured], results: Results) -> None:
    days = sorted({found.date[:10] for found in cases})
    when = days[0] if len(days) == 1 else f"{days[0]} .. {days[-1]}"
    where = dict(results.facts).get("GPU", "no GPU")
    dry = "DRY RUN, no figure of a GPU\n" if results.dry else ""
    figure.suptitle(f"{dry}{what}\n{where}, {when}", fontsize=11)


def _beside_torch(cases: Sequence[Measured], results: Results) -> Figure:
    """A panel for each workload: each contender's time over torch's, batch by batch."""
    workloads = [name for name in WORKLOADS if any(f.case.workload == name for f in cases)]
    columns = min(3, len(workloads))
    rows = -(-len(workloads) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(4.3 * columns, 2.5 * rows + 1.1),
        squeeze=False,
        layout="constrained",
    )
    for axes, workload in zip(grid.flat, workloads, strict=False):
        own = sorted((f for f in cases if f.case.workload == workload), key=lambda f: f.case.batch)
        _bars(axes, own)
        axes.set_title(f"{workload} + pool" if workload in POOLED else workload, size=10)
    for axes in grid.flat[len(workloads) :]:
        axes.set_axis_off()
    shown = [name for name in COLOURS if any(found.row(name) for found in cases)]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=len(shown), frameon=False)
    what = f"{cases[0].case.dtype}: time over that of eager torch in the same round, as CUDA graphs"
    _title(figure, what, cases, results)
    return figure


def _bars(axes: Axes, cases: Sequence[Measured]) -> None:
    """Bars of those that were timed, side by side; fused is the last one, and has its number."""
    width = 0.86 / max(sum(1 for name in COLOURS if found.row(name)) for found in cases)
    highest = 1.0
    for at, found in enumerate(cases):
        timed = [(name, found.row(name)) for name in COLOURS if found.row(name)]
        for number, (name, row) in enumerate(timed):
            if row is None or row.to_torch is None:
                continue
            ratio = row.to_torch
            x = at + (number - (len(timed) - 1) / 2) * width
            spread = _spread(ratio)
            axes.bar(x, ratio.median, width, color=COLOURS[name], yerr=spread, error_kw=THIN)
            highest = max(highest, ratio.high)
            if name == FUSED:
                left, told = x - width / 2, three_digits(ratio.median)
                axes.text(left, ratio.high, f" {told}", size=7, ha="left", va="bottom")
    axes.axhline(1.0, color=GREY, lw=0.8, zorder=0)
    axes.set_ylim(0, 1.12 * highest)
    axes.set_xticks(range(len(cases)), [f"b{found.case.batch}" for found in cases])
    axes.tick_params(axis="x", length=0)


def _spread(ratio: Ratio) -> list[list[float]]:
    return [[ratio.median - ratio.low], [ratio.high - ratio.median]]


def _fusion(results: Results) -> Figure:
    """A line for each workload, and on it a mark for each batch: fused over unfused."""
    found = list(results.bought())
    cases = [known for known in results.cases if known.case in {case for case, _ in found}]
    dtypes = list(dict.fromkeys(case.dtype for case, _ in found))
    workloads = [name for name in WORKLOADS if any(case.workload == name for case, _ in found)]
    batches = sorted({case.batch for case, _ in found})
    figure, grid = plt.subplots(
        1,
        len(dtypes),
        figsize=(4.6 * len(dtypes) + 1, 0.42 * len(workloads) + 1.9),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axes, dtype in zip(grid.flat, dtypes, strict=True):
        for number, batch in enumerate(batches):
            place = (number - (len(batches) - 1) / 2) * 0.8 / len(batches)
            points = [(c, r) for c, r in found if c.dtype == dtype and c.batch == batch]
            axes.errorbar(
                [ratio.median for _, ratio in points],
                [workloads.index(case.workload) + place for case, _ in points],
                xerr=[[s for _, r in points for s in _spread(r)[side]] for side in (0, 1)],
                fmt=MARKERS[number % len(MARKERS)],
                color=(RED, BLUE, GREEN, PURPLE)[number % 4],
                ms=4.5,
                lw=1,
                label=f"batch {batch}",
            )
        axes.axvline(1.0, color=BLACK, lw=1, zorder=0)
        for at in range(0, len(workloads), 2):
            axes.axhspan(at - 0.5, at + 0.5, color="#F3F3F3", lw=0, zorder=-1)
        axes.set_ylim(len(workloads) - 0.5, -0.5)
        axes.set_title(dtype, size=10)
        axes.set_xlabel("fused over unfused, of one round")
        axes.grid(axis="x", color="#DDDDDD", lw=0.6)
        axes.set_axisbelow(True)
    names = [f"{name} + pool" if name in POOLED else name for name in workloads]
    grid[0, 0].set_yticks(range(len(workloads)), names)
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(batches),
        frameon=False,
    )
    _title(figure, "What fusion bought: left of 1 the fused kernels are faster", cases, results)
    return figure
