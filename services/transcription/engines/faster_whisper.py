"""Whisper on CTranslate2. The voice activity detector goes first: Whisper invents text for silence."""

from __future__ import annotations

import math
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from services.transcription.engines import Capabilities, Heard, Sound, require_language, require_sound
from services.transcription.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

RATE_HZ = 16_000
TEMPERATURES = (0.0, 0.5)
"""Tried in turn while the text looks wrong. Whisper's own six, with five samples each, take nine times as long where
speech repeats itself, for the same text; and at 1.0 words were lost."""


class FasterWhisper:
    """Needs the folder of the weights below MODELS_DIR; nothing is ever fetched."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.transcription_model
        if not (folder / "model.bin").is_file():
            raise ModelNotReady(f"{folder / 'model.bin'} is missing; run `nemo models pull`.")
        self._beam_size = settings.beam_size
        self._model = WhisperModel(
            str(folder),
            device=settings.device,
            compute_type=settings.compute_type,
            cpu_threads=settings.threads,
            local_files_only=True,
        )
        languages = frozenset(self._model.supported_languages)
        self.capabilities = Capabilities(
            model=settings.transcription_model,
            languages=languages,
            word_timestamps=True,
            detects_language=len(languages) > 1,
            hotwords=True,
        )

    def park(self) -> None:
        """Of a GPU the weights go to the host's memory, which is where they come back from; on the host they go."""
        self._model.model.unload_model(to_cpu=self._model.model.device == "cuda")

    def wake(self) -> None:
        self._model.model.load_model()

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        require_sound(sound)
        require_language(self.capabilities, language)
        found, info = self._model.transcribe(
            sound,
            language=language or (None if self.capabilities.detects_language else "en"),
            beam_size=self._beam_size,
            temperature=TEMPERATURES,
            best_of=1,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,
            hotwords=hotwords,
        )
        segments = [segment for each in found if (segment := _segment(each, len(sound) / RATE_HZ)) is not None]
        return Heard(segments, info.language)

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        spoken = get_speech_timestamps(sound, VadOptions(min_silence_duration_ms=300))
        edges = [0.0, *(t / RATE_HZ for each in spoken for t in (each["start"], each["end"])), len(sound) / RATE_HZ]
        return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def _segment(each: Any, end_s: float) -> Segment | None:
    """None where it holds no word. Times never leave the sound: the model may place a last word behind its end."""
    words = [
        Word(
            word=word.word.strip(),
            start_s=min(word.start, end_s),
            end_s=min(max(word.end, word.start), end_s),
            confidence=round(word.probability, 3),
        )
        for word in each.words or ()
        if word.word.strip()
    ]
    if not words:
        return None
    return Segment(
        segment_id=new_id("seg"),
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        speaker="SPEAKER_00",
        text=each.text.strip(),
        confidence=round(min(1.0, math.exp(each.avg_logprob)), 3),
        words=words,
    )
