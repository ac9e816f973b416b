"""Conversations with known turns, joined from readings: clean, overlapped, over the telephone, in noise."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from faster_whisper import decode_audio

Sound = np.ndarray
"""float32 [n] in [-1, 1], mono, 16 kHz."""
Said = list[tuple[float, float, str]]
"""Who spoke from when to when, in seconds."""
RATE_HZ, HOP = 16_000, 160
PAUSE_S = (0.2, 1.2)
OVERLAP_S = (0.5, 2.5)
BELOW_DB = 32.0
"""How far below an utterance's loud frames (95th percentile) it is silent; the readings are clean."""
LONGEST_GAP_S = 0.3
"""A pause inside an utterance that is no longer counts as speech."""
SNR_DB = 10.0


def utterances(folder: Path) -> dict[str, list[Sound]]:
    """By speaker, of a folder with `transcripts.tsv`."""
    found: dict[str, list[Sound]] = defaultdict(list)
    for line in (folder / "transcripts.tsv").read_text().splitlines():
        name, who, _ = line.split("\t")
        if (folder / name).is_file():
            found[who].append(decode_audio(str(folder / name)))
    return dict(found)


def spoken(sound: Sound) -> list[tuple[float, float]]:
    """Stretches of speech of a clean reading, by energy alone: no model under test has a say in the reference."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2 * HOP)[::HOP]
    level_db = 10 * np.log10((frames.astype(np.float64) ** 2).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) - BELOW_DB)
    cuts = np.flatnonzero(np.diff(loud) * HOP / RATE_HZ > LONGEST_GAP_S)
    return [
        (part[0] * HOP / RATE_HZ, (part[-1] + 2) * HOP / RATE_HZ) for part in np.split(loud, cuts + 1) if len(part) > 5
    ]


def joined(by_speaker: dict[str, list[Sound]], people: int, seed: int, overlap: float = 0.0) -> tuple[Sound, Said]:
    """`overlap`: how often the next one begins before the last one has ended."""
    draw = random.Random(seed)
    who_all = draw.sample(sorted(by_speaker), people)
    parts: list[tuple[int, Sound, str]] = []
    at = 0
    last = ""
    for turn in range(8 + 2 * people):
        who = who_all[turn] if turn < people else draw.choice([each for each in who_all if each != last])
        sound = draw.choice(by_speaker[who])[: int(draw.uniform(3, 12) * RATE_HZ)]
        early = turn > 0 and draw.random() < overlap
        shift_s = -draw.uniform(*OVERLAP_S) if early else draw.uniform(*PAUSE_S)
        begin = max(0, at + int(shift_s * RATE_HZ))
        parts.append((begin, sound, who))
        at, last = max(at, begin + len(sound)), who
    whole = np.zeros(at + RATE_HZ // 2, dtype=np.float32)
    said: Said = []
    for begin, sound, who in parts:
        whole[begin : begin + len(sound)] += sound
        said += [(begin / RATE_HZ + start_s, begin / RATE_HZ + end_s, who) for start_s, end_s in spoken(sound)]
    return np.clip(whole, -1, 1), sorted(said)


def telephone(sound: Sound) -> Sound:
    """Only 300 to 3,400 Hz, quantised as G.711 mu-law does (8 bits, mu = 255)."""
    spectrum, hz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum[(hz < 300) | (hz > 3_400)] = 0
    band = np.clip(np.fft.irfft(spectrum, len(sound)), -1, 1)
    folded = np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256)
    coarse = np.round(folded * 127) / 127
    return np.asarray(np.sign(coarse) * (256 ** np.abs(coarse) - 1) / 255, dtype=np.float32)


def noisy(sound: Sound) -> Sound:
    """With pink noise, 10 dB below the speech."""
    draw = np.random.default_rng(len(sound))
    spectrum = np.fft.rfft(draw.normal(size=len(sound)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(sound))
    power = float((sound[np.abs(sound) > 0.003] ** 2).mean()) if np.any(np.abs(sound) > 0.003) else 1e-4
    gain = np.sqrt(power / (pink**2).mean() / 10 ** (SNR_DB / 10))
    return np.asarray(np.clip(sound + gain * pink, -1, 1), dtype=np.float32)


CONDITIONS: dict[str, Callable[[Sound], Sound]] = {"clean": lambda sound: sound, "telephone": telephone, "noise": noisy}
"""What becomes of a recording; `noise` is at 10 dB."""
