"""What every benchmark shares: figures with their goals, percentiles, the platform as a user starts it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Figure:
    """One line of docs/benchmarks.md."""

    what: str
    value: float | str
    goal: str = ""
    detail: str = ""


def p(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of interleaved rounds: the median of the ratios, so that a noisy minute disturbs both alike."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def machine() -> str:
    """Processor, cores that we may use, memory, system."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory / 1024**2:.0f} GiB, Linux, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def told(figures: Sequence[Figure]) -> str:
    """As in docs/benchmarks."""
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "figures": [asdict(figure) for figure in figures],
    }
    return json.dumps(found, indent=2, ensure_ascii=False)


def tell(figures: Sequence[Figure]) -> None:
    print(told(figures))
