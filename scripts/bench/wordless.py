"""Sounds in which nobody says a word, made of numbers: silence, noise, hum, clicks, music, a street.

All are mono float32 in [-1, 1] at 16 kHz and always the same for the same length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
Sound = NDArray[np.float32]
Numbers = NDArray[np.float64]


def _time_s(seconds: float) -> Numbers:
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


def _at(level_db: float, sound: Numbers) -> Sound:
    """At this root mean square, decibels relative to full scale; what does not fit is clipped."""
    rms = np.sqrt((sound**2).mean()) + 1e-12
    return np.clip(sound / rms * 10 ** (level_db / 20), -1, 1).astype(np.float32)


def coloured(seconds: float, exponent: float, seed: int) -> Numbers:
    """Noise whose power falls as 1 / f ** exponent: 0 white, 1 pink, 2 brown. In blocks of half a minute."""
    rng, size = np.random.default_rng(seed), 30 * RATE_HZ
    falls = np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 20.0) ** (-exponent / 2)
    count = int(np.ceil(seconds * RATE_HZ / size))
    blocks = [np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * falls, size) for _ in range(count)]
    return np.concatenate(blocks)[: int(seconds * RATE_HZ)]


def band(sound: Numbers, low_hz: float, high_hz: float) -> Numbers:
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    return np.fft.irfft(spectrum, len(sound))


def hum(seconds: float) -> Numbers:
    time_s = _time_s(seconds)
    return sum((np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 12)), np.zeros(len(time_s)))


def clicks(seconds: float, seed: int = 3) -> Numbers:
    """A keyboard: two short bursts of noise a key, four keys a second, with breaks."""
    rng, sound = np.random.default_rng(seed), np.zeros(int(seconds * RATE_HZ))
    burst = np.exp(-np.arange(480) / 60)
    for at in rng.integers(0, len(sound) - 4000, int(seconds * 4)):
        for offset, strength in ((0, 1.0), (int(rng.integers(800, 2400)), 0.5)):
            sound[at + offset : at + offset + 480] += strength * burst * rng.standard_normal(480)
    return sound


def _note(hz: float, seconds: float, brightness: float, vibrato: float = 0.0) -> Numbers:
    time_s = _time_s(seconds)
    phase = 2 * np.pi * hz * time_s + vibrato * np.sin(2 * np.pi * 5.5 * time_s)
    tone = sum((np.sin(k * phase) * brightness**k for k in range(1, 9)), np.zeros(len(time_s)))
    return tone * np.minimum(time_s / 0.01, 1) * np.exp(-time_s / (seconds * 0.6))


def _placed(seconds: float, notes: Iterator[tuple[float, Numbers]]) -> Numbers:
    sound = np.zeros(int(seconds * RATE_HZ))
    for at_s, note in notes:
        at = int(at_s * RATE_HZ)
        if at < len(sound):
            part = note[: len(sound) - at]
            sound[at : at + len(part)] += part
    return sound


def _hz(midi: float) -> float:
    return 440.0 * 2 ** ((midi - 69) / 12)


PROGRESSION = ((60, 64, 67), (57, 60, 64), (65, 69, 72), (55, 59, 62))


def chords(seconds: float) -> Numbers:
    """Four triads in turn, two seconds each, as a soft organ."""
    notes = {key: _note(_hz(key), 2.2, 0.5) for triad in PROGRESSION for key in triad}
    return _placed(seconds, ((at * 2.0, notes[key]) for at in range(int(seconds / 2)) for key in PROGRESSION[at % 4]))


def arpeggio(seconds: float) -> Numbers:
    """The same triads, six plucked notes a second."""
    notes = {key: _note(_hz(key + 12), 0.5, 0.6) for triad in PROGRESSION for key in triad}
    return _placed(seconds, ((at / 6, notes[PROGRESSION[at // 12 % 4][at % 3]]) for at in range(int(seconds * 6))))


def melody(seconds: float, seed: int = 5) -> Numbers:
    """A voice-like lead in the range of a singer, with vibrato and breaks: the hardest of the music."""
    rng, scale = np.random.default_rng(seed), (57, 60, 62, 64, 67, 69, 72)

    def notes() -> Iterator[tuple[float, Numbers]]:
        at_s = 0.0
        while at_s < seconds:
            long_s = float(rng.choice([0.25, 0.5, 0.5, 1.0]))
            yield at_s, _note(_hz(int(rng.choice(scale))), long_s, 0.75, vibrato=0.6)
            at_s += long_s + (0.8 if rng.random() < 0.15 else 0.0)

    return _placed(seconds, notes())


def vocalise(seconds: float, seed: int = 9) -> Numbers:
    """A voice that sings "ah", "oh" and "oo": pulses through three formants (Peterson & Barney 1952), no word."""
    rng = np.random.default_rng(seed)
    vowels = ((730, 1090, 2440), (570, 840, 2410), (300, 870, 2240))

    def sung(hz: float, long_s: float, formants: tuple[int, ...]) -> Numbers:
        time_s = _time_s(long_s)
        phase = 2 * np.pi * hz * time_s + 0.5 * np.sin(2 * np.pi * 5.5 * time_s)
        parts = (
            np.sin(k * phase) / k * sum(1 / (1 + ((k * hz - each) / 90) ** 2) for each in formants)
            for k in range(1, int(4000 / hz))
        )
        return sum(parts, np.zeros(len(time_s))) * np.minimum(time_s / 0.05, 1) * np.minimum((long_s - time_s) / 0.1, 1)

    def notes() -> Iterator[tuple[float, Numbers]]:
        at_s = 0.0
        while at_s < seconds:
            long_s = float(rng.uniform(0.4, 1.5))
            yield at_s, sung(_hz(int(rng.choice((45, 48, 50, 52, 55, 57, 60, 62)))), long_s, vowels[rng.integers(3)])
            at_s += long_s + (1.0 if rng.random() < 0.2 else 0.02)

    return _placed(seconds, notes())


def drums(seconds: float, seed: int = 7) -> Numbers:
    """A rock pattern at 120 beats a minute."""
    rng, time_s = np.random.default_rng(seed), _time_s(0.3)
    kick = np.sin(2 * np.pi * (50 * time_s + 8 * (1 - np.exp(-time_s * 30)))) * np.exp(-time_s * 14)
    snare = rng.standard_normal(len(time_s)) * np.exp(-time_s * 22)
    hat = np.diff(rng.standard_normal(len(time_s) + 1)) * np.exp(-time_s * 70) * 0.3
    beats = range(int(seconds * 4))
    return _placed(
        seconds, ((at / 4, hat + (kick if at % 4 == 0 else snare if at % 4 == 2 else 0 * hat)) for at in beats)
    )


def sweeps(seconds: float) -> Numbers:
    """From 80 to 6,000 Hz and again, every five seconds."""
    along = (_time_s(seconds) % 5) / 5
    return np.sin(2 * np.pi * np.cumsum(80 * (6000 / 80) ** along) / RATE_HZ)


def street(seconds: float, seed: int = 11) -> Numbers:
    """At least 12 s of rumble, passing cars with engines and tyres, now and then a horn or a siren."""
    rng = np.random.default_rng(seed)
    sound = coloured(seconds, 1.6, seed)
    sound /= np.sqrt((sound**2).mean())
    tyres = band(coloured(seconds, 0.5, seed + 1), 300, 3000)
    tyres /= np.sqrt((tyres**2).mean())
    beside = _time_s(12) - 6
    near = np.exp(-((beside / 1.5) ** 2))
    for at_s in rng.uniform(0, max(seconds - 12, 0), int(seconds / 6)):
        at = int(at_s * RATE_HZ)
        engine = np.sign(np.sin(2 * np.pi * rng.uniform(70, 130) * (1 - 0.04 * np.tanh(beside)) * beside))
        passing = near * (3 * tyres[at : at + len(near)] + 0.8 * engine)
        sound[at : at + len(passing)] += passing
    horn = _note(415, 0.7, 0.8) + _note(523, 0.7, 0.8)
    wail = np.sin(2 * np.pi * np.cumsum(600 + 300 * np.sin(2 * np.pi * 0.4 * _time_s(6))) / RATE_HZ)
    marks = [(float(at_s), horn * 4) for at_s in rng.uniform(0, seconds, int(seconds / 20))]
    marks += [(float(at_s), wail * 2) for at_s in rng.uniform(0, seconds, int(seconds / 120) + 1)]
    return sound + _placed(seconds, iter(marks))


def telephone(seconds: float) -> Numbers:
    """Dialling tones and ringing."""
    time_s = _time_s(seconds)
    rows, columns = np.array([697, 770, 852, 941]), np.array([1209, 1336, 1477])
    key = (time_s / 0.2).astype(int)
    dial = np.sin(2 * np.pi * rows[key % 4] * time_s) + np.sin(2 * np.pi * columns[key % 3] * time_s)
    ring = np.sin(2 * np.pi * 440 * time_s) + np.sin(2 * np.pi * 480 * time_s)
    return np.where(time_s % 10 < 3, dial * (time_s % 0.2 < 0.1), ring * (time_s % 6 < 2))


KINDS: dict[str, Callable[[float], Sound]] = {
    "digital silence": lambda seconds: np.zeros(int(seconds * RATE_HZ), dtype=np.float32),
    "white noise -80 dB": lambda seconds: _at(-80, coloured(seconds, 0, 1)),
    "white noise -50 dB": lambda seconds: _at(-50, coloured(seconds, 0, 1)),
    "white noise -20 dB": lambda seconds: _at(-20, coloured(seconds, 0, 1)),
    "pink noise -50 dB": lambda seconds: _at(-50, coloured(seconds, 1, 2)),
    "pink noise -20 dB": lambda seconds: _at(-20, coloured(seconds, 1, 2)),
    "brown noise -50 dB": lambda seconds: _at(-50, coloured(seconds, 2, 3)),
    "brown noise -20 dB": lambda seconds: _at(-20, coloured(seconds, 2, 3)),
    "hum": lambda seconds: _at(-35, hum(seconds)),
    "hum in noise": lambda seconds: _at(-35, hum(seconds)) + _at(-50, coloured(seconds, 1, 4)),
    "clicks": lambda seconds: _at(-35, clicks(seconds)),
    "chords": lambda seconds: _at(-20, chords(seconds)),
    "arpeggio": lambda seconds: _at(-20, arpeggio(seconds)),
    "melody": lambda seconds: _at(-20, melody(seconds)),
    "vocalise": lambda seconds: _at(-20, vocalise(seconds)),
    "drums": lambda seconds: _at(-20, drums(seconds)),
    "band": lambda seconds: _at(-18, chords(seconds) + melody(seconds) + 1.5 * drums(seconds)),
    "sweeps": lambda seconds: _at(-20, sweeps(seconds)),
    "street": lambda seconds: _at(-25, street(seconds)),
    "telephone": lambda seconds: _at(-25, telephone(seconds)),
}
