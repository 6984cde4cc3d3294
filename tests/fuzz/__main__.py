"""Runs campaigns: prints every failure with its seed, and ends with status 1 if there was one."""

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.fuzz import calls, compiled, files, graphs, texts

CAMPAIGNS = {
    "graphs": graphs.check,
    "compiled": compiled.check,
    "texts": texts.check,
    "files": files.check,
    "calls": calls.check,
}
# Seconds of processor time after which a case counts as one that hangs.
PATIENCE = 30.0


def main() -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("campaign", choices=[*CAMPAIGNS, "all"])
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    if options.campaign != "all":
        return run(options.campaign, seeds)
    # A compiled case takes as long as hundreds of others.
    return max(run(name, seeds[:: 200 if name == "compiled" else 1]) for name in CAMPAIGNS)


def run(campaign: str, seeds: range) -> int:
    """Run a campaign's cases, and say how they came out; 1 if one of them failed."""
    outcomes: Counter[str] = Counter()
    failed, start = 0, time.monotonic()
    for seed in seeds:
        before = time.process_time()
        try:
            outcomes[CAMPAIGNS[campaign](seed)] += 1
            taken = time.process_time() - before
            assert campaign == "compiled" or taken < PATIENCE, f"took {taken:.0f} s"
        except Exception:
            failed += 1
            print(f"--- {campaign} --seed {seed}\n{traceback.format_exc()}", flush=True)
            if campaign == "graphs":
                print(graphs.smallest(seed), flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")
    taken = time.monotonic() - start
    print(f"{campaign}: {len(seeds)} cases, {failed} failed, {taken:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
