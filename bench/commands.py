"""Every report of the command line on every built-in network, in every dtype, on the CPU.

    python -m bench.commands [--networks N ...] [--dtypes D ...] [--words W ...] [--seconds N]
                             [--outputs FOLDER] [--json FILE]

Runs `python -m graphcnn WORD NETWORK --dtype DTYPE` at batch 1 and the published size, each in a
process of its own, and prints its exit status and how many seconds it took; what a command wrote
goes to the folder. Where FILE exists, what it has is kept and not run again. Exits with status 1
when a command fails.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from graphcnn.models import MODELS

WORDS = ("verify", "explain", "compare", "profile")
DTYPES = ("float32", "float16", "bfloat16")
LINE = "{:<17} {:<8} {:<8} {:>6} {:>8}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--words", nargs="+", choices=WORDS, default=WORDS)
    parser.add_argument("--seconds", type=float, default=1800, help="most that a command may take")
    parser.add_argument("--outputs", metavar="FOLDER", type=Path, help="where texts are written")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the figures")
    options = parser.parse_args()
    known = options.json is not None and options.json.exists()
    rows: list[dict[str, Any]] = json.loads(options.json.read_text()) if known else []
    done = {(row["network"], row["dtype"], row["word"]) for row in rows}
    cases = product(options.networks, options.dtypes, options.words)
    print(LINE.format("network", "dtype", "command", "status", "seconds"))
    for row in results((case for case in cases if case not in done), options):
        rows.append(row)
        print(LINE.format(*row.values()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["status"] for row in rows))


def results(
    cases: Iterator[tuple[str, str, str]], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row of the report for each network, dtype and command."""
    for network, dtype, word in cases:
        command = [sys.executable, "-m", "graphcnn", word, network, "--dtype", dtype]
        command += ["--device", "cpu"]
        start = time.perf_counter()
        try:
            ran = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=options.seconds
            )
            status, text = ran.returncode, ran.stdout + ran.stderr
        except subprocess.TimeoutExpired:
            status, text = 124, f"took more than {options.seconds} s"
        seconds = round(time.perf_counter() - start, 1)
        if options.outputs:
            options.outputs.mkdir(parents=True, exist_ok=True)
            (options.outputs / f"{network}.{dtype}.{word}.txt").write_text(text)
        case = {"network": network, "dtype": dtype, "word": word}
        yield case | {"status": status, "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
