"""A user's whole vault, taken out and put back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import IO

from services.rag import documents, repository
from services.rag.export import Export, Original
from services.rag.imports import Archive, Bounded, SealedFile, batches, merge, sum_of
from services.rag.parts import PARTS, Outcome, Part
from services.rag.service import REBUILD, Library
from services.rag.settings import Settings
from shared.auth.principal import Principal
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.clients.transcription import TranscriptionClient
from shared.errors import AlreadyExists, Conflict, NotFound, StorageFailed, TooLarge
from shared.multipart import MultipartBody
from shared.schemas.coordinator import SubmitTask
from shared.schemas.ids import new_id
from shared.schemas.ownership import Imported, ImportResult, Member
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

_PIECE = 256 * 1024
_GENEROUS_BYTES = 16 * 1024**2
"""What any archive may unpack to, however small it is."""


class Ownership:
    """Export and import; `incoming` is for archives while they are checked."""

    def __init__(
        self,
        library: Library,
        blobs: Blobs,
        incoming: Blobs,
        keyring: Keyring,
        coordinator: CoordinatorClient,
        transcription: TranscriptionClient,
        settings: Settings,
    ) -> None:
        self._library, self._blobs, self._incoming, self._keyring = library, blobs, incoming, keyring
        self._coordinator, self._transcription, self._settings = coordinator, transcription, settings

    async def export(self, user: Principal, *, audio: bool) -> AsyncIterator[bytes]:
        """The zip, as it is made. Raises before the first byte where the vault cannot be opened."""
        key = await self._keyring.data_key(user.user_id)
        await self._library.run(user.user_id, lambda vault: None)
        originals: dict[str, Original] = {"documents": partial(self._blobs.read, user.user_id, key=key)}
        if audio:
            originals["audio"] = partial(self._transcription.audio, user)
        return Export(self._library, user.user_id, originals).stream()

    async def take_back(self, user: Principal, body: MultipartBody) -> ImportResult:
        """Everything checked, then merged: what is here already stays. Raises ImportRefused, having touched nothing."""
        key, name = await self._keyring.data_key(user.user_id), new_id("imp")
        try:
            most = self._settings.max_import_bytes
            info = await self._incoming.write(user.user_id, name, key, body.file("file"), max_bytes=most)
            read = partial(self._incoming.read, user.user_id, name, key)
            file = Bounded(SealedFile(read, info.size_bytes, asyncio.get_running_loop()), _PIECE)
            unpacked = _GENEROUS_BYTES + info.size_bytes * self._settings.import_ratio
            archive = await asyncio.to_thread(Archive, file, unpacked)
            return await self._merged(user, archive, key)
        finally:
            await self._incoming.delete(user.user_id, name)

    async def _merged(self, user: Principal, archive: Archive, key: bytes) -> ImportResult:
        parts = {part.name: await self._part(user.user_id, archive, part) for part in PARTS}
        files = await self._files(user.user_id, archive, key)
        result = ImportResult(parts=parts, files=files, audio=await self._sounds(user, archive))
        if parts["memories"].imported:
            submitted = SubmitTask(kind=REBUILD, payload={"user_id": user.user_id}, owner=user.user_id)
            result.job_id = (await self._coordinator.submit(submitted)).task_id
        return result

    async def _part(self, user_id: str, archive: Archive, part: Part) -> Imported:
        found, left = [], batches(archive, part)
        while batch := await asyncio.to_thread(next, left, None):
            found.append(await self._library.run(user_id, partial(merge, part=part, records=batch)))
        return sum_of(found)

    async def _files(self, user_id: str, archive: Archive, key: bytes) -> Imported:
        found = Imported()
        for document_id, name in archive.files("documents").items():
            found.present += 1
            with suppress(NotFound):
                await self._blobs.size(user_id, document_id)
                continue
            found.present -= 1
            if not await self._belongs(user_id, archive, document_id, name):
                found.orphaned += 1
                continue
            with archive.open(name) as file:
                chunks = _pieces(file)
                await self._blobs.write(user_id, document_id, key, chunks, max_bytes=self._settings.max_import_bytes)
            found.imported += 1
        return found

    async def _sounds(self, user: Principal, archive: Archive) -> Imported:
        """To the service that keeps them, each with its transcript, which is in the vault by now."""
        found, members = Imported(), {each.name: each for each in archive.manifest.members}
        for recording_id, name in archive.files("audio").items():
            outcome = await self._sound(user, archive, recording_id, members[name])
            setattr(found, outcome, getattr(found, outcome) + 1)
        return found

    async def _sound(self, user: Principal, archive: Archive, recording_id: str, member: Member) -> Outcome:
        """Raises StorageFailed where other bytes arrived than the archive has."""
        if member.size_bytes == 0:
            return "orphaned"
        try:
            with archive.open(member.name) as file:
                stored = await self._transcription.put_sound(user, recording_id, _pieces(file))
        except AlreadyExists:
            return "present"
        except (Conflict, TooLarge):
            return "different"
        except NotFound:
            return "orphaned"
        if stored.sha256 != member.sha256:
            await self._transcription.drop_sound(user, recording_id)
            raise StorageFailed("The sound of a recording was damaged on its way; import the archive again.")
        return "imported"

    async def clear(self, user: Principal) -> None:
        """All that this user's vault has, sound and voiceprints first: whoever fails there deletes nothing here."""
        await self._library.run(user.user_id, lambda vault: None)
        await self._transcription.clear(user)
        await self._library.run(user.user_id, repository.clear)
        await self._blobs.delete_owner(user.user_id)
        await self._library.deletions.record(user.user_id, "vault", "all")

    async def _belongs(self, user_id: str, archive: Archive, document_id: str, name: str) -> bool:
        """Whether this is the file of a document that is here."""
        try:
            document = await self._library.run(user_id, partial(documents.get, document_id=document_id))
        except NotFound:
            return False
        return any(each.name == name and each.sha256 == document.sha256 for each in archive.manifest.members)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece
