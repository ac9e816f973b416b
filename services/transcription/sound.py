"""The sound of a stored recording."""

from __future__ import annotations

from services.transcription.repository import Recording
from services.transcription.settings import Settings
from shared.audio.decode import DecodeLimits
from shared.audio.tracks import Tracks, decode_long
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring


async def sound_of(recording: Recording, blobs: Blobs, keyring: Keyring, settings: Settings) -> Tracks:
    """Decoded; it lies sealed on disk while it is held. Raises AudioUnreadable, AudioTooLong, VaultLocked, NotFound."""
    owner, name = recording.owner, recording.recording_id
    key = await keyring.data_key(owner)

    async def read(start: int, end: int) -> bytes:
        return b"".join([chunk async for chunk in blobs.read(owner, name, key, start, end)])

    limits = DecodeLimits(max_s=settings.max_duration_s)
    return await decode_long(read, await blobs.size(owner, name), settings.data_dir / "spool", limits=limits)
