"""The outside: gives a file to a child and hears what became of it.

Input and output live in anonymous memory (memfd), or come and go through a socket and a pipe where they are too large
for that; either way no plaintext touches the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.errors import StorageFailed

_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from shared.sandbox.child import main; main()"
"""Isolated (`-I`) Python knows no folder of ours, so it is told the one."""

Read = Callable[[int, int], Awaitable[bytes]]
"""Bytes `[start, end)` of a file."""
ASKED = struct.Struct(">QQ")
"""A child's question: start and end of the bytes that it wants, within the file."""
_PIPE_BYTES = 64 * 1024


async def fill(descriptor: int, source: bytes | AsyncIterator[bytes]) -> int:
    """Write all to the descriptor and go back to its beginning; bytes written."""
    size = 0
    if isinstance(source, bytes):
        size = _write_all(descriptor, source)
    else:
        async for chunk in source:
            size += await asyncio.to_thread(_write_all, descriptor, chunk)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size


def _write_all(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


async def run_apart(
    module: str, source: int, target: int, limits: Mapping[str, Any], *, deadline_s: float
) -> dict[str, Any] | None:
    """What `module.work` answered about the file `source`: `ok`, and `code` and `detail` where that is false.

    `limits` holds memory_bytes (address space), cpu_s, output_bytes and whatever the module asks for. None where the
    child said nothing: it crashed or ran out of its time. Raises TimeoutError.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", _START, str(_ROOT)),
        *(module, str(source), str(target), json.dumps(dict(limits))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(source, target),
        env={},
        cwd="/",
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), deadline_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _answer(said)


def _answer(said: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return found


async def run_served(
    module: str, read: Read, size: int, keep: Callable[[bytes], None], limits: Mapping[str, Any], *, deadline_s: float
) -> dict[str, Any] | None:
    """As `run_apart`, for a file of `size` bytes that the child asks for in ranges and output that is kept as it comes.

    `keep` is called in a thread. What `read` or `keep` raises ends the child and is raised here.
    """
    ours, theirs = socket.socketpair()
    taken, given = os.pipe()
    ours.setblocking(False)
    keeping = asyncio.create_task(asyncio.to_thread(_keep_all, taken, keep))
    values = dict(limits) | {"source_bytes": size}
    running = asyncio.create_task(run_apart(module, theirs.fileno(), given, values, deadline_s=deadline_s))
    answering = asyncio.create_task(_answer_ranges(ours, read, size))
    said: dict[str, Any] | BaseException | None = None
    failed: BaseException | None = None
    refused: BaseException | None = None
    try:
        await asyncio.wait({running, answering}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not running.done():  # nobody waits for it, or it waits for bytes that will not come
            running.cancel()
        answering.cancel()
        said, failed = await asyncio.gather(running, answering, return_exceptions=True)
        theirs.close()
        os.close(given)  # the last end to write to, so the thread that keeps comes to its end
        (refused,) = await asyncio.gather(keeping, return_exceptions=True)
        ours.close()
    for error in (failed, refused, said):
        if isinstance(error, Exception):
            raise error
    return said if isinstance(said, dict) else None


async def _answer_ranges(ours: socket.socket, read: Read, size: int) -> None:
    """As long as the child lives; ends early only by raising."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):  # the child has ended
        while asked := await loop.sock_recv(ours, ASKED.size):
            start, end = ASKED.unpack(asked)
            found = await read(start, min(end, size))
            if len(found) != end - start:
                raise StorageFailed("The stored file is shorter than it should be.")
            await loop.sock_sendall(ours, found)
    await asyncio.Event().wait()


def _keep_all(taken: int, keep: Callable[[bytes], None]) -> None:
    """Blocking. Up to the end of what the child writes; a child whose output is refused finds the pipe broken."""
    try:
        while data := os.read(taken, _PIPE_BYTES):
            keep(data)
    finally:
        os.close(taken)
