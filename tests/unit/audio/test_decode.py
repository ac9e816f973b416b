"""Real files of every kind that a phone, a browser or a studio writes, and of kinds that nobody should."""

from __future__ import annotations

import io
import struct
from collections.abc import AsyncIterator

import av
import numpy as np
import pytest

from shared.audio.decode import RATE_HZ, DecodeLimits, as_float, decode, mixed
from shared.errors import AudioTooLong, AudioUnreadable

SECONDS = 2.0
TONE_HZ = 440.0
LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}


def encoded(container: str, codec: str, rate_hz: int, channels: int = 1, sample_format: str = "fltp") -> bytes:
    """A tone, the n-th channel n octaves higher... at a level that survives every codec."""
    time_s = np.arange(int(SECONDS * rate_hz)) / rate_hz
    sound = np.stack([0.4 * np.sin(2 * np.pi * TONE_HZ * (1 + n % 2) * time_s) for n in range(channels)])
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        options = {"strict": "experimental"}  # FFmpeg's own Vorbis encoder wants to be asked twice
        stream = output.add_stream(codec, rate=rate_hz, layout=LAYOUTS[channels], options=options)
        if sample_format == "s16":
            values = (sound.T.reshape(1, -1) * 32767).astype(np.int16)
        else:
            values = sound.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=sample_format, layout=LAYOUTS[channels])
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(format=stream.codec_context.format or sample_format, layout=LAYOUTS[channels])
        size = stream.codec_context.frame_size or 1024
        fifo = av.AudioFifo()
        for each in resampler.resample(frame):
            fifo.write(each)
        while (piece := fifo.read(size)) or (piece := fifo.read(size, partial=True)):
            for packet in stream.encode(piece):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return file.getvalue()


def pitch_hz(samples: np.ndarray) -> float:
    """Of the loudest tone."""
    sound = as_float(samples)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE_HZ / len(sound))


KINDS = {
    "wav": ("wav", "pcm_s16le", "s16"),
    "flac": ("flac", "flac", "s16"),
    "mp3": ("mp3", "libmp3lame", "fltp"),
    "ogg": ("ogg", "vorbis", "fltp"),
    "opus": ("ogg", "libopus", "s16"),
    "m4a": ("ipod", "aac", "fltp"),
    "webm": ("webm", "libopus", "s16"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_sounds_as_it_was_recorded(kind: str) -> None:
    container, codec, sample_format = KINDS[kind]
    channels = 2 if codec == "vorbis" else 1  # its encoder knows stereo only
    found = await decode(encoded(container, codec, 48_000, channels, sample_format))
    assert found.channels == channels and not found.truncated
    assert found.duration_s == pytest.approx(SECONDS, abs=0.15)
    assert pitch_hz(found.samples[0]) == pytest.approx(TONE_HZ, abs=2)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
async def test_every_rate_keeps_pitch_and_length(rate_hz: int) -> None:
    found = await decode(encoded("wav", "pcm_s16le", rate_hz, 1, "s16"))
    assert found.source_rate_hz == rate_hz
    assert found.duration_s == pytest.approx(SECONDS, abs=0.02)
    assert pitch_hz(found.samples[0]) == pytest.approx(TONE_HZ, abs=1)


@pytest.mark.parametrize("channels", LAYOUTS)
async def test_channels_stay_apart(channels: int) -> None:
    found = await decode(encoded("wav", "pcm_s16le", 16_000, channels, "s16"))
    assert found.channels == channels
    wanted = [TONE_HZ * (1 + n % 2) for n in range(channels)]
    assert [pitch_hz(each) for each in found.samples] == pytest.approx(wanted, abs=1)
    assert mixed(found.samples).shape == (found.samples.shape[1],)


@pytest.mark.parametrize("cut", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "webm"])
async def test_what_broke_off_gives_what_there_is(kind: str, cut: float) -> None:
    container, codec, sample_format = KINDS[kind]
    whole = encoded(container, codec, 48_000, 2, sample_format)
    try:
        found = await decode(whole[: int(len(whole) * cut)])
    except AudioUnreadable:
        assert cut < 0.5, "most of the file was there"
        return
    assert 0 < found.duration_s <= SECONDS + 0.1


RIFF = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
NOT_AUDIO = {
    "nothing": b"",
    "words": b"this is no audio at all, it is a letter. " * 100,
    "zeros": bytes(100_000),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "a page": b"<html><body><audio src='x.wav'></body></html>" * 50,
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a list of files": b"ffconcat version 1.0\nfile '/etc/hostname'\n",
    "a stream description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    "a head without sound": RIFF + b"data" + struct.pack("<I", 0xFFFFFFFF),
    "half a head": RIFF[:20],
}


@pytest.mark.parametrize("what", NOT_AUDIO)
async def test_what_is_no_audio_is_told(what: str) -> None:
    with pytest.raises(AudioUnreadable) as told:
        await decode(NOT_AUDIO[what])
    assert told.value.detail.endswith(".") and "/etc" not in told.value.detail and "Traceback" not in told.value.detail


async def test_the_limit_is_on_the_sound_whatever_the_head_claims() -> None:
    sound = encoded("wav", "pcm_s16le", 16_000, 1, "s16")
    lying = bytearray(sound)
    at = sound.index(b"data") + 4
    lying[at : at + 4] = struct.pack("<I", 10)
    assert (await decode(bytes(lying))).duration_s <= SECONDS
    with pytest.raises(AudioTooLong, match="1 s"):
        await decode(sound, limits=DecodeLimits(max_s=1))


async def test_a_stream_is_decoded_as_it_comes() -> None:
    whole = encoded("flac", "flac", 44_100, 1, "s16")

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(whole), 777):
            yield whole[at : at + 777]

    assert (await decode(pieces())).duration_s == pytest.approx(SECONDS, abs=0.02)
