"""Decodes one untrusted file, inside the process that `shared.sandbox` starts for it.

Writes interleaved 16-bit PCM at 16 kHz to the output.
"""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Iterator
from typing import Any

import av

from shared.sandbox.child import Refused

RATE_HZ = 16_000
FORMATS = "wav,w64,aiff,au,caf,flac,mp3,ogg,mov,mp4,matroska,webm,aac,amr,asf"
"""Demuxers that may look at the file; playlists and lists of other files (hls, dash, concat) are not among them."""
CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,"
    "pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,gsm_ms,flac,alac,mp1float,mp2float,mp3float,mp1,mp2,mp3,aac,"
    "opus,libopus,vorbis,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,wmav1,wmav2"
)
STREAMED_RIFF = 0x7FFF_0000
"""Writers that do not know the length leave a size from here up, or 0, in the header."""


def warm_up() -> None:
    """Imports that PyAV puts off until first use, done while files can still be opened."""
    av.logging.set_level(av.logging.PANIC)
    silence = io.BytesIO()
    with wave.open(silence, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(1_600))
    silence.seek(0)
    with av.open(silence) as container:
        for frame in container.decode(audio=0):
            av.AudioResampler(format="s16", layout=frame.layout, rate=RATE_HZ).resample(frame)


class Resampler:
    """To 16 kHz in 16 bits, channels as they are; a source that changes its rate in between goes on."""

    def __init__(self, output: int) -> None:
        self.channels, self.rate_hz, self.samples = 0, 0, 0
        self._output = output
        self._setup: tuple[Any, ...] | None = None
        self._resampler: Any = None

    def feed(self, frame: Any) -> bool:
        """False where the number of channels changes: what follows cannot be joined."""
        setup = (frame.sample_rate, frame.format.name, frame.layout.name)
        if setup != self._setup:
            self.finish()
            if self.channels not in (0, frame.layout.nb_channels):
                return False
            self.channels = frame.layout.nb_channels
            self.rate_hz = self.rate_hz or frame.sample_rate
            self._setup = setup
            self._resampler = av.AudioResampler(format="s16", layout=frame.layout, rate=RATE_HZ)
        self._write(self._resampler.resample(frame))
        return True

    def finish(self) -> None:
        if self._resampler is not None:
            self._write(self._resampler.resample(None))
            self._resampler = None

    def _write(self, frames: list[Any]) -> None:
        for frame in frames:
            left = memoryview(frame.planes[0])[: frame.samples * self.channels * 2]
            while left:
                left = left[os.write(self._output, left) :]
            self.samples += frame.samples


def frames_of(container: Any, stream: Any, limits: dict[str, Any], end: dict[str, Any]) -> Iterator[Any]:
    """Decoded frames; a broken packet is left out, and the end says so."""
    decoded_s, whole, broken = 0.0, 0, 0
    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except (StopIteration, EOFError):
            break
        except (av.FFmpegError, ValueError):
            end["truncated"] = True
            broken += 1
            continue
        whole += len(frames)
        for frame in frames:
            if not 1_000 <= frame.sample_rate <= 768_000:
                raise Refused("unreadable", f"The file claims a sample rate of {frame.sample_rate} Hz.")
            decoded_s += frame.samples / frame.sample_rate
            if decoded_s > limits["max_s"]:
                most_s = limits["max_s"]
                most = f"{most_s:g} s" if most_s < 120 else f"{most_s / 60:g} minutes"
                raise Refused("too_long", f"The recording is longer than {most}.")
            yield frame
    if broken > whole:
        raise Refused("unreadable", "Most of the file is damaged, or it is no audio at all.")


def opened(file: Any) -> Any:
    # Only streams of sound are ever opened by a decoder, so a film's pictures are not parsed.
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": ""}
    try:
        return av.open(file, metadata_errors="ignore", options=options)
    except (av.FFmpegError, ValueError, EOFError) as error:
        if _peek(file, 0, 8)[4:] == b"ftyp":
            raise Refused("unreadable", "The file breaks off before its index, so no sound can be read.") from error
        raise Refused("unreadable", "The file is not a kind of audio that we know.") from error


def sound_of(container: Any) -> Any:
    if not container.streams.audio:
        raise Refused("unreadable", "The file holds no audio.")
    stream = container.streams.audio[0]
    if stream.codec_context.name not in CODECS.split(","):
        raise Refused("unreadable", f"The file holds {stream.codec_context.name[:40]}, a kind of audio we do not read.")
    return stream


def decode(file: Any, output: int, limits: dict[str, Any], end: dict[str, Any]) -> None:
    container = opened(file)
    resampler = Resampler(output)
    for frame in frames_of(container, sound_of(container), limits, end):
        if frame.layout.nb_channels > limits["max_channels"]:
            raise Refused("unreadable", f"The file has {frame.layout.nb_channels} channels.")
        if not resampler.feed(frame):
            end["truncated"] = True
            break
    resampler.finish()
    if resampler.samples == 0:
        raise Refused("unreadable", "The file holds no sound that can be decoded.")
    form = container.format.name
    early = resampler.samples / RATE_HZ < 0.98 * (container.duration or 0) / av.time_base - 0.5
    end["truncated"] = end["truncated"] or broke_off(file, form) or (early and knows_its_length(file, form))
    end |= {"rate_hz": resampler.rate_hz, "channels": resampler.channels, "format": form}


def _peek(file: Any, at: int, size: int) -> bytes:
    file.seek(at)
    found: bytes = file.read(size)
    return found


def broke_off(file: Any, form: str) -> bool:
    """True for a WAV that is shorter than its own header says and an Ogg without an end; FFmpeg passes over both."""
    size = file.seek(0, os.SEEK_END)
    if form == "wav":
        declared = int.from_bytes(_peek(file, 0, 8)[4:], "little")
        return 0 < declared < STREAMED_RIFF and declared + 8 > size + 1
    if form == "ogg":
        tail = _peek(file, max(0, size - 65_536), 65_536)
        page = tail.rfind(b"OggS")
        end_of_stream = 4
        return not 0 <= page < len(tail) - 5 or not tail[page + 5] & end_of_stream
    return False


def knows_its_length(file: Any, form: str) -> bool:
    """False where FFmpeg guesses the length from a bit rate."""
    if form == "mp3":
        return any(tag in _peek(file, _id3_bytes(file), 400) for tag in (b"Xing", b"Info"))
    return form.startswith(("flac", "mov", "matroska"))


def _id3_bytes(file: Any) -> int:
    """Size of the tag before the sound, as four numbers of seven bits (ID3v2, section 3.1)."""
    head = _peek(file, 0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def work(file: Any, output: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Raises Refused with `unreadable` or `too_long`."""
    end: dict[str, Any] = {"truncated": False}
    try:
        decode(file, output, limits, end)
    except (MemoryError, av.MemoryError) as error:
        raise Refused("unreadable", "Decoding the file takes more memory than allowed.") from error
    except av.FFmpegError as error:
        raise Refused("unreadable", "The file is damaged.") from error
    except OSError as error:  # the one file that is written has reached its limit
        raise Refused("too_long", "The recording has more sound than fits; mix its channels down.") from error
    return end
