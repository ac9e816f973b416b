"""Whisper on CTranslate2.

It invents text where nobody speaks ("Thank you."). So a voice activity detector goes first, and what Whisper
itself doubts to be speech is dropped unless the detector is sure of it.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Word as spoken_word  # noqa: N813
from faster_whisper.vad import get_vad_model

from services.transcription.engines import Capabilities, Heard, Sound, require_language, require_sound
from services.transcription.engines.pieces import pauses
from services.transcription.settings import Settings
from shared.errors import ModelNotReady
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Word

RATE_HZ = 16_000
FRAMES_S = 100
PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Marks that belong to the word after or before them, as the library has them."""
LEAST_WINDOW_S = 10.0
"""Below that the smallest model falls into repeating itself."""
MOST_TOKENS_S = 8.0
"""Nobody says more in a second."""
LEAST_LIKELY, MOST_REPEATED = -1.0, 2.4
"""Log probability and compression ratio at which Whisper's authors take a text for wrong."""
TEMPERATURES = (0.0, 0.5)
"""Tried in turn while the text looks wrong. Whisper's own six, with five samples each, take nine times as long where
speech repeats itself, for the same text; and at 1.0 words were lost."""
SEED = 1
"""Of what is drawn above temperature 0, so that a started engine hears the same sounds in the same order alike."""
DOUBTED = 0.45
"""Whisper's probability of no speech from which a segment has to be vouched for. Phantoms in music had 0.48 to 0.95; of
283 segments of read speech at 0, -20 and -40 dB and in noise 10 dB below it, four had more than this."""
DENIED = 0.75
"""From here nothing vouches for it; speech never had more than 0.62, not even as loud as its noise or far off."""
SURE = 0.9
"""The detector's probability of speech, somewhere in a segment, that vouches for it: at least 0.92 in those four, at
most 0.89 in the phantoms below DENIED."""
NEAR_S = 0.2
"""How far Whisper's word times may be off."""
VAD_FRAME = 512
"""Samples that the detector judges at once."""


@dataclass(frozen=True)
class _Look:
    """One window decoded once."""

    tokens: list[int]
    text: str
    likely: float
    """Mean log probability of the tokens."""
    no_speech_prob: float
    encoded: Any
    frames: int
    tokenizer: Tokenizer


