"""Learning facts beside everything else: never in the way of a recording, and made up for where it failed.

Each source is read, judged and embedded off its vault, then learnt in one transaction if it is still the same. What
fails is logged and tried again when the index is rebuilt: a source without its mark was not learnt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from services.rag import conversations, gate, lessons, sources, transcripts
from services.rag.engines import Vectors
from services.rag.facts import Candidate, Extractor
from services.rag.gate import Verdict
from services.rag.sources import Source
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.storage.sqlcipher import in_our_words, transaction

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Run(Protocol):
    def __call__(self, user_id: str, work: Callable[[Vault], Result]) -> Awaitable[Result]: ...


class Learner:
    """One source at a time, in the background; the same one waits only once."""

    def __init__(self, run: Run, embed: Callable[[Sequence[str]], Awaitable[Vectors]], extractor: Extractor) -> None:
        self._run, self._embed, self._extractor = run, embed, extractor
        self._turn = asyncio.Semaphore(1)
        self._waiting: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, user_id: str, source_id: str) -> None:
        """Learn a transcript or a message soon; returns at once."""
        if (user_id, source_id) in self._waiting:
            return
        self._waiting.add((user_id, source_id))
        task = asyncio.create_task(self._soon(user_id, source_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Returns when nothing waits to be learnt."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """What still waits is learnt at the next rebuild of the index."""
        for task in self._tasks:
            task.cancel()
        await self.settled()

    async def _soon(self, user_id: str, source_id: str) -> None:
        async with self._turn:
            self._waiting.discard((user_id, source_id))
            await self._try(user_id, source_id)

    async def _try(self, user_id: str, source_id: str) -> bool:
        try:
            await self.learn(user_id, source_id)
        except NotFound:  # the user is gone
            return False
        except Exception as error:
            # The error's own words may be the user's, so only its kind is told.
            told = {"source_id": source_id, "error": type(error).__name__}
            log.warning("facts of a source were not learnt; the next rebuild of the index tries again", extra=told)
            return False
        return True

    async def learn(self, user_id: str, source_id: str) -> None:
        """Read, judge, embed, learn; nothing is done for a source that was learnt as it is."""
        source = await self._run(user_id, partial(self._unlearnt, source_id=source_id))
        if source is None:
            return
        found = await asyncio.to_thread(self._judged, source)
        vectors = await self._embed([candidate.quote for candidate, _ in found])
        await self._run(user_id, partial(self._keep, source=source, found=found, vectors=vectors))

    def _judged(self, source: Source) -> list[tuple[Candidate, Verdict]]:
        return gate.kept(self._extractor.candidates(source))

    def _mark(self, source: Source) -> str:
        return f"{self._extractor.version}:{source.digest}"

    def _unlearnt(self, vault: Vault, source_id: str) -> Source | None:
        source = read(vault, source_id)
        return None if source is None or lessons.mark_of(vault, source_id) == self._mark(source) else source

    def _keep(self, vault: Vault, source: Source, found: list[tuple[Candidate, Verdict]], vectors: Vectors) -> None:
        current = read(vault, source.source_id)
        if current is not None and current.digest == source.digest:  # else it was changed, and waits again
            lessons.learn(vault, source, found, vectors, self._mark(source))

    async def catch_up(self, user_id: str) -> int:
        """Learn what was never learnt, failed, or was learnt by other rules; answers how many sources failed again."""
        await self._reembed(user_id)
        failed = 0
        for source_id in await self._run(user_id, _sources):
            failed += not await self._try(user_id, source_id)
        return failed

    async def _reembed(self, user_id: str) -> None:
        """Facts that have no passages have their vector beside them, and it is of the old model too."""
        outdated = await self._run(user_id, _outdated)
        vectors = await self._embed([text for _, text in outdated])
        await self._run(user_id, partial(_renew, memory_ids=[name for name, _ in outdated], vectors=vectors))


def read(vault: Vault, source_id: str) -> Source | None:
    """A transcript, or a message of the user's; None for one that is gone, unfinished or not to be kept."""
    transcript = transcripts.to_learn(vault, source_id)
    if transcript is not None:
        return sources.of_transcript(transcript)
    found = conversations.message(vault, source_id)
    return None if found is None else sources.of_message(*found)


def _sources(vault: Vault) -> list[str]:
    with in_our_words():
        rows = vault.db.execute(
            "SELECT transcript_id FROM transcript WHERE remembered AND status = 'completed'"
            " UNION ALL SELECT message_id FROM message WHERE json_extract(document, '$.role') = 'user'"
        ).fetchall()
    return [row[0] for row in rows]


def _outdated(vault: Vault) -> list[tuple[str, str]]:
    with in_our_words():
        rows = vault.db.execute(
            "SELECT memory_id, content FROM fact JOIN memory USING (memory_id) WHERE model <> ?", (vault.model,)
        ).fetchall()
    return [(row["memory_id"], row["content"]) for row in rows]


def _renew(vault: Vault, memory_ids: Sequence[str], vectors: Vectors) -> None:
    with transaction(vault.db):
        for memory_id, vector in zip(memory_ids, vectors, strict=True):
            vault.db.execute(
                "UPDATE fact SET model = ?, vector = ? WHERE memory_id = ?", (vault.model, vector.tobytes(), memory_id)
            )
