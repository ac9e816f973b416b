"""What answers and summaries are made of in tests: a real vault without a socket, a model that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from services.gemma.engines import Capabilities, Piece, Sampling, Turn
from services.rag import conversations, transcripts
from services.rag.service import Library
from shared.auth.principal import Principal
from shared.errors import UpstreamUnavailable
from shared.schemas.rag import Conversation, Message, SearchHit, SearchRequest
from shared.schemas.transcription import Segment, SpanEmotion, Speaker, Transcript, Word

ANNA = Principal("usr_anna", "user")


class Vaulted:
    """The memory service without a socket: what its client asks goes to a real library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.embeds = self.reads = True

    async def search(self, user: Principal, request: SearchRequest) -> list[SearchHit]:
        return await self.library.search(user.user_id, request)

    async def similarities(self, user: Principal, texts: Sequence[str], others: Sequence[str]) -> list[list[float]]:
        if not self.embeds:
            raise UpstreamUnavailable
        return await self.library.similarities(texts, others)

    async def transcript(self, user: Principal, transcript_id: str) -> Transcript:
        if not self.reads:
            raise UpstreamUnavailable
        return await self.library.run(user.user_id, lambda vault: transcripts.get(vault, transcript_id))

    async def create_conversation(self, user: Principal, title: str) -> Conversation:
        return await self.library.run(user.user_id, lambda vault: conversations.create(vault, title))

    async def conversation(self, user: Principal, conversation_id: str) -> Conversation:
        return await self.library.run(user.user_id, lambda vault: conversations.get(vault, conversation_id))

    async def put_message(self, user: Principal, conversation_id: str, message: Message) -> Message:
        return await self.library.run(
            user.user_id, lambda vault: conversations.put_message(vault, conversation_id, message)
        )


class Scripted:
    """A model that says `words`; it keeps what it was asked."""

    def __init__(self, context_tokens: int = 2048) -> None:
        self.capabilities = Capabilities("scripted", context_tokens)
        self.words = "I do not know."
        self.prompts: list[list[Turn]] = []
        self.ahead = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def why_not(self) -> str | None:
        return None

    def length(self, turns: Sequence[Turn]) -> int:
        return sum(len(turn.content.split()) for turn in turns)

    async def write(
        self,
        compose: Callable[[Any], Sequence[Turn]],
        sampling: Sampling,
        cancelled: Callable[[], bool],
        told: Any,
        **_: Any,
    ) -> AsyncGenerator[Piece, None]:
        self.prompts.append(list(compose(self)))
        await self.gate.wait()
        for written, word in enumerate(self.words.split(" "), start=1):
            if cancelled():
                return
            yield Piece(f"{word} ", written)
            await asyncio.sleep(0)


def transcript(*said: tuple[str, str], names: dict[str, str] | None = None, timed: bool = True) -> Transcript:
    """Ten seconds a segment, half a second a word."""
    segments = []
    for n, (speaker, text) in enumerate(said):
        words = [
            Word(word=word, start_s=10 * n + 0.5 * at, end_s=10 * n + 0.5 * at + 0.4, confidence=1)
            for at, word in enumerate(text.split())
        ]
        segments.append(
            Segment(
                segment_id=f"seg_{n:05d}",
                start_s=10.0 * n,
                end_s=10.0 * n + 9,
                speaker=speaker,
                text=text,
                confidence=1,
                words=words if timed else [],
                emotion=SpanEmotion(label="joy", score=0.9),
            )
        )
    speakers = [Speaker(label=label, name=(names or {}).get(label)) for label in dict.fromkeys(s for s, _ in said)]
    return Transcript(
        transcript_id="rec_1",
        status="completed",
        title="Talk",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        segments=segments,
        speakers=speakers,
    )
