"""The outside: gives a file to a child and hears what became of it.

Input and output live in anonymous memory (memfd), so no plaintext touches the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from shared.sandbox.child import main; main()"
"""Isolated (`-I`) Python knows no folder of ours, so it is told the one."""


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
