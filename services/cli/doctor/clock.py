"""A clock that is wrong or was set: tokens are refused, and backups get the wrong age."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from services.cli import up
from services.cli.doctor import Finding
from shared.settings import ServiceSettings

AHEAD_S = 60.0
"""A file may be this much younger than now: a network disk has a clock of its own."""
JUMP_S = 120.0
"""More than any start takes from the first moment of the process to its note in the data folder."""
WHY = "Tokens made at the other time are refused (people sign in again), and the age of backups is wrong."
DO = "Let the clock follow a time server (`timedatectl set-ntp true`), then `nemo down` and `nemo up`."


def findings(settings: ServiceSettings) -> Iterator[Finding]:
    data_dir = settings.data_dir.absolute()
    latest = max((path.stat().st_mtime for path in _files(data_dir)), default=0.0)
    ahead_s = latest - time.time()
    if ahead_s > AHEAD_S:
        what = f"The clock is behind: a file below {data_dir} was written {ahead_s:.0f} s from now."
        yield Finding("clock_behind", what, WHY, DO, "clock")
    pid = up.running_pid(data_dir)
    if pid is None:
        return
    moved_s = jumped_s(time.time() - (data_dir / up.PID_FILE).stat().st_mtime, age_s(pid))
    if abs(moved_s) > JUMP_S:
        what = (
            f"The clock was set {'forward' if moved_s > 0 else 'back'} by {abs(moved_s):.0f} s while the platform ran."
        )
        yield Finding("clock_jumped", what, WHY, DO, "clock")


def _files(data_dir: Path) -> Iterator[Path]:
    for folder in (data_dir, data_dir / "logs"):
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if path.is_file())


def jumped_s(by_clock_s: float, by_kernel_s: float) -> float:
    """How far the clock was set since, where it says that so much time has passed and the kernel counted so much."""
    return by_clock_s - by_kernel_s


def age_s(pid: int) -> float:
    """Seconds since a process began, by the clock that nobody can set (it runs on while the machine sleeps)."""
    began = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
