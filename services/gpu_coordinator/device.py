"""The devices of this machine and how much of their memory is free.

The host itself is always one: on it everything fits, and the same rules find nothing to swap. GPUs are found and read
by `nvidia-smi`, which needs no CUDA context of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import subprocess
import warnings
from pathlib import Path
from typing import Protocol

from services.gpu_coordinator.holders import Device
from shared.gpu.fake import FakeDevice

log = logging.getLogger(__name__)
MIB = 1024**2
HOST_RESERVE = (0.25, 2 * 1024**3)
"""Part of the host's memory, and at most how many bytes, that are left to everything else."""
GPU_RESERVE_BYTES = 512 * MIB
"""For the desktop and the driver."""
READ_S = 5.0


class Probe(Protocol):
    """Reads one device. Blocking."""

    device: Device

    def free_bytes(self) -> int:
        """Raises OSError where the device cannot be read."""
        ...


class Host:
    """Main memory; in a container what its group may take."""

    def __init__(self, node: str) -> None:
        total = min(_meminfo("MemTotal"), _group_limit() or 2**62)
        part, most = HOST_RESERVE
        self.device = Device(f"{node}/cpu", "cpu", total, min(int(total * part), most))

    def free_bytes(self) -> int:
        return min(_meminfo("MemAvailable"), self.device.memory_total)


class Nvidia:
    """One GPU, by its number."""

    def __init__(self, node: str, number: int, total: int, free: int) -> None:
        self._number = number
        # What is in use before any of ours came is somebody else's, and stays theirs.
        self.device = Device(f"{node}/cuda:{number}", "cuda", total, max(GPU_RESERVE_BYTES, total - free))

    def free_bytes(self) -> int:
        return next(free for number, _, free in nvidia() if number == self._number)


class Fake:
    """A device that exists in one file; for tests and measurements."""

    def __init__(self, path: Path) -> None:
        warnings.warn("a fake device shares no memory; it is for tests only", stacklevel=2)
        self._fake = FakeDevice(path)
        self.device = Device(f"{path.stem}/fake", "fake", self._fake.total, 0)

    def free_bytes(self) -> int:
        return self._fake.free_bytes()


def nvidia() -> list[tuple[int, int, int]]:
    """(number, total, free) of each GPU, in bytes. Raises OSError where the driver does not answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=READ_S, check=True).stdout
        rows = [[int(word) for word in line.split(",")] for line in told.splitlines() if line.strip()]
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError("nvidia-smi does not answer") from error
    return [(number, total * MIB, free * MIB) for number, total, free in rows]


def found(devices: str, node: str = "") -> list[Probe]:
    """`auto`: the host and every GPU. `fake:<file>`: that one only; `cpu`: the host only."""
    node = node or socket.gethostname()
    if devices.startswith("fake:"):
        return [Fake(Path(each)) for each in devices.removeprefix("fake:").split(",")]
    probes: list[Probe] = [Host(node)]
    if devices == "auto":
        try:
            probes += [Nvidia(node, *each) for each in nvidia()]
        except OSError as error:
            log.warning("the GPUs cannot be read, so none is given out", extra={"kind": type(error).__name__})
    return probes


async def read(probe: Probe) -> int | None:
    """Free bytes; None where the device does not answer now."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(probe.free_bytes), READ_S + 1)
    except (OSError, StopIteration, TimeoutError, json.JSONDecodeError):
        return None


def _meminfo(name: str) -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def _group_limit() -> int | None:
    """The control group's limit (cgroup v2), which containers have."""
    try:
        word = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(word) if word.isdigit() else None
