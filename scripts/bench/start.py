#!/usr/bin/env python3
"""From `nemo up` to all healthy, and the memory of the idle platform.

    python scripts/bench/start.py [--rounds 3]

The first start makes the database; those after it are what an operator sees every day.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from figures import Figure, tell

from tests.conftest import Platform

SETTLE_S = 10


def pss_mib(pid: int) -> float:
    """Memory of a process, its share of what it shares with others, in MiB."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(below for child in children for below in family(child))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        Path(folder).chmod(0o711)
        took = []
        for _ in range(args.rounds + 1):
            platform = Platform(Path(folder) / "data")
            began = time.perf_counter()
            platform.start()
            took.append(time.perf_counter() - began)
            if len(took) <= args.rounds:
                platform.stop()
        time.sleep(SETTLE_S)
        assert platform.pid is not None
        mib = sum(pss_mib(pid) for pid in family(platform.pid))
        platform.stop()
    tell(
        [
            Figure(
                "`nemo up` with everything installed, first start, until all healthy, s", round(took[0], 1), "<= 180"
            ),
            Figure(
                "`nemo up`, later starts, until all healthy, s",
                round(sorted(took[1:])[len(took[1:]) // 2], 1),
                "<= 15",
                ", ".join(f"{each:.1f}" for each in took[1:]),
            ),
            Figure("memory of the idle platform, all processes, MiB (PSS)", round(mib)),
        ]
    )


if __name__ == "__main__":
    main()
