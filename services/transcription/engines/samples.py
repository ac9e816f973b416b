"""Is a stretch of sound one person's voice, and how good a sample of it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.transcription.engines import Sample, Sound, Voice
from services.transcription.engines.clustering import centre, clustered
from services.transcription.engines.windows import FRAME, FRAME_S

Floats = NDArray[np.float32]
SPEAKS = 0.5
LEAST_ANY_S, LEAST_S, ENOUGH_S = 0.5, 3.0, 15.0
"""Speech below which there is none, below which there is too little, and above which more says little."""
ONE_VOICE = 0.35
"""Mean cosine of two groups of pieces below which they are two people's; one reader's are above 0.5."""
LEAST_OTHER_S, LEAST_OTHER_SHARE = 1.5, 0.1
"""Speech of a second voice from which a sample is refused."""
OVERLAP_SHARE = 0.15
"""Part of the speech in which two talk at once from which a sample is refused."""
SNR_DB = (5.0, 25.0)
AGREEMENT = (0.5, 0.85)
"""Mean cosine of the pieces to their centre."""
CLIPPED_SHARE = 0.005
FLOOR = 0.2
"""No single flaw takes more than four fifths of the quality."""


def judged(sound: Sound, speech: Floats, vectors: Floats, seconds: Floats) -> Sample:
    """`speech`: how many talk in each frame; `vectors` and `seconds`: pieces in which one person talks, in order.

    Music, noise and silence are all `no_speech`: the segmentation network finds nobody who talks in them.
    """
    heard_s = float((speech > SPEAKS).sum() * FRAME_S)
    if heard_s < LEAST_ANY_S or not len(vectors):
        return Sample(None, 0.0, "no_speech")
    if heard_s < LEAST_S:
        return Sample(None, 0.0, "too_short")
    if _several(speech, vectors, seconds):
        return Sample(None, 0.0, "several_voices")
    voice = Voice(centre(vectors, seconds), round(float(seconds.sum()), 3))
    return Sample(voice, _quality(sound, speech, voice, vectors, heard_s))


def _several(speech: Floats, vectors: Floats, seconds: Floats) -> bool:
    if (speech > 1.5).sum() > OVERLAP_SHARE * (speech > SPEAKS).sum():
        return True
    labels = clustered(vectors, seconds, ONE_VOICE)
    heard_s = np.sort(np.bincount(labels, weights=seconds))
    return len(heard_s) > 1 and bool(heard_s[-2] >= max(LEAST_OTHER_S, LEAST_OTHER_SHARE * heard_s.sum()))


def _quality(sound: Sound, speech: Floats, voice: Voice, vectors: Floats, heard_s: float) -> float:
    """The product of what may be wrong with it: brief, noisy, clipped, changing."""
    clipped = float((np.abs(sound) >= 0.99).mean())
    parts = (
        heard_s / ENOUGH_S,
        _between(_snr_db(sound, speech), SNR_DB),
        1 - clipped / CLIPPED_SHARE,
        _between(float((vectors @ voice.vector).mean()), AGREEMENT),
    )
    return round(float(np.prod([FLOOR + (1 - FLOOR) * min(max(part, 0.0), 1.0) for part in parts])), 3)


def _between(value: float, bounds: tuple[float, float]) -> float:
    return (value - bounds[0]) / (bounds[1] - bounds[0])


def _snr_db(sound: Sound, speech: Floats) -> float:
    """Loud frames against the quietest tenth; pauses between words are enough to tell the noise."""
    count = min(len(speech), len(sound) // FRAME)
    power = (sound[: count * FRAME].astype(np.float64).reshape(count, FRAME) ** 2).mean(axis=1) + 1e-10
    talked = power[speech[:count] > SPEAKS]
    if not len(talked):
        return 0.0
    return float(10 * np.log10(np.median(talked) / np.percentile(power, 10)))
