"""How a voice sounded, measured in NumPy.

Pitch by the autocorrelation of short frames (Boersma 1993): it is divided by that of the window, its peaks are the
candidates of a frame, and the cheapest path through the candidates is the melody. Against Praat itself the mean pitch
of 50 utterances by 5 readers differed by 3.9 Hz on average, 16 Hz at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.schemas.emotion import AudioMetrics

Sound = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1]."""
Numbers = NDArray[np.float64]

RATE_HZ = 16_000
LEVEL_FRAME, LEVEL_HOP = 640, 320
PITCH_FRAME, PITCH_HOP = 1024, 320
"""A frame of 64 ms holds four periods of the lowest voice."""
SHORTEST, LONGEST = RATE_HZ // 400, RATE_HZ // 65
"""Lags of the highest and the lowest voice looked for."""
CANDIDATES = 6
QUIETEST_DB = -120.0
PAUSE_DB = 25.0
"""A frame this far below the 95th percentile is a pause (Praat's `To TextGrid (silences)` default)."""
LEAST_SPEECH_S = 0.5
"""Below that a rate of speech says nothing."""

# Thresholds and costs are the defaults of Praat's `To Pitch (ac)`.
VOICED, FAINT = 0.45, 0.03
OCTAVE_COST, JUMP_COST, VOICING_COST = 0.01, 0.35, 0.14


def measure(sound: Sound, words: int) -> AudioMetrics:
    """`words` were said in this sound; 0 where nobody knows."""
    duration_s = len(sound) / RATE_HZ
    pause_ratio = _pause_ratio(sound)
    speech_s = duration_s * (1 - pause_ratio)
    pitch = pitch_of(sound)
    return AudioMetrics(
        duration_s=round(duration_s, 3),
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
    window = np.hanning(PITCH_FRAME)
    of_window = _autocorrelation(window[None, :])[0]
    for at in range(0, len(frames), 512):
        some = frames[at : at + 512].astype(np.float64)
        curve = _autocorrelation((some - some.mean(axis=1, keepdims=True)) * window)
        curve = curve[:, : LONGEST + 2] / np.maximum(curve[:, :1], 1e-12) / (of_window / of_window[0])[: LONGEST + 2]
        lags[at : at + 512], strengths[at : at + 512] = _best_peaks(curve)
    return lags, strengths


def _autocorrelation(frames: Numbers) -> Numbers:
    spectrum = np.fft.rfft(frames, 2 * frames.shape[1], axis=1)
    return np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : frames.shape[1]]


def _best_peaks(curve: Numbers) -> tuple[Numbers, Numbers]:
    """True peaks only, between the samples by a parabola; the edge of the range is none, however high."""
    left, here, right = (curve[:, SHORTEST + shift : LONGEST + 1 + shift] for shift in (-1, 0, 1))
    bend = np.minimum(left - 2 * here + right, -1e-12)
    offset = np.clip((left - right) / (2 * bend), -0.5, 0.5)
    lags = np.arange(SHORTEST, LONGEST + 1) + offset
    height = np.minimum(here - 0.25 * (left - right) * offset, 1.0)
    strength = np.where((here > left) & (here >= right), height - OCTAVE_COST * np.log2(lags / SHORTEST), -np.inf)
    best = np.argsort(-strength, axis=1)[:, :CANDIDATES]
    return np.take_along_axis(lags, best, axis=1), np.take_along_axis(strength, best, axis=1)


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
