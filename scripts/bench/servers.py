"""The embedded servers as benchmarks start them: for one run, and gone after it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis


@asynccontextmanager
async def server(kind: type[EmbeddedPostgres | EmbeddedRedis], folder: Path) -> AsyncIterator[str]:
    """Its URL."""
    made = kind(folder, secrets.token_urlsafe(16))
    await made.prepare()
    child = made.child()
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*child.command, stdout=quiet, stderr=quiet)
    try:
        assert child.ready is not None
        while not await child.ready():
            await asyncio.sleep(0.05)
        yield made.url
    finally:
        process.send_signal(child.stop_signal)
        await process.wait()
