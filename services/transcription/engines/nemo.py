"""NVIDIA NeMo: Parakeet by `restore_from` or `from_pretrained` (extra `nemo`)."""

from __future__ import annotations

from typing import Any

from services.transcription.engines import Capabilities, Heard, Sound
from services.transcription.engines.torch_weights import PinnedWeights
from services.transcription.settings import Settings
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

RATE_HZ = 16_000
SILENCE_S = 0.35
"""A gap this long between two words begins a new segment."""


class Nemo:
    """A `.nemo` file or folder below MODELS_DIR, else a name in the local hub cache.

    NeMo 3.0 wants float32 in [-1, 1]; it invents text for silence, so the detector of `pysilero`/faster-whisper cuts
    the sound before it comes here.
    """

    def __init__(self, settings: Settings) -> None:
        import torch
        from nemo.collections.asr.models import ASRModel

        path = settings.models_dir / settings.transcription_model
        files = [path] if path.is_file() else sorted(path.glob("*.nemo"))
        where = torch.device(settings.device)
        if files:
            self._model: Any = ASRModel.restore_from(str(files[0]), map_location=where)
        else:
            self._model = ASRModel.from_pretrained(settings.transcription_model, map_location=where)
        self._model.eval()
        self._where = where
        # Captured graphs live outside the module and would replay addresses that were given away meanwhile.
        if where.type == "cuda" and "greedy" in self._model.cfg.decoding:
            self._model.cfg.decoding.greedy.use_cuda_graph_decoder = False
            self._model.change_decoding_strategy(self._model.cfg.decoding)
        self._weights = PinnedWeights(self._model) if where.type == "cuda" else None
        if self._weights is not None:
            self._weights.wake(where)
        self.capabilities = Capabilities(settings.transcription_model, frozenset({"en"}), word_timestamps=True)

    def park(self) -> None:
        if self._weights is not None:
            self._weights.park()

    def wake(self) -> None:
        """Raises torch.cuda.OutOfMemoryError, and has taken nothing then."""
        if self._weights is not None:
            self._weights.wake(self._where)

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        from faster_whisper.vad import get_speech_timestamps

        spoken = get_speech_timestamps(sound)
        pieces = [sound[each["start"] : each["end"]] for each in spoken]
        if not pieces:
            return Heard([], "en")
        found = self._model.transcribe(pieces, timestamps=True, verbose=False)
        segments: list[Segment] = []
        for each, hypothesis in zip(spoken, found, strict=True):
            segments += _segments(hypothesis.timestamp["word"], each["start"] / RATE_HZ)
        return Heard(segments, "en")

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        from faster_whisper.vad import get_speech_timestamps

        edges = [0, *(t for each in get_speech_timestamps(sound) for t in (each["start"], each["end"])), len(sound)]
        return [(a / RATE_HZ, b / RATE_HZ) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _segments(words: list[dict[str, Any]], offset_s: float) -> list[Segment]:
    groups: list[list[Word]] = []
    for each in words:
        start, end = offset_s + float(each["start"]), offset_s + float(each["end"])
        word = Word(word=each["word"], start_s=start, end_s=max(start, end), confidence=1.0)
        if not groups or start - groups[-1][-1].end_s > SILENCE_S:
            groups.append([])
        groups[-1].append(word)
    return [
        Segment(
            segment_id=new_id("seg"),
            start_s=group[0].start_s,
            end_s=group[-1].end_s,
            speaker="SPEAKER_00",
            text=" ".join(word.word for word in group),
            confidence=1.0,
            words=group,
        )
        for group in groups
    ]
