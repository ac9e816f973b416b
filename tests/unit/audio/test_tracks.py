"""Sound that lies on disk is the same sound, and nobody else can read it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from shared.audio.decode import RATE_HZ, DecodeLimits, as_float, decode
from shared.audio.tracks import Audible, Mixed, Track, decode_long
from shared.errors import AudioTooLong, AudioUnreadable, DiskFull, StorageFailed
from shared.storage import spool as spools
from shared.storage.spool import FRAME_BYTES, KEPT_FRAMES, Spool
from tests.unit.audio.test_decode import KINDS, LAYOUTS, NOT_AUDIO, SECONDS, encoded

Read = Callable[[int, int], Awaitable[bytes]]


def ranges(data: bytes) -> Read:
    async def read(start: int, end: int) -> bytes:
        return data[start:end]

    return read


async def tracks_of(data: bytes, folder: Path, limits: DecodeLimits | None = None) -> list[Track]:
    return (await decode_long(ranges(data), len(data), folder, limits=limits)).channels


def filled(folder: Path, data: bytes) -> Spool:
    spool = Spool(folder)
    for at in range(0, len(data), 100_003):  # odd pieces, across the frames
        spool.append(data[at : at + 100_003])
    spool.finish()
    return spool


@pytest.mark.parametrize("kind", KINDS)
async def test_it_decodes_as_in_memory(kind: str, tmp_path: Path) -> None:
    container, codec, sample_format = KINDS[kind]
    data = encoded(container, codec, 48_000, 2, sample_format)
    wanted = await decode(data)
    found = await decode_long(ranges(data), len(data), tmp_path)
    assert (found.format, found.truncated, found.duration_s) == (wanted.format, wanted.truncated, wanted.duration_s)
    assert all(
        (track[0 : len(track)] == signal).all() for track, signal in zip(found.channels, wanted.samples, strict=True)
    )
    assert (found.mono()[0 : 2 * RATE_HZ] == wanted.mono()[: 2 * RATE_HZ]).all()


@pytest.mark.parametrize("channels", LAYOUTS)
async def test_a_stretch_is_what_the_whole_has_there(channels: int, tmp_path: Path) -> None:
    data = encoded("wav", "pcm_s16le", 16_000, channels, "s16")
    wanted = (await decode(data)).samples
    for track, signal in zip(await tracks_of(data, tmp_path), wanted, strict=True):
        assert len(track) == len(signal)
        for at in (
            slice(0, 10),
            slice(777, 20_001),
            slice(len(signal) - 5, len(signal) + 50),
            slice(9, 9),
            slice(10**9, None),
        ):
            assert (track[at] == signal[at]).all() and len(track[at]) == len(signal[at])
        assert (Audible(track)[100:200] == as_float(signal[100:200])).all()


async def test_tracks_mix_like_arrays(tmp_path: Path) -> None:
    data = encoded("wav", "pcm_s16le", 16_000, 2, "s16")
    tracks, decoded = await tracks_of(data, tmp_path), await decode(data)
    mixed = Mixed(tracks)
    assert len(mixed) == len(decoded.mono()) and (mixed[500:9_000] == decoded.mono()[500:9_000]).all()


@pytest.mark.parametrize("what", NOT_AUDIO)
async def test_what_is_no_audio_is_told(what: str, tmp_path: Path) -> None:
    with pytest.raises(AudioUnreadable) as told:
        await tracks_of(NOT_AUDIO[what], tmp_path)
    assert told.value.detail.endswith(".") and "/etc" not in told.value.detail


async def test_limits_are_on_the_sound(tmp_path: Path) -> None:
    sound = encoded("wav", "pcm_s16le", 16_000, 1, "s16")
    with pytest.raises(AudioTooLong, match="1 s"):
        await tracks_of(sound, tmp_path, DecodeLimits(max_s=1))
    with pytest.raises(AudioTooLong, match="mix its channels down"):
        await tracks_of(sound, tmp_path, DecodeLimits(max_pcm_bytes=int(SECONDS * RATE_HZ)))
    with pytest.raises(AudioUnreadable, match="too long"):
        await tracks_of(sound, tmp_path, DecodeLimits(deadline_s=0.01))


async def test_a_source_that_fails_says_why(tmp_path: Path) -> None:
    sound = encoded("wav", "pcm_s16le", 16_000, 1, "s16")

    async def broken(start: int, end: int) -> bytes:
        if start:
            raise StorageFailed
        return sound[start:end]

    with pytest.raises(StorageFailed):
        await decode_long(broken, 10**6, tmp_path)


async def test_one_that_gives_less_than_it_says_ends(tmp_path: Path) -> None:
    async def shorter(start: int, end: int) -> bytes:
        return b""

    with pytest.raises(StorageFailed, match="shorter"):
        await decode_long(shorter, 1_000, tmp_path)


async def test_a_cancelled_decoding_leaves_nothing_behind(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def slow(start: int, end: int) -> bytes:
        asked.set()
        await asyncio.sleep(60)
        return b""

    before = set(os.listdir("/proc/self/fd"))
    work = asyncio.create_task(decode_long(slow, 1_000, tmp_path))
    await asked.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    del work
    assert list(tmp_path.iterdir()) == []
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # a child watcher may stay


def test_nothing_of_it_can_be_read_on_disk(tmp_path: Path) -> None:
    marker = b"a phrase that must not be found"
    spool = filled(tmp_path, marker * 50_000)
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    stored = os.pread(spool._file.fileno(), 10**8, 0)
    assert (
        len(stored) > spool.size
        and marker not in stored
        and stored[:1_000] != stored[FRAME_BYTES : FRAME_BYTES + 1_000]
    )


def test_many_read_at_once(tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(FRAME_BYTES * (KEPT_FRAMES + 5) + 17)
    spool = filled(tmp_path, data)
    wrong: list[int] = []

    def reads(seed: int) -> None:
        places = np.random.default_rng(seed).integers(0, len(data), 200).tolist()
        wrong.extend(at for at in places if spool.read(at, at + 300_000) != data[at : at + 300_000])

    threads = [threading.Thread(target=reads, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong and len(spool._opened) <= KEPT_FRAMES


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr(spools.tempfile, "TemporaryFile", lambda **_: full.open("r+b", buffering=0))
    with pytest.raises(DiskFull):
        filled(Path("/tmp"), bytes(FRAME_BYTES + 1))
