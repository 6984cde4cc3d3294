"""VGG-16 at 224x224, batch 1, float32: torch, unfused and fused side by side, against thresholds.

    python bench/vgg16.py [--seconds N] [--json FILE]

Exits with status 1 when a model is wrong, when the fused network takes more than 1.5 times as long
as torch's eager operators in the same run, or when it is not faster than the unfused one. On the
CPU both sides use the same number of threads.
"""

import argparse
import sys

import graphcnn as gx

MOST_TIMES_TORCH = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="time to spend on samples")
    parser.add_argument("--json", metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    graph = gx.models.vgg16()
    models = {
        "torch": gx.compile(graph, target="library"),
        "unfused": gx.compile(graph, fuse=False),
        "fused": gx.compile(graph),
    }
    result = gx.compare(models, seconds=options.seconds)
    print(result)
    if options.json:
        result.save(options.json)
    fused = next(row for row in result.rows if row.name == "fused")
    kept = (
        result.ok and fused.to_baseline.median <= MOST_TIMES_TORCH and fused.to_unfused.median < 1
    )
    print("thresholds kept" if kept else "THRESHOLDS MISSED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
