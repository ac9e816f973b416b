#!/usr/bin/env python3
"""The sharing of a device under 20,000 random schedules of loss, duplication, delay, freeze, crash and lies.

    python scripts/bench/gpu_schedules.py [--count 20000] [--processes 2]

Each schedule is 120 events and then calm; it ends when everything that was accepted is served. A broken rule of the
design is counted by its name (P1 to P14). See tests/gpu_world.py for what is real in it and what is not.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from figures import ROOT, Figure, tell

assert ROOT  # figures.py puts the project on the path

from tests.gpu_world import Violation, schedule  # noqa: E402


def some(first_and_count: tuple[int, int]) -> tuple[Counter[str], int, int]:
    """Broken rules, tasks that ended, and swaps of a range of seeds."""
    first, count = first_and_count
    broken: Counter[str] = Counter()
    ended = parks = 0
    for seed in range(first, first + count):
        try:
            world = schedule(seed)
            ended += len(world.accepted)
            parks += world.parks()
        except Violation as violation:
            broken[str(violation)[:60]] += 1
    return broken, ended, parks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    ranges = [(first, min(250, args.count - first)) for first in range(0, args.count, 250)]
    broken: Counter[str] = Counter()
    ended = parks = 0
    with ProcessPoolExecutor(args.processes) as pool:
        for found, done, moved in pool.map(some, ranges):
            broken += found
            ended += done
            parks += moved
    by = {
        "over-commits": sum(n for name, n in broken.items() if name.startswith(("P1", "P2", "P4"))),
        "stuck": sum(n for name, n in broken.items() if "stuck" in name),
        "lost or doubled results": sum(n for name, n in broken.items() if name.startswith(("P3", "P7", "P11"))),
        "other rules broken": sum(
            n for name, n in broken.items() if not name.startswith(("P1", "P2", "P3", "P4", "P6, P8", "P7"))
        ),
    }
    detail = f"{ended} accepted tasks ended, {parks} models parked; {dict(broken) or 'no rule broken'}"
    tell([Figure(f"{args.count} random schedules: {name}", value, "0", detail) for name, value in by.items()])


if __name__ == "__main__":
    main()
