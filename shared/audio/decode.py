"""Any audio file to 16 kHz samples, by way of a child process that may be lost.

The input lives in anonymous memory (memfd), so no plaintext touches the disk; limits are on decoded samples, while
they stream, since headers lie.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import AudioTooLong, AudioUnreadable

RATE_HZ = 16_000
Samples = NDArray[np.int16]

_CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class DecodeLimits:
    """What one decoding may cost."""

    max_s: float = 4 * 3600.0
    """Longest recording, in seconds of decoded sound."""
    deadline_s: float = 300.0
    cpu_s: int = 300
    memory_bytes: int = 4 * 1024**3
    """Address space of the child."""
    max_channels: int = 8


@dataclass(frozen=True)
class Decoded:
    """The sound of a file."""

    samples: Samples
    """int16 [channels, n] at 16 kHz."""
    source_rate_hz: int
    format: str
    """Name of the container as FFmpeg knows it."""
    truncated: bool
    """True where the file broke off or was damaged, and only its beginning was decoded."""

    @property
    def duration_s(self) -> float:
        return int(self.samples.shape[1]) / RATE_HZ

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    def mono(self) -> Samples:
        """The mean of the channels."""
        if self.channels == 1:
            only: Samples = self.samples[0]
            return only
        mixed: Samples = self.samples.mean(axis=0).astype(np.int16)
        return mixed


def as_float(samples: Samples) -> NDArray[np.float32]:
    """float32 in [-1, 1], as the models want it."""
    return samples.astype(np.float32) / 32768.0


async def decode(source: bytes | AsyncIterator[bytes], *, limits: DecodeLimits | None = None) -> Decoded:
    """Decode a whole file. Raises AudioUnreadable or AudioTooLong with what is wrong with it."""
    limits = limits or DecodeLimits()
    descriptor = os.memfd_create("audio")
    try:
        size = await _fill(descriptor, source)
        if size == 0:
            raise AudioUnreadable("The file is empty.")
        return await _run(descriptor, limits)
    finally:
        os.close(descriptor)


async def _fill(descriptor: int, source: bytes | AsyncIterator[bytes]) -> int:
    size = 0
    if isinstance(source, bytes):
        return _write_all(descriptor, source)
    async for chunk in source:
        size += await asyncio.to_thread(_write_all, descriptor, chunk)
    return size


def _write_all(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


async def _run(descriptor: int, limits: DecodeLimits) -> Decoded:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_CHILD),
        str(descriptor),
        json.dumps(asdict(limits)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(descriptor,),
        env={},
    )
    try:
        output, end = await asyncio.wait_for(process.communicate(), limits.deadline_s)
    except TimeoutError as error:
        raise AudioUnreadable("Decoding the file took too long.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _decoded(output, _last_line(end))


def _last_line(end: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(end.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"ok": False, "code": "unreadable", "detail": "The decoder could not cope with this file."}
    return found


def _decoded(output: bytes, end: dict[str, Any]) -> Decoded:
    if not end.get("ok"):
        kind = AudioTooLong if end.get("code") == "too_long" else AudioUnreadable
        raise kind(str(end.get("detail")))
    header, _, pcm = output.partition(b"\n")
    facts = json.loads(header)
    channels = facts["channels"]
    whole = len(pcm) // (2 * channels) * 2 * channels
    samples = np.frombuffer(pcm[:whole], dtype=np.int16).reshape(-1, channels).T
    return Decoded(np.ascontiguousarray(samples), facts["rate_hz"], facts["format"], bool(end["truncated"]))
