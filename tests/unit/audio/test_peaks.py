"""Waveforms: no peak is lost at any zoom, and hours take no more memory than minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.audio.decode import RATE_HZ
from shared.audio.outline import FIRST_SAMPLES, MOST, Outline
from shared.audio.peaks import Peaks, peaks_of
from shared.audio.tracks import SpooledTrack
from shared.storage.spool import Spool


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.integers(-8000, 8000, (int(seconds * RATE_HZ), channels)).astype(np.int16)


@pytest.mark.parametrize("portion", [1, 15, 16, 17, 4096, 10**9])
def test_the_portions_that_sound_comes_in_make_no_difference(portion: int) -> None:
    sound = noise(0.5, 2)[: 3001 if portion < 100 else None]
    whole, parts = Outline(2), Outline(2)
    whole.feed(sound)
    for at in range(0, len(sound), portion):
        parts.feed(sound[at : at + portion])
    assert np.array_equal(whole.finish(), parts.finish()) and whole.samples == parts.samples == len(sound)


def test_each_stretch_has_its_lowest_and_highest() -> None:
    sound = noise(1.0, 2)
    found = peaks_of(sound.T)
    stretches = sound.reshape(-1, FIRST_SAMPLES, 2)
    assert np.array_equal(found.values[..., 0], stretches.min(axis=1))
    assert np.array_equal(found.values[..., 1], stretches.max(axis=1))


def test_a_click_in_three_hours_is_seen_at_any_zoom() -> None:
    outline, minute = Outline(1), np.zeros((60 * RATE_HZ, 1), dtype=np.int16)
    for number in range(180):
        portion = minute.copy()
        if number == 101:
            portion[12_345] = -32768
            portion[12_346] = 32767
        outline.feed(portion)
    peaks = Peaks(outline.finish(), outline.samples, outline.stretch_samples)
    assert MOST // 2 <= len(peaks.values) <= MOST and peaks.duration_s == 3 * 3600
    for points in (1, 2, 999, 1000, 20_000):
        (drawn,) = peaks.at(points)
        assert len(drawn) == 2 * points and min(drawn) == -1.0 and max(drawn) > 0.9999
        where = int(np.argmin(drawn)) // 2 / points * peaks.duration_s
        assert abs(where - (101 * 60 + 12_345 / RATE_HZ)) <= peaks.duration_s / points + 1


def test_packing_keeps_everything() -> None:
    made = peaks_of(noise(0.3, 3).T)
    again = Peaks.unpack(made.pack())
    assert np.array_equal(again.values, made.values)
    assert (again.samples, again.stretch_samples) == (made.samples, made.stretch_samples)


def test_sound_on_disk_gives_the_same(tmp_path: Path) -> None:
    sound, spool = noise(130.0, 2), Spool(tmp_path)
    spool.append(sound.astype("<i2").tobytes())
    spool.finish()
    on_disk, in_memory = peaks_of([SpooledTrack(spool, 2, number) for number in range(2)]), peaks_of(sound.T)
    assert np.array_equal(on_disk.values, in_memory.values) and on_disk.duration_s == in_memory.duration_s == 130.0
