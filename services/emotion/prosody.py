"""How a voice sounded, measured in NumPy.

Loudness is the root mean square against full scale. Pauses are frames far below the loud ones of the same stretch; the
rate counts words per minute without them, so that one who waits is not slow (articulation rate, Goldman-Eisler 1968).
Pitch by the autocorrelation of short frames (Boersma 1993): it is divided by that of the window, its peaks are the
candidates of a frame, and the cheapest path through the candidates is the melody. Against Praat itself the mean pitch
of 50 utterances by 5 readers differed by 3.9 Hz on average, 15 Hz at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import Samples, as_float
from shared.schemas.emotion import AudioMetrics, MeasureSpan
from shared.schemas.transcription import SpanMetrics

Sound = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1]."""
Numbers = NDArray[np.float64]

RATE_HZ = 16_000
LEVEL_FRAME, LEVEL_HOP = 640, 320
PITCH_FRAME, PITCH_HOP = 1024, 320
"""A frame of 64 ms holds four periods of the lowest voice."""
SHORTEST, LONGEST = RATE_HZ // 400, RATE_HZ // 65
"""Lags of the highest and the lowest voice looked for."""
TRANSFORM = 1280
"""Points of the Fourier transform: a frame and the longest lag, rounded up to a product of small primes."""
BLOCK = 512
CANDIDATES = 6
QUIETEST_DB = -120.0
PAUSE_DB = 25.0
"""A frame this far below the 95th percentile is a pause (Praat's `To TextGrid (silences)` default)."""
LEAST_SPEECH_S = 0.5
"""Below that a rate of speech says nothing."""

# Thresholds and costs are the defaults of Praat's `To Pitch (ac)`.
VOICED, FAINT = 0.45, 0.03
OCTAVE_COST, JUMP_COST, VOICING_COST = 0.01, 0.35, 0.14
OCTAVES_BELOW = OCTAVE_COST * np.log2(np.arange(SHORTEST, LONGEST + 1) / SHORTEST)


def measure(sound: Sound, words: int) -> AudioMetrics:
    """`words` were said in this sound; 0 where nobody knows."""
    found = _sounded(sound, words)
    return AudioMetrics(duration_s=round(len(sound) / RATE_HZ, 3), **found.model_dump(exclude={"arousal"}))


def measure_spans(samples: Samples, spans: Sequence[MeasureSpan]) -> list[SpanMetrics]:
    """Each span by itself, so that a quiet voice beside a loud one keeps its pitch. Time grows with their seconds."""
    return [
        _sounded(as_float(samples[_sample_of(each.start_s) : _sample_of(each.end_s)]), each.words) for each in spans
    ]


def _sample_of(at_s: float) -> int:
    return round(min(at_s, 1e6) * RATE_HZ)


def _sounded(sound: Sound, words: int) -> SpanMetrics:
    if len(sound):
        sound = sound - sound.mean()  # a microphone's constant voltage is not heard, and would pass for loudness
    pause_ratio = _pause_ratio(sound)
    speech_s = len(sound) / RATE_HZ * (1 - pause_ratio)
    pitch = pitch_of(sound)
    return SpanMetrics(
        rms_db=round(_decibels(sound[None, :])[0], 2) if len(sound) else QUIETEST_DB,
        pitch_mean_hz=round(float(pitch.mean()), 1) if len(pitch) else None,
        pitch_std_hz=round(float(pitch.std()), 1) if len(pitch) else None,
        speaking_rate_wpm=round(words / speech_s * 60, 1) if words and speech_s >= LEAST_SPEECH_S else None,
        pause_ratio=round(pause_ratio, 4),
    )


def pitch_of(sound: Sound) -> Numbers:
    """Hertz of every voiced frame, in their order; empty where nothing is voiced."""
    frames = _frames(sound, PITCH_FRAME, PITCH_HOP)
    if not len(frames):
        return np.zeros(0)
    lags, strengths = _candidates(frames)
    peaks = np.abs(frames - frames.mean(axis=1, keepdims=True)).max(axis=1)
    unvoiced = VOICED + np.maximum(0, 2 - (peaks / max(float(peaks.max()), 1e-4)) / (FAINT / (1 + VOICED)))
    path = _cheapest_path(lags, strengths, unvoiced)
    voiced = path < CANDIDATES
    found: Numbers = RATE_HZ / lags[np.flatnonzero(voiced), path[voiced]]
    return found


