"""NVIDIA NeMo: Parakeet, RNNT or TDT, by `restore_from` or `from_pretrained` (extra `nemo`)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from services.transcription.engines import Capabilities, Heard, Sound, require_language, require_sound
from services.transcription.engines.nemo_weights import NemoModel
from services.transcription.engines.pieces import RATE_HZ, pauses, spoken
from services.transcription.settings import Settings
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

SILENCE_S = 0.35
"""A gap this long between two words begins a new segment."""
CONFIDENCE = {
    "preserve_frame_confidence": True,
    "preserve_token_confidence": True,
    "preserve_word_confidence": True,
    "exclude_blank": True,
    "aggregation": "mean",
    "method_cfg": {"name": "max_prob"},
}
"""Probability of the chosen tokens, scaled so that 0 is a guess, mean over a word (NeMo's `ConfidenceConfig`)."""


class Nemo:
    """A `.nemo` file or folder below MODELS_DIR, else a name in the local hub cache. For English models.

    NeMo invents text for silence, so a detector of speech goes first. Word times are on the grid of the encoder's
    frames, 80 ms with Parakeet.
    """

    def __init__(self, settings: Settings) -> None:
        from nemo.collections.asr.models import ASRModel

        self._model = NemoModel(ASRModel, settings, settings.transcription_model, dtype=settings.nemo_dtype)
        self._chunk_s, self._batch_size = settings.nemo_chunk_s, settings.nemo_batch_size
        _set_decoding(self._model.module)
        if self._model.park is not None and self._model.wake is not None:
            self.park, self.wake = self._model.park, self._model.wake
        self.capabilities = Capabilities(settings.transcription_model, frozenset({"en"}), word_timestamps=True)

    def transcribe(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        require_sound(sound)
        require_language(self.capabilities, language)
        pieces = spoken(sound, self._chunk_s)
        words = [
            word
            for (begin, end), found in zip(pieces, self._hypotheses(sound, pieces), strict=True)
            for word in words_of(found, begin / RATE_HZ, end / RATE_HZ)
        ]
        return Heard(segments_of(in_order(words)), "en")

    def utterance(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        return self.transcribe(sound, language=language, hotwords=hotwords)

    def guess(self, sound: Sound, *, language: str | None = None) -> str:
        return " ".join(each.text for each in self.transcribe(sound, language=language).segments)

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        return pauses(sound)

    def _hypotheses(self, sound: Sound, pieces: list[tuple[int, int]]) -> list[Any]:
        if not pieces:
            return []
        heard = [sound[begin:end] for begin, end in pieces]
        found = self._model.module.transcribe(heard, batch_size=self._batch_size, timestamps=True, verbose=False)
        return list(found)


def _set_decoding(model: Any) -> None:
    """Word times and confidence, and no captured graphs: these live outside the module and would replay addresses that
    were given away meanwhile."""
    from omegaconf import OmegaConf, open_dict

    decoding = model.cfg.decoding
    with open_dict(decoding):
        decoding.compute_timestamps = True
        decoding.confidence_cfg = CONFIDENCE
        decoding.strategy = "greedy_batch"
        decoding.greedy = OmegaConf.merge(decoding.get("greedy") or {}, {"use_cuda_graph_decoder": False})
    model.change_decoding_strategy(decoding, verbose=False)


def words_of(hypothesis: Any, begin_s: float, end_s: float) -> list[Word]:
    """The words of one piece, inside it. Confidence is 1.0 for all where NeMo gives none or not one for each word."""
    times = hypothesis.timestamp["word"]
    sure = hypothesis.word_confidence or []
    if len(sure) != len(times):
        sure = [1.0] * len(times)
    return [
        Word(
            word=each["word"],
            start_s=min(begin_s + float(each["start"]), end_s),
            end_s=min(begin_s + float(each["end"]), end_s),
            confidence=round(min(1.0, max(0.0, float(confidence))), 3),
        )
        for each, confidence in zip(times, sure, strict=True)
        if each["word"].strip()
    ]


def in_order(words: list[Word]) -> list[Word]:
    """Words one after another: where one of RNNT reaches into the next it ends there; none ends before it starts."""
    for word, following in pairwise(words):
        following.start_s = max(following.start_s, word.start_s)
        word.end_s = max(word.start_s, min(word.end_s, following.start_s))
    for word in words[-1:]:
        word.end_s = max(word.start_s, word.end_s)
    return words


def segments_of(words: list[Word]) -> list[Segment]:
    groups: list[list[Word]] = []
    for word in words:
        if not groups or word.start_s - groups[-1][-1].end_s > SILENCE_S:
            groups.append([])
        groups[-1].append(word)
    return [_segment(group) for group in groups]


def _segment(words: list[Word]) -> Segment:
    return Segment(
        segment_id=new_id("seg"),
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        speaker="SPEAKER_00",
        text=" ".join(word.word for word in words),
        confidence=round(sum(word.confidence for word in words) / len(words), 3),
        words=words,
    )
