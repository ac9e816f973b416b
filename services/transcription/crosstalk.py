"""Words that a channel holds only because another one bleeds into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import RATE_HZ, Samples, as_float
from shared.audio.tracks import Track
from shared.schemas.ids import new_id
from shared.schemas.transcription import Notice, Segment, Word

Said = dict[tuple[int, str], list[Word]]
"""Words by channel and plain spelling."""
QUIETER_DB = 4.0
"""By how much a copy is quieter than what it is a copy of; the louder channel wins (0 % confusion at -6 to -20 dB)."""
COHERENT = 0.6
"""Correlation at the best delay from which the quieter sound is a copy. Two people at once stay below 0.4."""
DELAY = RATE_HZ // 50
"""The longest way that a bleed takes, in samples: 20 ms are some 7 m of air."""
SHORT_S = 0.1
LONG = 4
"""Letters from which a word is unlikely to be said by two people at once by chance; "a" and "to" are."""
NEAR_S = 0.3
"""By how much the times of one word in two channels may differ."""


def without_crosstalk(segments: Sequence[Segment], signals: Sequence[Track]) -> tuple[list[Segment], list[Notice]]:
    """The segments without the quieter copies of another channel's words; people who talk at once both keep theirs.

    `signals` [n] are the channels that the segments are numbered by. A word goes where its channel is quieter there
    than another one and either the sound is that channel's (coherence) or that channel has the same word.
    """
    found: list[Segment] = []
    removed = 0
    said = _index(segments)
    for segment in segments:
        kept = _own_words(segment, signals, said)
        removed += len(segment.words) - len(kept)
        if kept or not segment.words:
            found.append(segment if len(kept) == len(segment.words) else _cut(segment, kept))
    if not removed:
        return found, []
    detail = f"One channel is heard in another; {removed} words that were only its echo were left out."
    return found, [Notice(code="crosstalk_detected", detail=detail)]


def _cut(segment: Segment, words: list[Word]) -> Segment:
    changed = {
        "segment_id": new_id("seg"),
        "words": words,
        "start_s": words[0].start_s,
        "end_s": words[-1].end_s,
        "text": " ".join(word.word for word in words),
    }
    return segment.model_copy(update=changed)


def _index(segments: Sequence[Segment]) -> Said:
    said: Said = defaultdict(list)
    for segment in segments:
        for word in segment.words:
            said[segment.channel, _plain(word.word)].append(word)
    return said


def _own_words(segment: Segment, signals: Sequence[Track], said: Said) -> list[Word]:
    quiet = [_louder(word, segment.channel, signals) for word in segment.words]
    echo = [
        other is not None and (_is_copy(word, signals[segment.channel], signals[other]) or _said_too(word, other, said))
        for word, other in zip(segment.words, quiet, strict=True)
    ]
    # A copy that was misheard between two copies is one too.
    beside = [
        other is not None and 0 < at < len(echo) - 1 and echo[at - 1] and echo[at + 1] for at, other in enumerate(quiet)
    ]
    return [word for word, gone, lone in zip(segment.words, echo, beside, strict=True) if not gone and not lone]


def _louder(word: Word, channel: int, signals: Sequence[Track]) -> int | None:
    """The channel that is clearly louder while this word is said; None where it is the word's own."""
    levels = [_level_db(_stretch(word, signal)) for signal in signals]
    best = int(np.argmax(levels))
    return best if levels[best] - levels[channel] >= QUIETER_DB else None


def _stretch(word: Word, signal: Track) -> Samples:
    """The sound of a word; of one that is given no time, what is around it."""
    missing = max(0.0, SHORT_S - (word.end_s - word.start_s)) / 2
    return signal[max(0, int((word.start_s - missing) * RATE_HZ)) : int((word.end_s + missing) * RATE_HZ)]


def _level_db(stretch: Samples) -> float:
    return float(10 * np.log10(np.square(stretch, dtype=np.float32).mean() + 1e-3)) if len(stretch) else -30.0


def _is_copy(word: Word, own: Track, other: Track) -> bool:
    return coherence(_stretch(word, own), _stretch(word, other)) >= COHERENT


def coherence(a: Samples, b: Samples) -> float:
    """Largest absolute normalised cross-correlation of two stretches within the delay of a bleed, 0 to 1."""
    size = 1 << (len(a) + DELAY).bit_length()
    spectrum = np.fft.rfft(as_float(a), size) * np.conj(np.fft.rfft(as_float(b), size))
    lags: NDArray[np.float64] = np.fft.irfft(spectrum, size)
    near = np.abs(np.concatenate([lags[: DELAY + 1], lags[-DELAY:]])).max()
    scale = float(np.linalg.norm(as_float(a)) * np.linalg.norm(as_float(b)))
    return float(near / scale) if scale > 0 else 0.0


def _said_too(word: Word, channel: int, said: Said) -> bool:
    plain = _plain(word.word)
    return len(plain) >= LONG and any(
        other.start_s < word.end_s + NEAR_S and word.start_s < other.end_s + NEAR_S
        for other in said.get((channel, plain), ())
    )


def _plain(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
