"""What the vault holds for a question: passages, and the sentences of them that speak to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.gemma import asked, evidence, proofs
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import NotFound, ProductError
from shared.schemas.rag import Citation, SearchHit, SearchRequest
from shared.schemas.transcription import Transcript

log = logging.getLogger(__name__)
QUERY_CHARS = 4_000
FEW_WORDS, FEW_WITH_PRONOUN = 2, 4
"""A question with fewer telling words leans on the one before; the latter where it says "she" or "that"."""
LEANS = 3
"""Most questions that one leans on."""
_PRONOUN = re.compile(r"\b(?:it|that|this|they|them|their|he|him|his|she|her|there|then|those|these)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """Passages, and what is quoted of them; no citation where nothing speaks to the question.

    Where what speaks to it cannot hold what was asked for, all citations are `related` ones.
    """

    hits: list[SearchHit] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    @property
    def titles(self) -> dict[str, str]:
        """Of the memories, by their ids."""
        return {hit.metadata.memory_id: hit.metadata.title or "" for hit in self.hits}

    @property
    def answers(self) -> bool:
        """Whether anything is quoted as an answer."""
        return any(not each.related for each in self.citations)

    @property
    def told(self) -> str:
        """The quotations as an answer, as what is nearest, or that there is nothing."""
        return evidence.answer(self.citations, self.titles) if self.citations else evidence.NOTHING

    @property
    def quoted_first(self) -> list[SearchHit]:
        """The passages, those that are quoted before the others."""
        quoted = {each.memory_id for each in self.citations}
        return sorted(self.hits, key=lambda hit: hit.metadata.memory_id not in quoted)


async def look_up(rag: RagClient, user: Principal, questions: Sequence[str], top_k: int) -> Found:
    """For the last of the questions, which may lean on those before. Raises what the memory service raises."""
    query = SearchRequest(query=in_context(questions), top_k=top_k)
    hits = await rag.search(user, query)
    answers = query.query != questions[-1].strip() or asked.holds(query.query, hits)  # one that leans says too little
    citations = []
    for quote, newer in proofs.newest_first(evidence.choose(query.query, hits)):
        citation = evidence.cite(quote, await source(rag, user, quote.hit))
        citation.superseded_by, citation.related = newer, not answers
        citations.append(citation)
    return Found(hits, citations)


def in_context(questions: Sequence[str]) -> str:
    """What to look for: "and when was that?" is looked up together with the questions that it leans on."""
    *before, last = questions
    parts = [last[:QUERY_CHARS]]
    while before and len(parts) <= LEANS and _leans(parts[0]):
        parts.insert(0, before.pop()[:QUERY_CHARS])
    return " ".join(parts)[-QUERY_CHARS:].strip()


def _leans(question: str) -> bool:
    telling = len(evidence.stems(question))
    return telling < FEW_WORDS or (telling < FEW_WITH_PRONOUN and _PRONOUN.search(question) is not None)


async def source(rag: RagClient, user: Principal, hit: SearchHit) -> Transcript | None:
    """The recording of a passage; None for what was written, what is gone since, and what cannot be read now.

    Then a citation has the times of its passage instead of those of its words.
    """
    if hit.metadata.transcript_id is None:
        return None
    try:
        return await rag.transcript(user, hit.metadata.transcript_id)
    except NotFound:
        return None
    except ProductError as error:
        log.warning("a citation goes without the seconds of its words", extra={"code": error.code})
        return None
