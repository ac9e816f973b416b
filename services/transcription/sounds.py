"""The sound of recordings apart from their text: put back from an export, deleted while the text stays, or all gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

from services.transcription.options import UploadOptions
from services.transcription.repository import Recordings
from services.transcription.settings import Settings
from services.transcription.speakers import Speakers
from shared.auth.principal import Principal
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.rag import RagClient
from shared.errors import AlreadyExists, AudioUnreadable, Conflict, NotFound, ProductError
from shared.schemas.transcription import StoredSound
from shared.storage.blobs import Blobs
from shared.storage.journal import Journals
from shared.storage.keyring import Keyring

TERMINAL = ("completed", "failed", "cancelled")
BATCH = 500


class Sounds:
    """Of all users; every method is told whose."""

    def __init__(
        self,
        settings: Settings,
        recordings: Recordings,
        blobs: Blobs,
        journals: Journals,
        keyring: Keyring,
        speakers: Speakers,
        coordinator: CoordinatorClient,
        rag: RagClient,
    ) -> None:
        self._settings, self._recordings, self._blobs, self._journals = settings, recordings, blobs, journals
        self._keyring, self._speakers, self._coordinator, self._rag = keyring, speakers, coordinator, rag

    async def put(self, user: Principal, recording_id: str, sound: AsyncIterator[bytes]) -> StoredSound:
        """The sound of a transcript that is in the vault, durable when it returns.

        Raises NotFound without that transcript, AlreadyExists where its sound is here, Conflict where the recording is
        not finished or its id is taken, TooLarge, AudioUnreadable for no bytes at all.
        """
        owner = user.user_id
        transcript = await self._rag.transcript(user, recording_id)
        if await self._is_playable(owner, recording_id):
            raise AlreadyExists("The sound of this recording is here already.")
        if transcript.status != "completed":
            raise Conflict(f"The transcript is {transcript.status}; sound is put back to completed ones.")
        key, most = await self._keyring.data_key(owner), self._settings.max_upload_bytes
        info = await self._blobs.write(owner, recording_id, key, sound, max_bytes=most)
        said = {"title": transcript.title, "context": transcript.context, "tags": transcript.tags}
        try:
            if info.size_bytes == 0:
                raise AudioUnreadable("The file is empty.")
            await self._recordings.put_finished(transcript, owner, UploadOptions().model_dump() | said, info)
        except BaseException:
            await self._blobs.delete(owner, recording_id)
            raise
        return StoredSound(size_bytes=info.size_bytes, sha256=info.sha256)

    async def _is_playable(self, owner: str, recording_id: str) -> bool:
        """A file without its row is what a crash left of an import."""
        with suppress(NotFound):
            await self._recordings.status(recording_id, owner)
            return await self._has(owner, recording_id)
        return False

    async def _has(self, owner: str, recording_id: str) -> bool:
        with suppress(NotFound):
            await self._blobs.size(owner, recording_id)
            return True
        return False

    async def older(self, user: Principal, before: datetime) -> list[str]:
        """Ids of the recordings from before that moment whose sound lies on the disk."""
        found: list[str] = []
        after = ""
        while names := await self._recordings.older(user.user_id, before, after, BATCH):
            found += [name for name in names if await self._has(user.user_id, name)]
            after = names[-1]
        return found

    async def drop(self, user: Principal, recording_id: str) -> None:
        """The sound alone; the text stays. Raises NotFound, Conflict while it is still needed."""
        status = await self._recordings.status(recording_id, user.user_id)
        if status not in TERMINAL:
            raise Conflict(f"The recording is {status}; its sound is needed until it is done.")
        await self._blobs.delete(user.user_id, recording_id)

    async def clear(self, user: Principal) -> None:
        """Every recording's sound and every voiceprint; texts are the vault's to delete. Raises VaultLocked.

        Work in hand is cancelled and can save nothing more; what a crash leaves undone, the next call or the tidying of
        deletions does.
        """
        owner = user.user_id
        await self._keyring.data_key(owner)
        gone = await self._recordings.set_all_deleting(owner)
        for recording_id, job_id, status in gone:
            working = job_id is not None and status not in (*TERMINAL, "deleting")
            if working and job_id is not None:
                with suppress(ProductError):
                    await self._coordinator.cancel(user, job_id)
            await self._blobs.delete(owner, recording_id)
            self._journals.delete(owner, recording_id)
            if status in TERMINAL:
                await self._recordings.delete(recording_id, owner)
        await self._speakers.delete_owner(owner)
