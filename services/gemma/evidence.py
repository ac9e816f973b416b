"""Answers made of quotations: which sentences of which memories speak to the question, and the second they were said.

A small model cannot be trusted with an answer, a quotation can. So this comes first, with or without a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shared.schemas.rag import Citation, SearchHit
from shared.schemas.transcription import Transcript, Word
from shared.words import GRAMMAR, SENTENCE_END

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_OF_QUESTIONS = """
    any been can could him no not please said says tell us whom whose why
"""
_STOP = GRAMMAR | set(_OF_QUESTIONS.split())
ALIKE = 0.30
"""Cosine of all-MiniLM-L6-v2 above which a passage is taken to speak to the question even without a word in common."""
MOST = 3
SEARCHED = 0.9
"""What the score of search counts beside the quotation's own (twice, to be of the same size). On the tuning half of
scripts/bench/questions 0.9 put the answer among the quotations for 0.62 of the questions, 0.0 for 0.49."""
LEAST = 0.7
"""Share of the best quotation's score that another one must have."""


@dataclass(frozen=True)
class Quote:
    """One sentence of one memory, and how well it answers (0 to about 2)."""

    text: str
    hit: SearchHit
    score: float


def stems(text: str) -> list[str]:
    """Telling words, roughly stemmed: enough to match "deliver" with "delivered"."""
    words = (word.lower().removesuffix("'s") for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _STOP]


def _stem(word: str) -> str:
    for ending in ("ing", "edly", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def choose(question: str, hits: Sequence[SearchHit]) -> list[Quote]:
    """The best sentences, at most one a memory, best first; empty where nothing speaks to the question.

    One passage must speak to it by itself. Which are quoted then is mostly what search says, which knows what was said
    around them: the turn that answers ("Seven thousand eight hundred.") often shares nothing with the question.
    """
    asked = set(stems(question))
    found = [quote for hit in hits if (quote := _best_of(hit, asked)) is not None]
    if not any(_speaks(quote) for quote in found):
        return []
    ranked = sorted((_ranked(quote) for quote in found), key=lambda quote: -quote.score)
    return [quote for quote in ranked[:MOST] if quote.score >= LEAST * ranked[0].score]


def _best_of(hit: SearchHit, asked: set[str]) -> Quote | None:
    """Its sentence that has most in common with the question."""
    alike = hit.metadata.similarity or 0.0
    quotes = [
        Quote(text, hit, _overlap(text, asked) + alike)
        for text in (part.strip() for part in SENTENCE_END.split(hit.content))
        if text
    ]
    return max(quotes, key=lambda quote: quote.score, default=None)


def _speaks(quote: Quote) -> bool:
    alike = quote.hit.metadata.similarity or 0.0
    overlap = quote.score - alike
    return alike >= ALIKE or (overlap > 0 and alike >= ALIKE / 2) or overlap >= 0.5


def _ranked(quote: Quote) -> Quote:
    return replace(quote, score=(1 - SEARCHED) * quote.score + SEARCHED * 2 * quote.hit.score)


def _overlap(text: str, asked: set[str]) -> float:
    """Share of the question's telling words that stand in the text."""
    return len(asked & set(stems(text))) / len(asked) if asked else 0.0


def cite(quote: Quote, transcript: Transcript | None) -> Citation:
    """The quotation with the exact seconds of its words where there is a recording of them."""
    facts = quote.hit.metadata
    start_s, end_s = facts.start_s, facts.end_s
    if transcript is not None and start_s is not None and end_s is not None:
        start_s, end_s = _seconds_of(quote.text, transcript, start_s, end_s)
    return Citation(
        memory_id=facts.memory_id,
        transcript_id=facts.transcript_id,
        start_s=start_s,
        end_s=end_s,
        speaker=facts.speaker,
        document_id=facts.document_id,
        page=facts.page,
        offset=facts.offset,
        quote=quote.text,
        score=round(quote.score, 4),
        occurred_at=facts.occurred_at or facts.created_at,
    )


def _seconds_of(text: str, transcript: Transcript, start_s: float, end_s: float) -> tuple[float, float]:
    """Where the words of the quotation stand in a row within the passage; the passage's own times where they do not."""
    words = [
        word
        for segment in transcript.segments
        for word in segment.words
        if word.start_s >= start_s - 0.01 and word.end_s <= end_s + 0.01
    ]
    heard = [_plain(word.word) for word in words]
    wanted = [plain for part in text.split() if (plain := _plain(part))]
    at = _find(heard, wanted)
    if at is None:
        return start_s, end_s
    return words[at].start_s, _end(words, at, wanted)


def _end(words: Sequence[Word], at: int, wanted: Sequence[str]) -> float:
    return words[min(at + len(wanted), len(words)) - 1].end_s


def _plain(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())


def _find(heard: Sequence[str], wanted: Sequence[str]) -> int | None:
    for at in range(len(heard) - len(wanted) + 1):
        if heard[at : at + len(wanted)] == list(wanted):
            return at
    return None


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def answer(citations: Iterable[Citation], titles: dict[str, str]) -> str:
    """The quotations as an answer, or as what is nearest to one; [n] is the n-th citation."""
    lines: list[str] = []
    for number, citation in enumerate(citations, start=1):
        if citation.related and not lines:
            lines.append(NEAREST)
        where = [_called(citation.speaker)] if citation.speaker else []
        if citation.start_s is not None:
            where.append(f"at {clock(citation.start_s)}")
        if titles.get(citation.memory_id):
            where.append(f"in {_one_line(titles[citation.memory_id])}")
        if citation.page is not None:
            where.append(f"on page {citation.page}")
        if citation.superseded_by is not None:
            where.append(f"before [{citation.superseded_by}], which says otherwise")
        source = f" — {' '.join(where)}" if where else ""
        lines.append(f"“{citation.quote}”{source} [{number}]")
    return "\n".join(lines)


def _called(speaker: str) -> str:
    """Nobody has told us the name of SPEAKER_00: the first speaker."""
    unknown = re.fullmatch(r"SPEAKER_(\d{1,4})", speaker)
    return f"Speaker {int(unknown.group(1)) + 1}" if unknown else _one_line(speaker)


def _one_line(name: str) -> str:
    return " ".join(name.split())


NOTHING = "I found nothing in your memories that answers this."
NEAREST = f"{NOTHING} The nearest is:"