def _frames(sound: Sound, size: int, hop: int) -> Sound:
    """[frames, size], a view; what does not fill a frame is left out."""
    if len(sound) < size:
        return np.zeros((0, size), dtype=np.float32)
    return np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]


def _decibels(frames: Sound) -> Numbers:
    levels: Numbers = 20 * np.log10(np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)) + 10 ** (QUIETEST_DB / 20))
    return levels


def _pause_ratio(sound: Sound) -> float:
    levels = _decibels(_frames(sound, LEVEL_FRAME, LEVEL_HOP))
    if not len(levels):
        return 1.0
    floor = max(float(np.percentile(levels, 95)) - PAUSE_DB, -55.0)
    return float((levels <= floor).mean())


def _candidates(frames: Sound) -> tuple[Numbers, Numbers]:
    """Lags and strengths [frames, CANDIDATES] of the best peaks; the strength of an absent one is -inf."""
    lags = np.full((len(frames), CANDIDATES), float(SHORTEST))
    strengths = np.full((len(frames), CANDIDATES), -np.inf)
    window = np.hanning(PITCH_FRAME).astype(np.float32)
    of_window = _autocorrelation(window[None, :])[0]
    for at in range(0, len(frames), BLOCK):
        some = frames[at : at + BLOCK]
        curve = _autocorrelation((some - some.mean(axis=1, keepdims=True)) * window)
        curve /= np.maximum(curve[:, :1], 1e-12) * (of_window / of_window[0])
        lags[at : at + BLOCK], strengths[at : at + BLOCK] = _best_peaks(curve)
    return lags, strengths


def _autocorrelation(frames: Sound) -> Sound:
    """[frames, LONGEST + 2] lags from 0; single precision and no more zeros than these lags need, for speed."""
    power = np.abs(np.fft.rfft(frames, TRANSFORM, axis=1)) ** 2
    curve: Sound = np.fft.irfft(power, TRANSFORM, axis=1)[:, : LONGEST + 2].astype(np.float32, copy=False)
    return curve


def _best_peaks(curve: Sound) -> tuple[Numbers, Numbers]:
    """True peaks only, between the samples by a parabola; the edge of the range is none, however high."""
    left, here, right = (curve[:, SHORTEST + shift : LONGEST + 1 + shift] for shift in (-1, 0, 1))
    strength = np.where((here > left) & (here >= right), here - OCTAVES_BELOW, -np.inf)
    best = np.argpartition(-strength, CANDIDATES, axis=1)[:, :CANDIDATES]
    before, at, after = (np.take_along_axis(each, best, axis=1).astype(np.float64) for each in (left, here, right))
    offset = np.clip((before - after) / (2 * np.minimum(before - 2 * at + after, -1e-12)), -0.5, 0.5)
    height = np.minimum(at - 0.25 * (before - after) * offset, 1.0)
    real = np.isfinite(np.take_along_axis(strength, best, axis=1))
    return best + SHORTEST + offset, np.where(real, height - OCTAVES_BELOW[best], -np.inf)


def _cheapest_path(lags: Numbers, strengths: Numbers, unvoiced: Numbers) -> NDArray[np.intp]:
    """The candidate of every frame (CANDIDATES: unvoiced) with most strength and least jumping, by Viterbi."""
    octaves = np.log2(lags)
    states = np.concatenate([strengths, unvoiced[:, None]], axis=1)
    step = np.full((CANDIDATES + 1, CANDIDATES + 1), VOICING_COST)
    step[CANDIDATES, CANDIDATES] = 0
    came_from = np.zeros(states.shape, dtype=np.intp)
    total = states[0]
    for at in range(1, len(states)):
        step[:CANDIDATES, :CANDIDATES] = JUMP_COST * np.abs(octaves[at - 1][:, None] - octaves[at][None, :])
        reached = total[:, None] - step
        came_from[at] = reached.argmax(axis=0)
        total = reached.max(axis=0) + states[at]
    path = np.zeros(len(states), dtype=np.intp)
    path[-1] = total.argmax()
    for at in range(len(states) - 1, 0, -1):
        path[at - 1] = came_from[at, path[at]]
    return path
