"""Speech to text, and who speaks when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import Invalid
from shared.schemas.transcription import Segment

Sound = NDArray[np.float32]
"""float32 [n] in [-1, 1], mono, 16 kHz."""


class Signal(Protocol):
    """Sound of any length that is read a stretch at a time; a Sound is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, at: slice, /) -> Sound: ...


BUILTIN = {
    "faster_whisper": "services.transcription.engines.faster_whisper:FasterWhisper",
    "nemo": "services.transcription.engines.nemo:Nemo",
    "fake": "services.transcription.engines.fake:FakeSpeech",
}

DIARIZERS = {"onnx_speakers": "services.transcription.engines.onnx_speakers:OnnxSpeakers"}


@dataclass(frozen=True)
class Capabilities:
    """What a speech engine can do."""

    model: str
    languages: frozenset[str]
    """ISO 639-1 codes."""
    word_timestamps: bool
    detects_language: bool = False
    hotwords: bool = False
    translates: bool = False
    """Into English; `transcribe` takes `translate=True` then."""


@dataclass(frozen=True)
class Heard:
    """What was said in one stretch of sound; times count from its beginning."""

    segments: list[Segment]
    language: str


class SpeechEngine(Protocol):
    """Blocking; lives in the model's process. Answers no segment where nobody speaks, in order of time otherwise.

    Raises Invalid for what is no `Sound`, and for a language that is not among its capabilities.
    It may have `park()` and `wake()`, which let go of the device's memory and take it again with the weights kept on
    the host; one without them is dropped and made anew.
    """

    capabilities: Capabilities

    def __init__(self, settings: Any) -> None: ...

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard: ...

    def utterance(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        """What was said in one utterance of a live stream, at most 30 s; may give up a little accuracy for speed."""
        ...

    def guess(self, sound: Sound, *, language: str | None = None) -> str:
        """A first idea of up to 30 s of speech that is still going on; quick, and may be worse than `transcribe`."""
        ...

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        """Stretches without speech, in seconds, where the sound may be cut."""
        ...


def require_sound(sound: Sound) -> None:
    """Raises Invalid for anything but float32 [n]: a model would answer wrong text without a word of warning."""
    if sound.dtype != np.float32 or sound.ndim != 1:
        raise Invalid(f"Sound must be float32 [n], mono; this is {sound.dtype} {list(sound.shape)}. Convert it first.")


def require_language(able: Capabilities, language: str | None) -> None:
    """Raises Invalid where the model does not know it; None is always right."""
    if language is not None and language not in able.languages:
        known = ", ".join(sorted(able.languages)[:20])
        raise Invalid(f"The model {able.model} understands {known} only, not {language!r}; choose another model.")


@dataclass(frozen=True)
class Turn:
    """One speaker talks."""

    start_s: float
    end_s: float
    speaker: int


@dataclass(frozen=True)
class Voice:
    """How somebody sounds."""

    vector: Sound
    """float32 [dimensions], of length 1; compared by their product (cosine)."""
    seconds: float
    """Speech that it was taken from, without overlap."""


@dataclass(frozen=True)
class Diarization:
    """Who speaks when. Speakers are numbered in the order in which they are first heard."""

    turns: list[Turn]
    voices: dict[int, Voice] = field(default_factory=dict)
    """By speaker; one who was never heard alone for long enough has none."""


@dataclass(frozen=True)
class Thresholds:
    """What the cosines of one encoder of voices mean; measured, see `scripts/bench/speakers.py`."""

    same: float
    """Cosine from which a voice may be an enrolled one."""
    margin: float
    """By how much the best enrolled voice has to be ahead of the next."""
    least_s: float
    """Speech below which nobody is recognised."""


@dataclass(frozen=True)
class Sample:
    """What a stretch of sound is worth as a sample of one person's voice."""

    voice: Voice | None
    quality: float
    """0 to 1."""
    problem: str | None = None
    """`too_short`, `no_speech`, `several_voices` or `music`: why it cannot be used; None where it can."""


class Diarizer(Protocol):
    """Blocking. Who speaks when, and whose voice it is, by nothing but the sound."""

    model: str
    thresholds: Thresholds

    def __init__(self, settings: Any) -> None: ...

    def diarize(
        self,
        sound: Signal,
        *,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> Diarization:
        """`breathe` is called again and again; it may wait, and what it raises ends the work."""
        ...

    def voice(self, sound: Sound) -> Voice | None:
        """Of a stretch in which one person talks; None where there is not enough speech in it."""
        ...

    def sample(self, sound: Sound) -> Sample:
        """Is this one person's voice, and how good a sample of it?"""
        ...