class FasterWhisper:
    """Needs the folder of the weights below MODELS_DIR; nothing is ever fetched."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.transcription_model
        if not (folder / "model.bin").is_file():
            raise ModelNotReady(f"{folder / 'model.bin'} is missing; run `nemo models pull`.")
        self._beam_size = settings.beam_size
        ctranslate2.set_random_seed(SEED)  # what the threads begin with that the model makes next
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
            translates=len(languages) > 1,  # the English-only weights were never taught to
        )

    def park(self) -> None:
        """Of a GPU the weights go to the host's memory, which is where they come back from; on the host they go."""
        self._model.model.unload_model(to_cpu=self._model.model.device == "cuda")

    def wake(self) -> None:
        self._model.model.load_model()

    def transcribe(
        self, sound: Sound, *, language: str | None = None, hotwords: str | None = None, translate: bool = False
    ) -> Heard:
        require_sound(sound)
        require_language(self.capabilities, language)
        found, info = self._model.transcribe(
            sound,
            language=language or (None if self.capabilities.detects_language else "en"),
            task="translate" if translate else "transcribe",
            beam_size=self._beam_size,
            temperature=TEMPERATURES,
            best_of=1,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,
            hotwords=hotwords,
        )
        spoken = without_phantoms(list(found), sound)
        segments = [segment for each in spoken if (segment := _segment(each, len(sound) / RATE_HZ)) is not None]
        return Heard(segments, info.language)

    def utterance(self, sound: Sound, *, language: str | None = None, hotwords: str | None = None) -> Heard:
        """Greedy, in a window no longer than the utterance, at a third of the cost; whatever looks wrong is done again
        in full."""
        if self.capabilities.detects_language and language is None:
            return self.transcribe(sound, hotwords=hotwords)
        require_sound(sound)
        require_language(self.capabilities, language)
        look = self._look(sound, language or "en", hotwords)
        if look is None:
            return self.transcribe(sound, language=language, hotwords=hotwords)
        length_s = len(sound) / RATE_HZ
        part = {"seek": 0, "start": 0.0, "end": length_s, "tokens": look.tokens}
        self._model.add_word_timestamps(
            [[part]], look.tokenizer, look.encoded, min(look.frames, int(length_s * FRAMES_S)), PREPENDED, APPENDED, 0.0
        )
        words = [spoken_word(**each) for each in part["words"]]  # type: ignore[attr-defined]
        whole = SimpleNamespace(
            text=look.text, words=words, start=0.0, end=length_s, avg_logprob=look.likely,
            no_speech_prob=look.no_speech_prob,
        )  # fmt: skip
        found = (_segment(each, length_s) for each in without_phantoms([whole], sound))
        return Heard([each for each in found if each is not None], language or "en")

    def guess(self, sound: Sound, *, language: str | None = None) -> str:
        """Nothing where it looks wrong."""
        look = self._look(sound, language or "en", None)
        return look.text if look is not None and look.no_speech_prob <= DOUBTED else ""

    def _look(self, sound: Sound, language: str, hotwords: str | None) -> _Look | None:
        """Greedy, over no more sound than there is: a window of 10 s costs a fifth of the usual 30 s. None where the
        text looks wrong or the sound does not fit into one window."""
        length_s = len(sound) / RATE_HZ
        if length_s > 30.0:
            return None
        window_s = min(30.0, max(LEAST_WINDOW_S, length_s + 1.0))
        padded = np.zeros(int(window_s * RATE_HZ), dtype=np.float32)
        padded[: len(sound)] = sound
        frames = int(window_s * FRAMES_S)
        features = self._model.feature_extractor(padded)[:, :frames]
        tokenizer = self._tokenizer(language)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True, hotwords=hotwords)
        encoded = self._model.encode(np.ascontiguousarray(features))
        (found,) = self._model.model.generate(
            encoded, [prompt], beam_size=1, return_scores=True, return_no_speech_prob=True,
            max_length=len(prompt) + int(MOST_TOKENS_S * length_s) + 8,
        )  # fmt: skip
        tokens = [each for each in found.sequences_ids[0] if each < tokenizer.eot]
        text = tokenizer.decode(tokens).strip()
        if found.scores[0] <= LEAST_LIKELY or compression_ratio(text) >= MOST_REPEATED:
            return None
        return _Look(tokens, text, found.scores[0], found.no_speech_prob, encoded, frames, tokenizer)

    def _tokenizer(self, language: str) -> Tokenizer:
        many = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, many, task="transcribe" if many else None,
                         language=language if many else "en")  # fmt: skip

    def pauses(self, sound: Sound) -> list[tuple[float, float]]:
        return pauses(sound)


def without_phantoms(found: list[Any], sound: Sound) -> list[Any]:
    """faster-whisper's segments of this sound without those it made up; the detector runs again in doubt only."""
    worded = [each for each in found if any(mark.isalnum() for mark in each.text)]
    if all(each.no_speech_prob <= DOUBTED for each in worded):
        return worded
    speech = _speech(sound)
    return [each for each in worded if each.no_speech_prob <= DOUBTED or _vouched(each, speech)]


def _speech(sound: Sound) -> Sound:
    """Probability of speech [frames] in each VAD_FRAME samples."""
    found: Sound = get_vad_model()(np.pad(sound, (0, -len(sound) % VAD_FRAME))).ravel()
    return found


def _vouched(each: Any, speech: Sound) -> bool:
    if each.no_speech_prob > DENIED:
        return False
    first = max(0, int((each.start - NEAR_S) * RATE_HZ / VAD_FRAME))
    last = int((each.end + NEAR_S) * RATE_HZ / VAD_FRAME) + 1
    return bool(speech[first:last].max(initial=0.0) >= SURE)


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


def compression_ratio(text: str) -> float:
    """How well a text can be packed: one that repeats itself, very well."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0
