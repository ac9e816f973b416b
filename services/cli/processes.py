"""Starting and stopping programs so that none outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_ORDINARY_ID = 1000
"""What a program that refuses root sees as its own user and group."""


class NotReady(Exception):
    """The program is there but does not answer yet."""


class Failed(Exception):
    """A program did not start; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """One program to run: how it is started, known to be ready, and stopped."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[None]]
    """Returns once it answers; raises NotReady, or Failed where waiting is pointless."""
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    """Handed over on standard input: what must be seen neither on the disk nor in the list of processes."""
    stop_signal: signal.Signals = signal.SIGTERM
    refuses_root: bool = False


def needs_namespace(program: Program) -> bool:
    """As root, a program that refuses root runs in a user namespace of its own; its files stay ours, mode 0700."""
    return program.refuses_root and os.geteuid() == 0


async def spawn(
    program: Program, output: int | IO[bytes] | None, *, cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """Start in a session of its own; the kernel stops it should we die. Both outputs go to `output`."""
    process = await asyncio.create_subprocess_exec(
        *program.argv,
        env=dict(program.env),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE if program.stdin else asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=before_exec(program.stop_signal, namespace=needs_namespace(program)),
    )
    if program.stdin and process.stdin:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(program.stdin)
            await process.stdin.drain()
        process.stdin.close()
    return process


def before_exec(death_signal: signal.Signals, *, namespace: bool = False) -> Callable[[], None]:
    """Runs in the child between fork and exec."""
    parent = os.getpid()
    owner, group = os.geteuid(), os.getegid()

    def run() -> None:
        if namespace:
            _enter_namespace(owner, group)
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return run


def _enter_namespace(owner: int, group: int) -> None:
    if _libc.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_ORDINARY_ID} {owner} 1"),
        ("gid_map", f"{_ORDINARY_ID} {group} 1"),
    ):
        handle = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(handle, text.encode())
        os.close(handle)


async def can_enter_namespace() -> bool:
    """Whether this machine lets us make a user namespace (some containers do not)."""
    try:
        probe = await asyncio.create_subprocess_exec(
            "true", preexec_fn=before_exec(signal.SIGKILL, namespace=True), stderr=asyncio.subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return await probe.wait() == 0


async def stop(process: asyncio.subprocess.Process, how: signal.Signals, *, patience_s: float = 10) -> None:
    """Ask, wait, then kill: the process and all of its session that is left."""
    group = process.pid
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    await process.wait()


async def wait_ready(
    program: Program, process: asyncio.subprocess.Process, *, patience_s: float, look_s: float = 0.1
) -> None:
    """Raises Failed where the program ends or does not answer in time."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        if process.returncode is not None:
            raise Failed(f"{program.name} ended with status {process.returncode} while starting.")
        try:
            await program.ready()
            return
        except NotReady as reason:
            if asyncio.get_running_loop().time() > deadline:
                raise Failed(f"{program.name} did not answer within {patience_s:.0f} s ({reason}).") from reason
        await asyncio.sleep(look_s)
