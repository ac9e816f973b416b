"""Whisper on CTranslate2. The voice activity detector goes first: Whisper invents text for silence."""

from __future__ import annotations

import math

from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps

from services.transcription.engines import Capabilities, Heard, Sound
from services.transcription.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

RATE_HZ = 16_000


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

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        found, info = self._model.transcribe(
            sound,
            language=language or (None if self.capabilities.detects_language else "en"),
            beam_size=self._beam_size,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,
            hotwords=hotwords,
        )
        return Heard([_segment(each) for each in found if each.text.strip() and each.words], info.language)

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        spoken = get_speech_timestamps(sound, VadOptions(min_silence_duration_ms=300))
        edges = [0.0, *(t / RATE_HZ for each in spoken for t in (each["start"], each["end"])), len(sound) / RATE_HZ]
        return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def _segment(each: object) -> Segment:
    words = [
        Word(word=w.word.strip(), start_s=w.start, end_s=max(w.end, w.start), confidence=round(w.probability, 3))
        for w in each.words  # type: ignore[attr-defined]
        if w.word.strip()
    ]
    return Segment(
        segment_id=new_id("seg"),
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        speaker="SPEAKER_00",
        text=each.text.strip(),  # type: ignore[attr-defined]
        confidence=round(min(1.0, math.exp(each.avg_logprob)), 3),  # type: ignore[attr-defined]
        words=words,
    )
