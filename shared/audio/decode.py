"""Any audio file to 16 kHz samples, by way of a child process that may be lost.

Limits are on decoded samples, while they stream, since headers lie.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import AudioTooLong, AudioUnreadable
from shared.sandbox.parent import fill, run_apart

RATE_HZ = 16_000
Samples = NDArray[np.int16]

_MINUTE = 60 * RATE_HZ


@dataclass(frozen=True)
class DecodeLimits:
    """What one decoding may cost."""

    max_s: float = 4 * 3600.0
    """Longest recording, in seconds of decoded sound."""
    deadline_s: float = 300.0
    cpu_s: int = 300
    memory_bytes: int = 2 * 1024**3
    """Address space of the child."""
    max_channels: int = 8
    max_pcm_bytes: int = 2 * 1024**3
    """Decoded sound of all channels together: 32,000 bytes a second each."""


@dataclass(frozen=True)
class Decoded:
    """The sound of a file."""

    samples: Samples
    """int16 [channels, n] at 16 kHz."""
    source_rate_hz: int
    format: str
    """Name of the container as FFmpeg knows it."""
    truncated: bool
    """True where the file broke off or was damaged; the samples are what could be decoded."""

    @property
    def duration_s(self) -> float:
        return float(self.samples.shape[1] / RATE_HZ)

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    def mono(self) -> Samples:
        """The mean of the channels."""
        return mixed(self.samples)


def mixed(samples: Samples) -> Samples:
    """The mean of the channels, [n]; a minute at a time, since means are floats and recordings are long."""
    if samples.shape[0] == 1:
        return np.ascontiguousarray(samples[0])
    found = np.empty(samples.shape[1], dtype=np.int16)
    for at in range(0, len(found), _MINUTE):
        found[at : at + _MINUTE] = samples[:, at : at + _MINUTE].mean(axis=0, dtype=np.float32)
    return found


def as_float(samples: Samples) -> NDArray[np.float32]:
    """float32 in [-1, 1], as the models want it."""
    found = samples.astype(np.float32)
    found /= 32768.0  # in place: a second copy of a long sound would be its largest cost
    return found


async def decode(source: bytes | AsyncIterator[bytes], *, limits: DecodeLimits | None = None) -> Decoded:
    """Decode a whole file into memory; for one of hours there is `shared.audio.tracks.decode_long`.

    Raises AudioUnreadable or AudioTooLong with what is wrong with it.
    """
    limits = limits or DecodeLimits()
    encoded, pcm = os.memfd_create("audio"), os.memfd_create("pcm")
    try:
        if await fill(encoded, source) == 0:
            raise AudioUnreadable("The file is empty.")
        values = asdict(limits) | {"output_bytes": limits.max_pcm_bytes}
        facts = await judged(run_apart("shared.audio.child", encoded, pcm, values, deadline_s=limits.deadline_s))
        return Decoded(_mapped(pcm, facts["channels"]), facts["rate_hz"], facts["format"], facts["truncated"])
    finally:
        os.close(encoded)
        os.close(pcm)


def _mapped(pcm: int, channels: int) -> Samples:
    """The samples where the child wrote them, without a copy; the memory is free once nobody holds them."""
    frames = np.frombuffer(mmap.mmap(pcm, 0), dtype=np.int16)
    return frames.reshape(-1, channels).T


async def judged(work: Awaitable[dict[str, Any] | None]) -> dict[str, Any]:
    """What the child says about the sound that it wrote. Raises AudioUnreadable or AudioTooLong."""
    try:
        facts = await work
    except TimeoutError as error:
        raise AudioUnreadable("Decoding the file took too long.") from error
    if facts is None:
        raise AudioUnreadable("The decoder could not cope with this file.")
    if facts["ok"]:
        return facts
    raise (AudioTooLong if facts["code"] == "too_long" else AudioUnreadable)(facts["detail"])
