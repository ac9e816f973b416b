"""Child processes: started in order, kept alive, stopped together.

The kernel kills each child when its parent dies (PR_SET_PDEATHSIG), so even SIGKILL of `nemo up` leaves no orphans.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from shared.settings import plain_environment

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
"""A child that lived this long starts again at once."""
HOPELESS = 4
"""Ends in a row after which nobody waits any longer for a child to become ready."""
STOP_S = 10.0

Line = Callable[[str, str], None]
"""Takes (name of the child, one line that it wrote)."""


@dataclass
class Child:
    """One process and how to know that it is ready."""

    name: str
    command: list[str]
    env: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    ready: Callable[[], Awaitable[bool]] | None = None
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)
    restarts: int = 0
    """Ends in a row, each soon after its start."""


def die_with_parent(how: signal.Signals) -> None:
    """From now on the kernel sends us this when our parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, how)


def _in_child(death: signal.Signals) -> Callable[[], None]:
    """Runs in the child before its program does. PostgreSQL waits for clients on SIGTERM: each has its own."""
    parent = os.getpid()

    def run() -> None:
        die_with_parent(death)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        # Ctrl-C reaches the whole terminal group; stopping is the supervisor's decision alone.
        os.setpgrp()

    return run


class Supervisor:
    """Starts children one after another, each once the one before is ready, and restarts those that end."""

    def __init__(self, write: Line) -> None:
        self._write = write
        self._children: list[Child] = []
        self._watching: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def children(self) -> list[Child]:
        return list(self._children)

    async def start(self, child: Child) -> None:
        """Spawn and go on watching; does not wait until it is ready."""
        self._children.append(child)
        await self._spawn(child)
        self._watching.append(asyncio.create_task(self._watch(child)))

    async def wait_ready(self, child: Child, wait_s: float) -> bool:
        """False where it is not ready within `wait_s` seconds, or ends again and again instead."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and not self._stopping and child.restarts < HOPELESS:
            if child.ready is None or await child.ready():
                return True
            await asyncio.sleep(0.1)
        return False

    async def _spawn(self, child: Child) -> None:
        child.process = await asyncio.create_subprocess_exec(
            *child.command,
            env={**plain_environment(), **child.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_in_child(child.stop_signal),
            limit=2**20,
        )

    async def _watch(self, child: Child) -> None:
        while True:
            began = time.monotonic()
            ended = await self._until_end(child)
            if self._stopping:
                return
            child.restarts = 0 if time.monotonic() - began > STEADY_S else child.restarts + 1
            pause_s = BACKOFF_S[min(child.restarts, len(BACKOFF_S) - 1)]
            self._write("nemo", f"{child.name} {ended}; starting it again in {pause_s} s")
            await asyncio.sleep(pause_s)
            if self._stopping:
                return
            try:
                await self._spawn(child)
            except OSError as error:  # no memory, no process slots: the next turn tries again
                self._write("nemo", f"{child.name} could not be started: {error}")

    async def _until_end(self, child: Child) -> str:
        """How it ended. What it left running is killed, and cannot hold its output open."""
        process = child.process
        assert process is not None
        passing = asyncio.create_task(self._pass_on(child.name, process))
        try:
            code = await process.wait()
            _kill_group(process)
            await asyncio.wait({passing}, timeout=1)
        finally:
            passing.cancel()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    async def _pass_on(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line beyond the limit: what there is of it was dropped
                continue
            if not line:
                return
            self._write(name, line.decode("utf-8", "replace").rstrip())

    async def stop(self) -> None:
        """Services first, databases last; who does not go within ten seconds is killed."""
        self._stopping = True
        for group in (self._children[2:], self._children[:2]) if len(self._children) > 2 else (self._children,):
            await asyncio.gather(*(self._stop(child) for child in group))
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _stop(self, child: Child) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        _signal(process, child.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            self._write("nemo", f"{child.name} did not stop within {STOP_S:.0f} s and is killed")
            _signal(process, signal.SIGKILL)
            await process.wait()
        _kill_group(process)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        return


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Children of a child: the kernel's signal does not reach them."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
