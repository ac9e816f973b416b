"""A vault of everything, over real SQLCipher files and in-memory stand-ins of the services beside the memory service."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.rag import conversations, documents, transcripts
from services.rag.engines.fake import FakeEmbedder
from services.rag.ownership import Ownership
from services.rag.reading import Reading
from services.rag.sections import Piece
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vaults
from shared.auth.principal import Principal
from shared.errors import AlreadyExists, NotFound, TooLarge, UpstreamUnavailable
from shared.multipart import MultipartBody
from shared.schemas.documents import Document
from shared.schemas.ids import new_id
from shared.schemas.ownership import ImportResult
from shared.schemas.rag import Message, NewMemory, SearchRequest
from shared.schemas.transcription import Segment, Speaker, StoredSound, Transcript
from shared.storage.blobs import FileBlobs
from shared.storage.keyring import MemoryKeyring

ANNA, BEN = Principal("usr_anna"), Principal("usr_ben")
SOUND = bytes(range(256)) * 1000
FILE = b"The spare key lies under the blue pot."


class World:
    """Vaults, files and the two services behind them, as far as leaving and coming back needs them."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder, max_import_bytes=50_000_000)
        with pytest.warns(UserWarning):
            embedder = FakeEmbedder(self.settings)
        self.keyring = MemoryKeyring()
        facts = embedder.capabilities
        self.vaults = Vaults(self.settings, self.keyring, model=facts.model, dimensions=facts.dimensions)
        self.library = Library(self.vaults, embedder, self.settings)
        self.blobs, self.incoming = FileBlobs(folder / "documents"), FileBlobs(folder / "imports")
        self.folder = folder
        self.submitted: list[Any] = []
        self.sounds: dict[str, bytes] = {}
        self.returned: dict[tuple[str, str], bytes] = {}
        self.most_sound_bytes, self.arrives = 10**9, 10**9
        self.dead = False
        self.coordinator: Any = SimpleNamespace(submit=self._submit)
        self.reading = Reading(self.library, self.blobs, self.keyring, self.coordinator, self.settings)
        self.ownership = Ownership(
            self.library,
            self.blobs,
            self.incoming,
            self.keyring,
            self.coordinator,
            SimpleNamespace(  # type: ignore[arg-type]
                audio=self._audio, put_sound=self._put_sound, drop_sound=self._drop_sound, clear=self._clear
            ),
            self.settings,
        )

    async def _submit(self, task: Any) -> Any:
        self.submitted.append(task)
        return SimpleNamespace(task_id=new_id("job"))

    async def _audio(self, user: Principal, transcript_id: str) -> AsyncIterator[bytes]:
        if transcript_id not in self.sounds:
            raise NotFound
        yield self.sounds[transcript_id]

    async def _put_sound(self, user: Principal, transcript_id: str, sound: AsyncIterator[bytes]) -> StoredSound:
        """As the service that keeps them: with a transcript only, once, and no larger than it takes."""
        await self.library.run(user.user_id, lambda vault: transcripts.get(vault, transcript_id))
        data = b"".join([piece async for piece in sound])
        if (user.user_id, transcript_id) in self.returned:
            raise AlreadyExists
        if len(data) > self.most_sound_bytes:
            raise TooLarge
        self.returned[user.user_id, transcript_id] = data = data[: self.arrives]
        return StoredSound(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    async def _drop_sound(self, user: Principal, transcript_id: str) -> None:
        del self.returned[user.user_id, transcript_id]

    async def _clear(self, user: Principal) -> None:
        if self.dead:
            raise UpstreamUnavailable
        self.sounds.clear()

    async def taken_out(self, user: Principal = ANNA, *, audio: bool = True) -> bytes:
        return b"".join([piece async for piece in await self.ownership.export(user, audio=audio)])

    async def put_back(self, archive: bytes, user: Principal = BEN) -> ImportResult:
        request = httpx.Request("POST", "http://x", files={"file": ("v.zip", archive)})
        sent = request.read()

        async def stream() -> AsyncIterator[bytes]:
            for at in range(0, len(sent), 10_000):
                yield sent[at : at + 10_000]

        return await self.ownership.take_back(user, MultipartBody(request.headers["content-type"], stream()))

    async def found(self, query: str, user: Principal) -> list[str]:
        hits = await self.library.search(user.user_id, SearchRequest(query=query, mode="text"))
        return [hit.content for hit in hits]


async def fill(world: World, user: str = ANNA.user_id) -> dict[str, str]:
    """One of everything."""
    now = datetime.now(UTC)
    memory = await world.library.remember(user, NewMemory(content="The dentist is called Żółć.", tags=["health"]))
    said = Transcript(
        transcript_id=new_id("rec"), status="completed", title="Call", text="The boiler is broken.", created_at=now,
        speakers=[Speaker(label="SPEAKER_00", name="Eve")],
        segments=[Segment(segment_id="seg_1", start_s=0.0, end_s=2.0, speaker="SPEAKER_00", text="The boiler is broken.", confidence=0.9)],
    )  # fmt: skip
    await world.library.put_transcript(user, said)
    world.sounds[said.transcript_id] = SOUND
    document = Document(
        document_id=new_id("doc"), status="completed", title="Rules", type="txt", size_bytes=len(FILE), sha256="0" * 64,
        characters=len(FILE), created_at=now, updated_at=now,
    )  # fmt: skip
    info = await world.blobs.write(
        user, document.document_id, await world.keyring.data_key(user), _bytes(FILE), max_bytes=99
    )
    document = document.model_copy(update={"sha256": info.sha256})
    piece = Piece(FILE.decode(), 0, len(FILE), 3)
    vectors = await world.library.embed([piece.text])
    await world.library.run(user, lambda vault: documents.add(vault, document))
    await world.library.run(user, lambda vault: documents.add_passages(vault, document, [piece], vectors))
    talk = await world.library.run(user, lambda vault: conversations.create(vault, "Keys"))
    message = Message(message_id=new_id("msg"), role="user", content="Where is the key?", created_at=now)
    await world.library.run(user, lambda vault: conversations.put_message(vault, talk.conversation_id, message))
    return {
        "memory": memory.memory_id,
        "transcript": said.transcript_id,
        "document": document.document_id,
        "conversation": talk.conversation_id,
    }


async def _bytes(data: bytes) -> AsyncIterator[bytes]:
    yield data
