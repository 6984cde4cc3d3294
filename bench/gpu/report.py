"""The page, and the pictures, of what `python -m bench.gpu` measured.

    python -m bench.gpu.report FILE [--page FILE]

The page claims nothing that is not in the file. Without matplotlib it has no pictures.
"""

import argparse
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.gpu.cases import POOLED
from bench.gpu.contenders import CONTENDERS
from bench.gpu.results import FUSED, Clocks, Measured, Results, Row
from bench.markdown import table
from graphcnn.report.tables import scientific
from graphcnn.runtime.timing import Ratio, three_digits

HOW = """\
Every output is compared with that of torch's operators in float64 first, and what is further off
than the stated tolerance is not timed. Then contenders take turns in one process, from an idle
device with a flushed L2 cache. "Graph" is the time of one CUDA graph of all kernels of a contender,
"call" that of a call from Python as its user makes it; ratios are of graphs of the same round.
Figures are medians over the rounds with their quartiles. "torch" is eager torch on channels-last
tensors with cuDNN's own choice of algorithms, "torch folded" the same after batch norms were folded
into the weights, which torch.compile (max-autotune, without CUDA graphs of its own) and TensorRT
are given too. In float32 nothing multiplies in tf32 but "torch tf32". The layers are those of
VGG-16 that a 2x2 pool follows: convolution, bias, relu and pool."""
DRY = (
    "**A dry run: a CPU stood in for the device, and networks are tiny. No figure here says "
    "anything about a GPU.**"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", metavar="FILE", type=Path, help="what was measured")
    parser.add_argument("--page", metavar="FILE", type=Path, help="default: beside it")
    options = parser.parse_args()
    write(Results.load(options.json), options.page or options.json.with_suffix(".md"))


def write(results: Results, path: Path) -> str | None:
    """Write the page, and its pictures to a folder `pictures` beside it; why there are none."""
    drawn, problem = [], None
    try:
        from bench.gpu import pictures
    except ImportError as error:
        problem = f"no pictures: {error}"
    else:
        drawn = pictures.draw(results, path.parent / "pictures", path.stem)
    path.write_text(page(results, drawn))
    return problem


def page(results: Results, drawn: Sequence[str]) -> str:
    """The whole page in Markdown, with the pictures that were drawn."""
    facts = dict(results.facts)
    blocks = [
        f"# Measured on {facts.get('GPU', 'no GPU')}",
        *([DRY] if results.dry else []),
        f"By `python -m bench.gpu --minutes {results.minutes:g}`. {_facts(results)}",
        HOW,
        "## What fusion bought",
        bought(results),
        *_overview(results.cases),
        *(f"![{name}](pictures/{name}.svg)" for name in drawn),
        "## Cases",
        *(block for found in results.cases for block in _case(found)),
        "## Not measured",
        *_left(results.left),
    ]
    return "\n\n".join(blocks) + "\n"


def bought(results: Results) -> str:
    """The line that says what fusion bought."""
    ratios = list(results.bought())
    if not ratios:
        return "No case has both fused and unfused kernels."
    kinds = {
        "networks": [each for each in ratios if each[0].workload not in POOLED],
        "pooled layers": [each for each in ratios if each[0].workload in POOLED],
    }
    parts = [_span(kind, each) for kind, each in kinds.items() if each]
    dry = "In a dry run, which says nothing of a GPU: " if results.dry else ""
    return f"{dry}Fused kernels took, of the unfused kernels' time, " + "; ".join(parts) + "."


def _span(kind: str, ratios: Sequence[tuple[object, Ratio]]) -> str:
    least, most = (end(ratios, key=lambda each: each[1].median) for end in (min, max))
    middle = statistics.median(ratio.median for _, ratio in ratios)
    return (
        f"on {len(ratios)} cases of {kind} {three_digits(middle)} in the middle, from "
        f"{least[1]} ({least[0]}) to {most[1]} ({most[0]})"
    )


def _facts(results: Results) -> str:
    return "; ".join(f"{what} {found}" for what, found in results.facts) + "."


def _overview(cases: Sequence[Measured]) -> Iterator[str]:
    """Medians of graphs in milliseconds, case by case."""
    if not cases:
        return
    yield "Medians of graphs in milliseconds; their spreads are below."
    names = [name for name in CONTENDERS if any(found.row(name) for found in cases)]
    head = ("case", *names, "fused to torch", "fused to unfused")
    yield table(head, [(str(found.case), *_medians(found, names)) for found in cases])


def _medians(found: Measured, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        row = found.row(name)
        yield three_digits(1e3 * row.replay.median) if row and row.replay else "-"
    fused = found.row(FUSED)
    yield str((fused and fused.to_torch) or "-")
    yield str((fused and fused.to_unfused) or "-")


def _case(found: Measured) -> Iterator[str]:
    yield f"### {found.case}"
    yield (
        f"Measured {found.date}; tolerance {scientific(found.tolerance)} of the output's range; "
        f"clocks before {_clocks(found.before)}, after {_clocks(found.after)}."
    )
    head = ("contender", "graph", "call", "to torch", "to unfused", "error")
    yield table(head, [cells(row) for row in found.rows])


def _clocks(clocks: Clocks | None) -> str:
    return str(clocks or "unknown")


def cells(row: Row) -> tuple[str, ...]:
    """A row of a case: name, graph, call, ratios, error."""
    error = "-" if row.error is None else scientific(row.error)
    if row.absent is not None:
        return (row.contender, f"absent: {row.absent}", "", "", "", error)
    if row.replay is None:
        return (row.contender, "wrong, not timed", "", "", "", error)
    figures = (row.replay, row.call, row.to_torch, row.to_unfused)
    return (row.contender, *(str(figure or "-") for figure in figures), error)


def _left(left: Sequence[str]) -> Iterator[str]:
    yield "\n".join(f"* {line}" for line in left) or "Everything that was asked for was measured."


if __name__ == "__main__":
    main()
