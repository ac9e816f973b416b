"""The sound of a recording as its stages read it: a stretch at a time, so that its length costs no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import RATE_HZ, DecodeLimits, Samples, as_float, judged
from shared.errors import AudioTooLong, AudioUnreadable
from shared.sandbox.parent import Read, run_served
from shared.storage.spool import Spool

MINUTE = 60 * RATE_HZ
_SAMPLE_BYTES = 2


class Track(Protocol):
    """One signal, int16 [n] at 16 kHz; arrays are tracks too."""

    def __len__(self) -> int: ...
    def __getitem__(self, at: slice, /) -> Samples: ...


@dataclass(frozen=True)
class SpooledTrack:
    """One channel of interleaved samples that lie in a spool. Reading blocks."""

    spool: Spool
    channels: int
    number: int

    def __len__(self) -> int:
        return self.spool.size // (_SAMPLE_BYTES * self.channels)

    def __getitem__(self, at: slice, /) -> Samples:
        start, stop, _ = at.indices(len(self))
        width = _SAMPLE_BYTES * self.channels
        frames = np.frombuffer(self.spool.read(start * width, stop * width), dtype="<i2")
        return frames.reshape(-1, self.channels)[:, self.number]


@dataclass(frozen=True)
class Mixed:
    """The mean of tracks of one length."""

    tracks: Sequence[Track]

    def __len__(self) -> int:
        return len(self.tracks[0])

    def __getitem__(self, at: slice, /) -> Samples:
        parts = [track[at] for track in self.tracks]
        return np.asarray(np.mean(parts, axis=0, dtype=np.float32).astype(np.int16))


@dataclass(frozen=True)
class Audible:
    """A track as models want it, float32 [n] in [-1, 1]."""

    track: Track

    def __len__(self) -> int:
        return len(self.track)

    def __getitem__(self, at: slice, /) -> NDArray[np.float32]:
        return as_float(self.track[at])


def minutes(*tracks: Track) -> Iterator[tuple[Samples, ...]]:
    """The tracks side by side, a minute at a time."""
    for at in range(0, len(tracks[0]), MINUTE):
        yield tuple(track[at : at + MINUTE] for track in tracks)


@dataclass(frozen=True)
class Tracks:
    """The sound of a file, one track a channel."""

    channels: list[Track]
    format: str
    truncated: bool
    """True where the file broke off or was damaged; the tracks are what could be decoded."""

    @property
    def duration_s(self) -> float:
        return len(self.channels[0]) / RATE_HZ

    def mono(self) -> Track:
        """The mean of the channels."""
        return self.channels[0] if len(self.channels) == 1 else Mixed(self.channels)


async def decode_long(read: Read, size: int, folder: Path, *, limits: DecodeLimits | None = None) -> Tracks:
    """Decode a file of `size` bytes that is read in ranges; the sound lies sealed in `folder` while it is held.

    Raises AudioUnreadable or AudioTooLong with what is wrong with it, DiskFull, and whatever `read` raises.
    """
    limits = limits or DecodeLimits()
    if size == 0:
        raise AudioUnreadable("The file is empty.")
    spool = Spool(folder)

    def keep(data: bytes) -> None:
        spool.append(data)
        if spool.size > limits.max_pcm_bytes:
            raise AudioTooLong("The recording has more sound than fits; mix its channels down.")

    values = asdict(limits) | {"output_bytes": limits.max_pcm_bytes}
    served = run_served("shared.audio.child", read, size, keep, values, deadline_s=limits.deadline_s)
    facts = await judged(served)
    spool.finish()
    channels = facts["channels"]
    tracks: list[Track] = [SpooledTrack(spool, channels, number) for number in range(channels)]
    return Tracks(tracks, facts["format"], facts["truncated"])
