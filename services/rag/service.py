"""What the memory service does: embed, then change one vault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import numpy as np

from services.rag import conversations, edits, repository, revisions, search, transcripts
from services.rag.engines import Capabilities, Embedder, Vectors
from services.rag.facts import Extractor, Rules
from services.rag.learning import Learner
from services.rag.passages import chunks_of, passages_of
from services.rag.repository import Chunk
from services.rag.settings import Settings
from services.rag.transcripts import Edit
from services.rag.vaults import Vault, Vaults
from shared.errors import PreconditionFailed
from shared.gpu.worker import TaskContext
from shared.schemas.ids import new_id
from shared.schemas.rag import EditMemory, Memory, Message, NewMemory, SearchHit, SearchRequest
from shared.schemas.transcription import Transcript
from shared.storage.deletions import Deletions
from shared.telemetry import here

Result = TypeVar("Result")
REBUILD = "rebuild_index"
BATCH = 128


class Library:
    """Every user's memory, each in a vault of their own."""

    def __init__(
        self, vaults: Vaults, embedder: Embedder, settings: Settings, *, extractor: Extractor | None = None
    ) -> None:
        self._vaults = vaults
        self._embedder = embedder
        self._settings = settings
        self.deletions = Deletions(settings.data_dir / "deletions")
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed")
        self.learner = Learner(vaults.run, self.embed, extractor or Rules())

    async def run(self, user_id: str, work: Callable[[Vault], Result]) -> Result:
        """`work` on the user's vault, alone with it."""
        return await self._vaults.run(user_id, work)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """In batches, so that a long recording does not keep a short question waiting."""
        loop = asyncio.get_running_loop()
        if not texts:
            return np.zeros((0, self._embedder.capabilities.dimensions), dtype=np.float32)
        with here().timed("nemo_embedding_seconds"):
            found = [
                await loop.run_in_executor(self._pool, self._embedder.embed, texts[at : at + BATCH])
                for at in range(0, len(texts), BATCH)
            ]
        here().count("nemo_embedded_texts_total", len(texts))
        return np.concatenate(found)

    async def similarities(self, texts: Sequence[str], others: Sequence[str]) -> list[list[float]]:
        """Cosines, [texts][others]."""
        vectors = await self.embed([*texts, *others])
        cosines: list[list[float]] = (vectors[: len(texts)] @ vectors[len(texts) :].T).round(4).tolist()
        return cosines

    async def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each, uncut."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._embedder.lengths, texts)

    @property
    def able(self) -> Capabilities:
        return self._embedder.capabilities

    async def remember(self, user_id: str, new: NewMemory) -> Memory:
        """Durable when it returns."""
        at = datetime.now(UTC)
        memory = Memory(
            memory_id=new_id("mem"),
            created_at=at,
            updated_at=at,
            **new.model_dump(exclude={"occurred_at"}),
            occurred_at=new.occurred_at or at,
        )
        chunks = self._chunks(memory.content, memory.title)
        vectors = await self.embed([chunk.embedded for chunk in chunks])
        await self.run(user_id, lambda vault: repository.add_memory(vault, memory, chunks, vectors))
        return memory

    async def edit(self, user_id: str, memory_id: str, edit: EditMemory, expected: int | None) -> Memory:
        """What is found by its words and its meaning changes with it. Raises PreconditionFailed, NotFound."""
        changes = _columns(edit)
        if not changes.keys() & {"content", "title"}:
            return await self.run(
                user_id, lambda vault: repository.change_memory(vault, memory_id, changes, expected, None, None)
            )
        while True:
            current = await self.run(user_id, lambda vault: repository.get_memory(vault, memory_id))
            repository.require_revision(current.revision, expected)
            try:
                return await self._reworded(user_id, current, changes)
            except PreconditionFailed:  # another change came between reading and writing
                if expected is not None:
                    raise

    async def _reworded(self, user_id: str, current: Memory, changes: dict[str, Any]) -> Memory:
        reworded = current.model_copy(update={name: changes[name] for name in changes.keys() & {"content", "title"}})
        chunks = self._chunks(reworded.content, reworded.title)
        vectors = await self.embed([chunk.embedded for chunk in chunks])
        return await self.run(
            user_id,
            lambda vault: repository.change_memory(
                vault, current.memory_id, changes, current.revision, chunks, vectors
            ),
        )

    def _chunks(self, content: str, title: str | None) -> list[Chunk]:
        pieces = chunks_of(content, self._settings.passage_chars) or [content]
        return [Chunk(piece, title) for piece in pieces]

    async def put_transcript(self, user_id: str, transcript: Transcript, *, remember: bool = True) -> Transcript:
        """Stored; found by search where it is to be remembered, else listed and read only. A user's edits stay.

        What is stored early, while it is worked on, never replaces a whole one, which is then the answer.
        """
        while True:
            found, seen = await self.run(user_id, lambda vault: transcripts.merged(vault, transcript))
            if found.revision == seen:
                return found
            passages = passages_of(found, self._settings.passage_chars) if remember else []
            vectors = await self.embed([passage.text for passage in passages])
            work = partial(
                transcripts.put, transcript=found, seen=seen, passages=passages, vectors=vectors, remember=remember
            )
            with suppress(PreconditionFailed):  # it was edited between reading and writing
                stored = await self.run(user_id, work)
                self._learn(user_id, transcript.transcript_id)
                return stored

    def _learn(self, user_id: str, source_id: str) -> None:
        if self._settings.facts:
            self.learner.later(user_id, source_id)

    async def put_message(self, user_id: str, conversation_id: str, message: Message) -> Message:
        """Durable when it returns; what its user states in it becomes facts soon after."""
        stored = await self.run(user_id, lambda vault: conversations.put_message(vault, conversation_id, message))
        if message.role == "user":
            self._learn(user_id, message.message_id)
        return stored

    async def revise(self, user_id: str, transcript_id: str, edit: Edit, expected: int | None) -> Transcript:
        """A change of segments or speakers, found by search at once. Raises PreconditionFailed, NotFound.

        Without `expected`, an edit that another one overtook is made again on what that one left.
        """
        most = self._settings.passage_chars
        while True:
            made = await self.run(user_id, lambda vault: transcripts.draft(vault, transcript_id, edit, expected, most))
            if made.is_empty:
                return made.before
            vectors = await self.embed([passage.text for passage in made.changes.new])
            try:
                revised = await self.run(user_id, partial(transcripts.revise, made=made, edit=edit, vectors=vectors))
                self._learn(user_id, transcript_id)
                return revised
            except PreconditionFailed:
                if expected is not None:
                    raise

    async def revert(self, user_id: str, transcript_id: str, revision: int, expected: int | None) -> Transcript:
        """As it was at that revision, under a new number. Raises PreconditionFailed, NotFound."""
        earlier = await self.transcript_at(user_id, transcript_id, revision)
        edit = Edit("revert", partial(edits.revert, earlier=earlier))
        return await self.revise(user_id, transcript_id, edit, expected)

    async def transcript_at(self, user_id: str, transcript_id: str, revision: int) -> Transcript:
        return await self.run(
            user_id, lambda vault: revisions.at(vault, transcripts.get(vault, transcript_id), revision)
        )

    async def forget_transcript(self, user_id: str, transcript_id: str) -> None:
        await self.run(user_id, partial(transcripts.delete, transcript_id=transcript_id, expected=None))

    async def search(self, user_id: str, request: SearchRequest) -> list[SearchHit]:
        """The best passages. What was asked before is answered from memory until the vault changes."""
        with here().timed("nemo_search_seconds", mode=request.mode):
            return await self._search(user_id, request)

    async def _search(self, user_id: str, request: SearchRequest) -> list[SearchHit]:
        hits, vector = await self.run(user_id, lambda vault: _known(vault, request))
        if hits is not None:
            return hits
        if vector is None and request.mode != "text":
            vector = (await self.embed([request.query]))[0]
        return await self.run(user_id, lambda vault: _searched(vault, request, vector))

    async def rebuild(self, context: TaskContext) -> dict[str, Any]:
        """Embed everything anew, a batch at a time; a crash goes on from the cursor."""
        user_id = context.task.payload["user_id"]
        done = int((context.task.cursor or {}).get("chunk_id", 0))
        total = await self.run(user_id, lambda vault: len(vault.index)) or 1
        count = 0
        while chunks := await self.run(user_id, lambda vault, at=done: repository.chunks_after(vault, at, BATCH)):  # type: ignore[misc]
            vectors = await self.embed([chunk.embedded for chunk in chunks.values()])
            await self.run(user_id, lambda vault, c=chunks, v=vectors: repository.reindex(vault, c, v))  # type: ignore[misc]
            done, count = max(chunks), count + len(chunks)
            await context.progress("embedding", min(99.0, 100 * count / total), cursor={"chunk_id": done})
        await self.run(user_id, Vault.clear_index)
        failed = await self.learner.catch_up(user_id) if self._settings.facts else 0
        return {"passages": count} | ({"sources_not_learnt": failed} if failed else {})

    async def delete_owner(self, user_id: str) -> None:
        await self._vaults.delete(user_id)


def _known(vault: Vault, request: SearchRequest) -> tuple[list[SearchHit] | None, Vectors | None]:
    vector = None if request.mode == "text" else vault.queries.vector(request.query)
    return vault.queries.hits(request, vault.version), vector


def _searched(vault: Vault, request: SearchRequest, vector: Vectors | None) -> list[SearchHit]:
    hits = search.search(vault, request, vector)
    vault.queries.keep(request, vector, hits, vault.version)
    return hits


def _columns(edit: EditMemory) -> dict[str, Any]:
    """The changed fields as the table keeps them; only a title may be taken away."""
    sent = edit.model_dump(exclude_unset=True)
    changes = {name: value for name, value in sent.items() if value is not None or name == "title"}
    if "tags" in changes:
        changes["tags"] = json.dumps(changes["tags"])
    if "occurred_at" in changes:
        changes["occurred_at"] = repository.moment(changes["occurred_at"])
    return changes
