"""What the vault holds for a question: passages, and the sentences of them that speak to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.gemma import evidence
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import NotFound
from shared.schemas.rag import Citation, SearchHit, SearchRequest
from shared.schemas.transcription import Transcript

FEW_WORDS = 2
"""A question with fewer telling words leans on the one before."""
QUERY_CHARS = 4_000


@dataclass(frozen=True)
class Found:
    """Passages, those that are quoted first; no citation where nothing speaks to the question."""

    hits: list[SearchHit] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)


async def look_up(rag: RagClient, user: Principal, questions: Sequence[str], top_k: int) -> Found:
    """For the last of the questions, which may lean on the one before. Raises what the memory service raises."""
    query = SearchRequest(query=_query(questions), top_k=top_k)
    hits = await rag.search(user, query)
    quotes = evidence.choose(query.query, hits)
    citations = [evidence.cite(quote, await _source(rag, user, quote.hit)) for quote in quotes]
    quoted = {each.memory_id for each in citations}
    return Found(sorted(hits, key=lambda hit: hit.metadata.memory_id not in quoted), citations)


def _query(questions: Sequence[str]) -> str:
    """A question like "and when was that?" is looked up together with the one before."""
    leans = len(questions) > 1 and len(evidence.stems(questions[-1])) < FEW_WORDS
    return (f"{questions[-2]} {questions[-1]}" if leans else questions[-1]).strip()[:QUERY_CHARS]


async def _source(rag: RagClient, user: Principal, hit: SearchHit) -> Transcript | None:
    if hit.metadata.transcript_id is None:
        return None
    try:
        return await rag.transcript(user, hit.metadata.transcript_id)
    except NotFound:
        return None
