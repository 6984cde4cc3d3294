"""The page and the pictures of what `python -m bench.engines` measured.

    python -m bench.engines.report [--json FILE] [--page FILE]

The page claims nothing that is not in the file.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.engines import pictures
from bench.engines.__main__ import JSON
from bench.engines.cases import SIDE_BY_SIDE
from bench.engines.peers import ENGINES
from bench.engines.results import EngineRow, Inside, Machine, Results, SideBySide
from bench.markdown import table
from graphcnn.report.tables import binary_size, scientific
from graphcnn.runtime.timing import Measurement, three_digits

PAGE = Path(__file__).parents[2] / "docs" / "measured_against_engines.md"
HOW = """\
Every engine runs in a process of its own, with weights, image and number of threads the same for
all, and its output is compared with torch's operators in float64 first: an engine that is further
off than the stated tolerance is not timed. Then the processes take turns, each turn about 50 ms of
calls or one longer call, and the next begins when no thread of the last one runs any more. Times
are of a whole call as its user makes it, array in, array out: medians over the rounds with their
quartiles. "To best" is the time over that of the fastest engine that is not graphcnn, which is set
in bold, in the same round. CPU time is that of all threads together. Memory is the most that is
resident during a call beyond what the process has before it loads the network: weights in the form
the engine keeps, and activations. ncnn takes one image at a time. `bench/engines/peers.py` has the
settings of each engine."""
ALT = {
    "engines": "Engines side by side",
    "layers": "Fused against unfused kernels",
    "memory": "Memory over the plan",
    "roofline": "Roofline",
    "scaling": "Scaling with batch, image side, depth and threads",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE", type=Path, default=JSON)
    parser.add_argument("--page", metavar="FILE", type=Path, default=PAGE)
    options = parser.parse_args()
    results = Results.load(options.json)
    drawn = pictures.draw(results, options.page.parent / "pictures")
    options.page.write_text(page(results, drawn))


def page(results: Results, drawn: Sequence[str]) -> str:
    """The whole page in Markdown, with the pictures that were drawn."""
    assert results.machine is not None, "the machine was not measured"
    blocks = [
        "# Measured against other engines",
        f"By `python -m bench.engines` (`bench/results/{JSON.name}`). {_machine(results.machine)}",
        HOW,
        "## Overview",
        *_overview(results.cases),
        *(block for found in results.cases for block in _case(found)),
        *(["## Inside: fused against unfused"] if results.insides else []),
        *(block for inside in results.insides for block in _inside(inside)),
        "## Pictures",
        *(f"![{ALT[name.partition('_')[0]]}](pictures/{name}.svg)" for name in drawn),
    ]
    return "\n\n".join(blocks) + "\n"


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.cores} cores of an {machine.processor} ({machine.instructions}), "
        f"{binary_size(machine.memory_bytes)}, {machine.system}; {versions}. "
        f"Peak of float32 multiply-adds {_rate(machine.fma)} GFLOP/s, of a copy "
        f"{_rate(machine.copy)} GB/s read or written ({machine.date})."
    )


def _rate(measured: Measurement) -> str:
    low, high = three_digits(measured.low), three_digits(measured.high)
    return f"{three_digits(measured.median)} ({low} .. {high})"


def _overview(cases: Sequence[SideBySide]) -> Iterator[str]:
    yield "Medians in milliseconds, whose spreads are in the tables below."
    full = [found for found in cases if found.case in SIDE_BY_SIDE]
    engines = [engine.name for engine in ENGINES]
    head = ("case", *engines, "fused to best")
    rows = []
    for found in full:
        cells = (_ms(found.row(engine)) for engine in engines)
        fused = found.row(pictures.FUSED)
        rows.append((str(found.case), *cells, str(fused.to_best) if fused else "-"))
    yield table(head, rows)


def _ms(row: EngineRow | None) -> str:
    return three_digits(1e3 * row.wall.median) if row and row.wall else "-"


def _case(found: SideBySide) -> Iterator[str]:
    yield f"## {found.case}"
    yield (
        f"Measured {found.date}; weights {binary_size(found.weights_bytes)}; "
        f"tolerance {scientific(found.tolerance)} of the output's range."
    )
    head = ("engine", "a call", "to best", "CPU time", "memory", "error")
    yield table(head, [_cells(row, found) for row in found.rows])


def _cells(row: EngineRow, found: SideBySide) -> tuple[str, ...]:
    if row.absent is not None:
        return (row.engine, f"absent: {row.absent}", *[""] * 4)
    error = "not a number" if row.error is None else scientific(row.error)
    if row.wall is None:
        return (row.engine, "wrong, not timed", "", "", "", error)
    name = f"**{row.engine}**" if row.engine == found.best else row.engine
    figures = (str(row.wall), str(row.to_best or "-"), str(row.cpu))
    return (name, *figures, binary_size(row.memory_bytes or 0), error)


def _inside(inside: Inside) -> Iterator[str]:
    yield f"### {inside.case}"
    layers = [layer for layer in inside.layers if layer.unfused is not None]
    saved = sum(layer.unfused_bytes - layer.fused_bytes for layer in layers)
    yield (
        f"Measured {inside.date}, kernel by kernel, each waited for. Fusion saves "
        f"{binary_size(saved)} of {binary_size(sum(ly.unfused_bytes for ly in layers))} read and "
        f"written. The arena of the fused plan has {binary_size(inside.fused.arena_bytes)} for "
        f"values of {binary_size(max(inside.fused.live_bytes))} at most at a time; that of the "
        f"unfused plan {binary_size(inside.unfused.arena_bytes)} for "
        f"{binary_size(max(inside.unfused.live_bytes))}."
    )
    head = ("node", "kernel", "fused", "unfused", "to unfused", "bytes", "bytes saved", "GFLOP/s")
    rows = [
        (
            *(layer.name, layer.kernel, str(layer.fused), str(layer.unfused or "-")),
            *(str(layer.to_unfused or "-"), binary_size(layer.fused_bytes)),
            binary_size(max(0, layer.unfused_bytes - layer.fused_bytes)),
            f"{layer.flops / layer.fused.median / 1e9:.1f}",
        )
        for layer in inside.layers
    ]
    yield table(head, rows)


if __name__ == "__main__":
    main()
