"""Samples to a file of sound while they come, by FFmpeg (PyAV)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.filter

from services.tts.engines import Sound
from shared.schemas.tts import SpeechFormat

RATE_HZ = 24_000
"""What OpenAI's clients take `pcm` for; the others follow it."""
PAGE_US = 200_000
"""Ogg sends its pages whole, by default one a second."""
# Container, codec and options of the container. Headers that would be completed at the end stay open: the length in a
# WAV is the largest there is, an MP3 begins without the frame that would tell it.
_FORMS: dict[SpeechFormat, tuple[str, str, dict[str, str]]] = {
    "pcm": ("s16le", "pcm_s16le", {}),
    "wav": ("wav", "pcm_s16le", {}),
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
    "opus": ("ogg", "libopus", {"page_duration": str(PAGE_US)}),
    "flac": ("flac", "flac", {}),
}
MEDIA_TYPES: dict[SpeechFormat, str] = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "flac": "audio/flac",
}


class Encoder:
    """Feed it samples, send what it gives back; mono at 24 kHz whatever comes in."""

    def __init__(self, form: SpeechFormat, rate_hz: int, speed: float = 1.0) -> None:
        """`rate_hz` is that of the samples; `speed` from 0.25 to 4 leaves the pitch alone."""
        container, codec, options = _FORMS[form]
        self._made, self._rate_hz, self._samples = Made(), rate_hz, 0
        self._container: Any = av.open(self._made, "w", format=container, options={"flush_packets": "1"} | options)
        self._stream: Any = self._container.add_stream(codec, rate=RATE_HZ, layout="mono")
        self._tempo = Tempo(rate_hz, speed) if speed != 1 else None

    @property
    def empty(self) -> bool:
        """Nothing has been fed yet."""
        return self._samples == 0

    def add(self, sound: Sound) -> bytes:
        """What is ready to be sent; codecs hold some samples back."""
        if len(sound):
            self._feed(self._frame(sound))
        return self._made.take()

    def end(self) -> bytes:
        """What was held back, and the end of the file."""
        if self._tempo is not None:
            self._encode(self._tempo.changed(None))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._made.take()

    def _frame(self, sound: Sound) -> Any:
        frame: Any = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate_hz, self._samples, Fraction(1, self._rate_hz)
        self._samples += len(sound)
        return frame

    def _feed(self, frame: Any) -> None:
        self._encode([frame] if self._tempo is None else self._tempo.changed(frame))

    def _encode(self, frames: Any) -> None:
        for frame in frames:
            frame.pts = None
            self._container.mux(self._stream.encode(frame))


class Tempo:
    """FFmpeg's `atempo`: waveform similarity overlap-add (Verhelst and Roelands 1993)."""

    def __init__(self, rate_hz: int, speed: float) -> None:
        self._graph: Any = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=rate_hz, format="s16", layout="mono", time_base=Fraction(1, rate_hz)
        )
        # One of them blends the sound between half and double speed only, so two share what is beyond.
        steps = [self._graph.add("atempo", f"{math.sqrt(speed):.6f}") for _ in range(2)]
        self._graph.link_nodes(source, *steps, self._graph.add("abuffersink")).configure()

    def changed(self, frame: Any | None) -> Iterator[Any]:
        """What is ready after this frame; all that is left after None."""
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return


class Made:
    """A file that cannot be sought in: what was written leaves it at once."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        found = bytes(self._bytes)
        self._bytes.clear()
        return found
