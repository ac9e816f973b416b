"""The memory service as others see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.auth.principal import Principal
from shared.clients.edits import TranscriptEdits
from shared.clients.vault import VaultDoors
from shared.schemas.coordinator import Job
from shared.schemas.documents import Document
from shared.schemas.edits import ChangeSpeakers
from shared.schemas.facts import Audit, Fact, Graph, Repair
from shared.schemas.ownership import Retention, RetentionRules
from shared.schemas.rag import (
    Conversation,
    ConversationSummary,
    EditMemory,
    Memory,
    Message,
    NewMemory,
    SearchHit,
    SearchRequest,
)
from shared.schemas.summaries import Summary
from shared.schemas.sync import Changes
from shared.schemas.transcription import EditTranscript, Transcript, TranscriptSummary
from shared.schemas.wire import Page


class RagClient(TranscriptEdits, VaultDoors):
    service = "rag"
    transcripts_path = "/rag/transcripts"

    async def search(self, user: Principal, request: SearchRequest) -> list[SearchHit]:
        body = request.model_dump(mode="json", by_alias=True)
        return [SearchHit.model_validate(each) for each in await self.json("POST", "/rag/search", user=user, body=body)]

    async def similarities(self, user: Principal, texts: Sequence[str], others: Sequence[str]) -> list[list[float]]:
        """Cosine of each text with each of the others."""
        body = {"texts": list(texts), "others": list(others)}
        found: list[list[float]] = await self.json("POST", "/rag/similarities", user=user, body=body)
        return found

    async def remember(self, user: Principal, new: NewMemory) -> Memory:
        found = await self.json("POST", "/rag/memory", user=user, body=new.model_dump(mode="json"))
        return Memory.model_validate(found)

    async def memories(self, user: Principal, **params: Any) -> Page[Memory]:
        return Page[Memory].model_validate(await self.json("GET", "/rag/memories", user=user, params=params))

    async def edit_memory(
        self, user: Principal, memory_id: str, edit: EditMemory, headers: Mapping[str, str] | None = None
    ) -> Memory:
        body = edit.model_dump(mode="json", exclude_unset=True)
        path = f"/rag/memory/{memory_id}"
        return Memory.model_validate(await self.json("PATCH", path, user=user, body=body, headers=headers))

    async def forget(self, user: Principal, memory_id: str, headers: Mapping[str, str] | None = None) -> None:
        await self.json("DELETE", f"/rag/memory/{memory_id}", user=user, headers=headers)

    async def documents(self, user: Principal, **params: Any) -> Page[Document]:
        return Page[Document].model_validate(await self.json("GET", "/rag/documents", user=user, params=params))

    async def delete_document(self, user: Principal, document_id: str) -> None:
        await self.json("DELETE", f"/rag/documents/{document_id}", user=user)

    async def put_retention(self, user: Principal, rules: RetentionRules) -> Retention:
        """Applied when it returns."""
        body = rules.model_dump(mode="json")
        return Retention.model_validate(await self.json("PUT", "/rag/retention", user=user, body=body, deadline_s=300))

    async def rebuild(self, user: Principal) -> Job:
        """Embed everything of the user anew; the job does it."""
        return Job.model_validate(await self.json("POST", "/rag/rebuild-index", user=user))

    async def facts(self, user: Principal, **params: Any) -> Page[Fact]:
        return Page[Fact].model_validate(await self.json("GET", "/rag/facts", user=user, params=params))

    async def decide(self, user: Principal, memory_id: str, decision: str) -> Fact:
        """`decision`: accept, reject, release or undo. Raises NotFound, Conflict."""
        return Fact.model_validate(await self.json("POST", f"/rag/facts/{memory_id}/{decision}", user=user))

    async def audit(self, user: Principal) -> Audit:
        return Audit.model_validate(await self.json("GET", "/rag/audit", user=user, deadline_s=120))

    async def repair(self, user: Principal) -> Repair:
        return Repair.model_validate(await self.json("POST", "/rag/audit/repair", user=user, deadline_s=120))

    async def graph(self, user: Principal, limit: int) -> Graph:
        return Graph.model_validate(await self.json("GET", "/rag/graph", user=user, params={"limit": limit}))

    async def put_transcript(self, user: Principal, transcript: Transcript, *, remember: bool = True) -> Transcript:
        """Durable when it returns, and searchable unless it is not to be remembered."""
        path, body = f"/rag/transcripts/{transcript.transcript_id}", transcript.model_dump(mode="json")
        params = {"remember": "true" if remember else "false"}
        found = await self.json("PUT", path, user=user, body=body, params=params, deadline_s=300)
        return Transcript.model_validate(found)

    async def transcript(self, user: Principal, transcript_id: str) -> Transcript:
        return Transcript.model_validate(await self.json("GET", f"/rag/transcripts/{transcript_id}", user=user))

    async def transcripts(self, user: Principal, **params: Any) -> Page[TranscriptSummary]:
        found = await self.json("GET", "/rag/transcripts", user=user, params=params)
        return Page[TranscriptSummary].model_validate(found)

    async def edit_transcript(
        self, user: Principal, transcript_id: str, edit: EditTranscript, headers: Mapping[str, str] | None = None
    ) -> Transcript:
        path, body = f"/rag/transcripts/{transcript_id}", edit.model_dump(mode="json", exclude_none=True)
        return Transcript.model_validate(await self.json("PATCH", path, user=user, body=body, headers=headers))

    async def put_speakers(
        self, user: Principal, transcript_id: str, change: ChangeSpeakers, headers: Mapping[str, str] | None = None
    ) -> Transcript:
        """Who the labels are and, where given, whose segments are, as one revision. Raises PreconditionFailed."""
        return await self._changed("PUT", f"{transcript_id}/speakers", user, change, headers)

    async def delete_transcript(
        self, user: Principal, transcript_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        await self.json("DELETE", f"/rag/transcripts/{transcript_id}", user=user, headers=headers)

    async def put_summary(self, user: Principal, summary: Summary) -> None:
        path = f"/rag/transcripts/{summary.transcript_id}/summary"
        await self.json("PUT", path, user=user, body=summary.model_dump(mode="json"))

    async def summary(self, user: Principal, transcript_id: str) -> Summary:
        return Summary.model_validate(await self.json("GET", f"/rag/transcripts/{transcript_id}/summary", user=user))

    async def create_conversation(self, user: Principal, title: str) -> Conversation:
        found = await self.json("POST", "/rag/conversations", user=user, body={"title": title})
        return Conversation.model_validate(found)

    async def conversations(self, user: Principal, **params: Any) -> Page[ConversationSummary]:
        found = await self.json("GET", "/rag/conversations", user=user, params=params)
        return Page[ConversationSummary].model_validate(found)

    async def conversation(self, user: Principal, conversation_id: str) -> Conversation:
        return Conversation.model_validate(await self.json("GET", f"/rag/conversations/{conversation_id}", user=user))

    async def rename_conversation(
        self, user: Principal, conversation_id: str, title: str, headers: Mapping[str, str] | None = None
    ) -> Conversation:
        path = f"/rag/conversations/{conversation_id}"
        found = await self.json("PATCH", path, user=user, body={"title": title}, headers=headers)
        return Conversation.model_validate(found)

    async def delete_conversation(
        self, user: Principal, conversation_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        await self.json("DELETE", f"/rag/conversations/{conversation_id}", user=user, headers=headers)

    async def put_message(self, user: Principal, conversation_id: str, message: Message) -> Message:
        path = f"/rag/conversations/{conversation_id}/messages/{message.message_id}"
        return Message.model_validate(await self.json("PUT", path, user=user, body=message.model_dump(mode="json")))

    async def changes(self, user: Principal, after: int, limit: int) -> Changes:
        params = {"after": after, "limit": limit}
        return Changes.model_validate(await self.json("GET", "/rag/changes", user=user, params=params))

    async def clear(self, user: Principal) -> None:
        await self.json("DELETE", "/rag/all", user=user, deadline_s=120)

    async def delete_owner(self, user_id: str) -> None:
        await self.json("DELETE", f"/rag/owner/{user_id}", user=None)
