"""Headers of WAV files, honest and not."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from services.transcription import wave_header
from shared.errors import AudioUnreadable


def made(rate_hz: int, channels: int, subtype: str) -> bytes:
    into = io.BytesIO()
    soundfile.write(into, np.zeros((rate_hz, channels)), rate_hz, subtype=subtype, format="WAV")
    return into.getvalue()


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 32), ("FLOAT", 32)])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_what_soundfile_writes(subtype: str, bits: int, rate_hz: int) -> None:
    data = made(rate_hz, 2, subtype)
    found = wave_header.read(data)
    assert found is not None and (found.channels, found.rate_hz, found.bits) == (2, rate_hz, bits)
    assert found.seconds(len(data)) == pytest.approx(1, abs=0.01)


def test_more_bytes_are_asked_for_until_the_sound_begins() -> None:
    data = made(8_000, 2, "PCM_16")
    found = [wave_header.read(data[:size]) for size in range(60)]
    assert found[0] is None and found[20] is None and found[50] is not None


def test_a_chunk_before_the_format_is_passed_over() -> None:
    data = made(8_000, 2, "PCM_16")
    listed = data[:12] + b"LIST" + struct.pack("<I", 5) + b"hello\0" + data[12:]
    found = wave_header.read(listed)
    assert found is not None and found.rate_hz == 8_000 and listed[found.data_at - 8 : found.data_at - 4] == b"data"


def test_the_first_format_holds_as_it_does_for_ffmpeg() -> None:
    data = made(8_000, 2, "PCM_16")
    second = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16)
    found = wave_header.read(data[:36] + second + data[36:])
    assert found is not None and found.rate_hz == 8_000


def damaged(**fields: int) -> bytes:
    at = {"kind": 20, "channels": 22, "rate_hz": 24, "bits": 34}
    data = bytearray(made(8_000, 2, "PCM_16"))
    for name, value in fields.items():
        size = 4 if name == "rate_hz" else 2
        data[at[name] : at[name] + size] = value.to_bytes(size, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"ID3\x03 an mp3 file", b"RIFF....AVI ....", b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
        b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff", b"RIFF\0\0\0\0WAVE" + b"junk\x10\0\0\0" * 9000,
        damaged(kind=85), damaged(channels=0), damaged(rate_hz=0), damaged(bits=0),
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(AudioUnreadable):
        wave_header.read(data)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_it(data: bytes, begins_well: bool) -> None:
    try:
        found = wave_header.read(b"RIFF\0\0\0\0WAVE" * begins_well + data)
    except AudioUnreadable:
        return
    assert found is None or found.seconds(1000) >= 0
