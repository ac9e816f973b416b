"""What a WAV file says of itself (RIFF; Multimedia Programming Interface and Data Specifications 1.0, 1991)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.errors import AudioUnreadable

MOST_BYTES = 64 * 1024
"""Where the sound has to begin by."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class WaveHeader:
    """Format of the sound, and where it begins."""

    channels: int
    rate_hz: int
    bits: int
    data_at: int

    def seconds(self, file_bytes: int) -> float:
        """Length of the sound in a file of this size; the size that the header names may be a lie."""
        return max(0, file_bytes - self.data_at) / (self.channels * self.rate_hz * self.bits / 8)


def read(head: bytes) -> WaveHeader | None:
    """None where more bytes are needed. Raises AudioUnreadable for anything but WAV with plain samples."""
    if not head.startswith(b"RIFF"[: len(head)]) or (len(head) >= 12 and head[8:12] != b"WAVE"):
        raise AudioUnreadable("The file is not WAV; convert it, for example with `ffmpeg -i call.mp3 call.wav`.")
    at, found = 12, None
    while at + 8 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"data":
            if found is None:
                raise AudioUnreadable("The WAV file does not say how its samples are to be read.")
            return WaveHeader(*found, data_at=at + 8)
        if name == b"fmt " and found is None and at + 24 <= len(head):
            found = _format(head[at + 8 : at + 24])
        at += 8 + size + size % 2
    if len(head) >= MOST_BYTES or at > MOST_BYTES:
        raise AudioUnreadable("The WAV file has no sound near its beginning.")
    return None


def _format(fields: bytes) -> tuple[int, int, int]:
    kind, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", fields)
    if kind not in (PCM, FLOAT, EXTENSIBLE):
        raise AudioUnreadable("The samples of the WAV file are compressed; send PCM of 16, 24 or 32 bits.")
    if channels == 0 or rate_hz == 0 or bits == 0:
        raise AudioUnreadable("The header of the WAV file is damaged.")
    return channels, rate_hz, bits
