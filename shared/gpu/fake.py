"""A device that exists in one file, with honest physics: bytes, time to load and to free, slow reclaim, out of memory.

For tests and measurements only; it says so when it is made. Whoever allocates is a process: when that dies, its bytes
stay taken for as long as the file says, as with a real driver.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import ModelOutOfMemory


class FakeDevice:
    """One file shared by all processes; every change holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, path: Path, total: int, *, reclaim_s: float = 0.0, bytes_per_s: float = 0.0) -> FakeDevice:
        """`reclaim_s`: how long the memory of a killed process stays taken. `bytes_per_s` 0: loading takes no time."""
        path.write_text(
            json.dumps({"total": total, "reclaim_s": reclaim_s, "bytes_per_s": bytes_per_s, "held": {}, "peak": 0})
        )
        return cls(path)

    @property
    def total(self) -> int:
        return int(json.loads(self.path.read_text())["total"])

    def free_bytes(self) -> int:
        with self._state() as state:
            return int(state["total"] - _taken(state))

    def peak(self) -> int:
        """Most bytes that were ever taken at once."""
        with self._state() as state:
            return int(state["peak"])

    def set(self, **facts: Any) -> None:
        """Change the physics under way, for example `lie=True`: freeing frees nothing."""
        with self._state() as state:
            state |= facts

    def allocate(self, size: int) -> None:
        """Raises ModelOutOfMemory, and has taken nothing then."""
        with self._state() as state:
            if _taken(state) + size > state["total"]:
                raise ModelOutOfMemory
            mine = state["held"].setdefault(str(os.getpid()), {"bytes": 0, "born": _born(os.getpid()), "died": None})
            mine["bytes"] += size
            state["peak"] = max(state["peak"], _taken(state))
            wait_s = size / state["bytes_per_s"] if state["bytes_per_s"] else 0.0
        time.sleep(wait_s)

    def release(self) -> None:
        with self._state() as state:
            if not state.get("lie"):
                state["held"].pop(str(os.getpid()), None)
            wait_s = state.get("free_s", 0.0)
        time.sleep(wait_s)

    @contextmanager
    def _state(self) -> Iterator[dict[str, Any]]:
        with self.path.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = json.load(file)
            _bury(state)
            try:
                yield state
            finally:
                file.seek(0)
                file.truncate()
                json.dump(state, file)


def _taken(state: dict[str, Any]) -> int:
    return sum(int(each["bytes"]) for each in state["held"].values())


def _bury(state: dict[str, Any]) -> None:
    """The dead give their memory back, but not at once."""
    now = time.time()
    for pid, each in list(state["held"].items()):
        if each["died"] is None and _born(int(pid)) != each["born"]:
            each["died"] = now
        if each["died"] is not None and now - each["died"] >= state["reclaim_s"]:
            del state["held"][pid]


def _born(pid: int) -> str | None:
    """When the process of this number was started, in ticks; None where there is none or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


class FakeModel:
    """Takes bytes of the fake device; computes by waiting."""

    def __init__(self, settings: Any) -> None:
        warnings.warn("a fake model computes nothing; it is for tests only", stacklevel=2)
        self._device = FakeDevice(Path(settings.device_file))
        self._device.allocate(int(settings.bytes))

    def work(self, part: int, seconds: float = 0.0) -> str:
        """A piece of work whose result depends on nothing but its number."""
        time.sleep(seconds)
        return f"part {part}: {(part * 2654435761) % 2**32:08x}"

    def write(self, count: int, seconds: float = 0.0, first: int = 0) -> Iterator[str]:
        for token in range(first, count):
            time.sleep(seconds)
            yield f"t{token} "

    def close(self) -> None:
        self._device.release()


def open_model(settings: Any) -> dict[str, Any]:
    """For the model's process."""
    model = FakeModel(settings)
    return {"work": model.work, "write": model.write, "close": model.close, "facts": lambda: {"model": "fake"}}
