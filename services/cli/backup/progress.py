"""How far it is, in percent of the bytes."""

from __future__ import annotations

import sys
import time

STEP = 10
"""Percent between two lines where nobody looks on."""


class Progress:
    def __init__(self, verb: str, total: int) -> None:
        """`total`: bytes, as well as they can be known before."""
        self._verb, self._total = verb, max(total, 1)
        self._live = sys.stdout.isatty()
        self._shown = -STEP
        self._began = time.monotonic()
        self.bytes = 0

    def add(self, count: int) -> None:
        self.bytes += count
        percent = min(99, 100 * self.bytes // self._total)
        if percent >= self._shown + (1 if self._live else STEP):
            self._shown = percent
            print(f"{self._verb} {percent:3d} %", end="\r" if self._live else "\n", flush=True)

    def end(self) -> float:
        """Seconds since the beginning."""
        print(f"{self._verb} 100 %", flush=True)
        return time.monotonic() - self._began
