"""Networks and layers on a CUDA device: torch, torch.compile, TensorRT, unfused and fused by turns.

    python -m bench.gpu [--minutes N] [--workloads W ...] [--dtypes D ...] [--batches B ...]
                        [--results FOLDER] [--dry-run]

Cases that tell the most come first; when the minutes are over, what is left is listed. The figures
go to a JSON file of the device's name, and from it to a page and pictures beside it. With --dry-run
all of that happens on the CPU, with tiny networks and in a folder of its own: it shows it works.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import torch

from bench.gpu import report
from bench.gpu.cases import BATCHES, DTYPES, TINY_BATCHES, WORKLOADS, plan
from bench.gpu.hardware import Cuda, DryRun
from bench.gpu.measure import run
from bench.gpu.results import Measured, Results, Row
from graphcnn.errors import GraphCNNError
from graphcnn.targets.resolve_device import resolve_device

RESULTS = Path(__file__).parents[1] / "results"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="when to end, about")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--results", metavar="FOLDER", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, tiny, without figures")
    options = parser.parse_args(arguments)
    try:
        hardware = DryRun(resolve_device("cpu")) if options.dry_run else Cuda()
        results = Results(hardware.dry, hardware.facts(), options.minutes, left=[*hardware.lacks])
    except GraphCNNError as error:
        print(f"{error}\n--dry-run shows on the CPU what this does", file=sys.stderr)
        return 1
    folder = options.results or (Path(tempfile.mkdtemp()) if hardware.dry else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu_{_file_name(hardware.name)}.json"
    torch.backends.cudnn.benchmark = True
    batches = options.batches or (TINY_BATCHES if hardware.dry else BATCHES)

    def tell(found: Measured) -> None:
        results.save(path)  # what is known stays, should the next case end the process
        print(found.case, *map(_line, found.rows), sep="\n", flush=True)

    run(plan(options.workloads, options.dtypes, batches), hardware, results, tell=tell)
    results.save(path)
    page = path.with_suffix(".md")
    problem = report.write(results, page)
    lines = [report.bought(results), *(f"not measured: {line}" for line in results.left)]
    print(*lines, *filter(None, [problem]), f"all figures: {page}", sep="\n")
    return 0


def _file_name(name: str) -> str:
    return "_".join(re.findall(r"\w+", name.lower()))


def _line(row: Row) -> str:
    return "  " + " ".join(
        f"{cell:<{width}}"
        for cell, width in zip(report.cells(row), (14, 28, 28, 22, 22, 8), strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
