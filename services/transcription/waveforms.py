"""What a recording looks like: made while it is transcribed or when first asked for, kept sealed beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from services.transcription.repository import Recording, Recordings
from services.transcription.settings import Settings
from services.transcription.sound import sound_of
from shared.audio.peaks import Peaks, peaks_of
from shared.audio.tracks import Track
from shared.auth.principal import Principal
from shared.errors import ProductError
from shared.schemas.transcription import Waveform
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)


class Waveforms:
    """Of all users; every method is told whose."""

    def __init__(self, settings: Settings, recordings: Recordings, blobs: Blobs, keyring: Keyring) -> None:
        self._settings, self._recordings, self._blobs, self._keyring = settings, recordings, blobs, keyring
        self._turn = asyncio.Lock()

    async def keep(self, recording: Recording, channels: Sequence[Track]) -> None:
        """What fails here is made when asked for: it costs nobody a transcript."""
        try:
            peaks = await asyncio.to_thread(peaks_of, channels)
            await self._recordings.put_peaks(recording.recording_id, recording.owner, peaks.pack())
        except ProductError as error:
            log.info("a waveform was not kept", extra={"code": error.code})
        except Exception as error:
            log.exception("a waveform could not be made", extra={"kind": type(error).__name__})

    async def get(self, user: Principal, recording_id: str, points: int) -> Waveform:
        """Raises NotFound, also while sound is still coming; VaultLocked; AudioUnreadable."""
        packed = await self._recordings.peaks(recording_id, user.user_id)
        peaks = await self._made(user, recording_id) if packed is None else Peaks.unpack(packed)
        drawn = await asyncio.to_thread(peaks.at, points)
        return Waveform(duration_s=peaks.duration_s, channels=peaks.channels, points=len(drawn[0]) // 2, peaks=drawn)

    async def _made(self, user: Principal, recording_id: str) -> Peaks:
        """One at a time, since decoding is dear; who waited for the same one finds it there."""
        async with self._turn:
            packed = await self._recordings.peaks(recording_id, user.user_id)
            if packed is not None:
                return Peaks.unpack(packed)
            recording = await self._recordings.get(recording_id, user.user_id)
            tracks = await sound_of(recording, self._blobs, self._keyring, self._settings)
            peaks = await asyncio.to_thread(peaks_of, tracks.channels)
            await self._recordings.put_peaks(recording_id, user.user_id, peaks.pack())
            return peaks
