"""Hybrid search of one vault: vectors and full text, filtered before they are ranked.

Each side proposes passages; `fusion` scores these and their neighbours in the recording. Full text sees only the rarer
words of a query, so that a search of many memories stays short.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.rag.engines import Vectors
from services.rag.fusion import WEIGHTS, Candidate, Weights, own_scores, ranked
from services.rag.repository import moment
from services.rag.vaults import Vault
from shared.schemas.rag import SearchHit, SearchRequest
from shared.storage.sqlcipher import in_our_words
from shared.words import GRAMMAR

CANDIDATES = 4
"""Candidates fetched from each side for every hit wanted; several chunks may be of one memory."""
WORDED = 200
"""Passages whose score by words is known; of them the best are candidates, the others may be their neighbours."""
COMMON_SHARE = 0.1
"""A word that more than this share of the chunks holds says little about any of them."""
COMMON_MOST = 3_000
"""And so does one that more than this many hold, in a vault of any size: counting them is 0.3 us each."""
RANKED = 4_000
"""Passages ranked by words: some 3 us each, which is most of a hybrid search. The rarest words come first."""
LEAST_WEIGHT = 0.1
"""Of a word that stands in half of the passages or more."""
_WORD = re.compile(r"\w+")
_OF_QUESTIONS = """
    said says tell then why
"""
_STOP = GRAMMAR | set(_OF_QUESTIONS.split())


def search(vault: Vault, request: SearchRequest, vector: Vectors | None, weights: Weights = WEIGHTS) -> list[SearchHit]:
    """The best passages, at most one per memory. `vector` None: full text only."""
    among = _allowed(vault, request)
    want = request.top_k * CANDIDATES
    near = dict(vault.index.search(vector, want, among)) if vector is not None else {}
    worded = {} if request.mode == "vector" else dict(_full_text(vault, request, max(want, WORDED), among))
    if request.mode != "hybrid":
        return _hits(vault, list((near or worded).items())[:want], near, request.top_k)
    candidates = _candidates(vault, request.query, list(near | dict.fromkeys(list(worded)[:want])))
    cosines = near
    if vector is not None:
        cosines = near | vault.index.cosines(vector, [chunk for chunk in candidates if chunk not in near])
    found = candidates.values()
    fused = ranked(found, own_scores(found, cosines, worded, weights), weights)
    if among is not None:
        allowed = set(among)
        fused = [(chunk, score) for chunk, score in fused if chunk in allowed]
    return _hits(vault, fused[:want], cosines, request.top_k)


def _allowed(vault: Vault, request: SearchRequest) -> list[int] | None:
    """Ids of the chunks that pass the filters; None where there is no filter."""
    where: list[str] = []
    values: list[Any] = []
    if request.types:
        where.append("memory_type IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(request.types))
    speakers = [speaker.casefold() for speaker in request.speakers or ()]
    for column, wanted in (("speaker_keys", speakers), ("tags", request.tags)):
        if wanted:
            where.append(
                f"EXISTS (SELECT 1 FROM json_each(memory.{column}) AS has"  # noqa: S608 - names of ours
                " WHERE has.value IN (SELECT value FROM json_each(?)))"
            )
            values.append(json.dumps(wanted))
    for operator, at in ((">=", request.from_), ("<", request.to)):
        if at is not None:
            where.append(f"occurred_at {operator} ?")
            values.append(moment(at))
    if not where:
        return None
    sql = f"SELECT chunk_id FROM chunk JOIN memory USING (memory_id) WHERE {' AND '.join(where)}"  # noqa: S608
    with in_our_words():
        return [row[0] for row in vault.db.execute(sql, values).fetchall()]


def _full_text(vault: Vault, request: SearchRequest, want: int, among: list[int] | None) -> list[tuple[int, float]]:
    """(chunk, BM25 over the most that the words asked for could give), best first."""
    words = _telling_words(vault, request.query, everything=request.mode == "text")
    if not words:
        return []
    query = " OR ".join(f'"{word}"' for word in words)
    sql = "SELECT rowid, rank FROM chunk_text WHERE chunk_text MATCH ?"
    values: list[Any] = [query]
    if among is not None:
        sql += " AND rowid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(among))
    with in_our_words():
        rows = vault.db.execute(f"{sql} ORDER BY rank LIMIT ?", [*values, want]).fetchall()
    most = sum(words.values())
    return [(row[0], -row[1] / most) for row in rows]


def _words(query: str) -> list[str]:
    """Those that mean something; all where none does."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)[:64]))
    return [word for word in words if word not in _STOP] or words


def _telling_words(vault: Vault, query: str, *, everything: bool) -> dict[str, float]:
    """The words of a query that can tell passages apart, each with its weight: its inverse document frequency."""
    words = _words(query)
    if everything:
        return dict.fromkeys(words, 1.0)
    total = len(vault.index)
    most = min(COMMON_MOST, int(max(3, COMMON_SHARE * total)))
    counts = {word: _frequency(vault, word, most + 1) for word in words}
    return {
        word: max(LEAST_WEIGHT, math.log((max(total, count) - count + 0.5) / (count + 0.5)))
        for word, count in _rarest({word: count for word, count in counts.items() if count <= most}).items()
    }


def _rarest(counts: Mapping[str, int]) -> dict[str, int]:
    """As many words as stand in RANKED passages together, the rarest first and at least one."""
    found: dict[str, int] = {}
    for word, count in sorted(counts.items(), key=lambda pair: pair[1]):
        if found and sum(found.values()) + count > RANKED:
            break
        found[word] = count
    return found


def _frequency(vault: Vault, word: str, most: int) -> int:
    """In how many chunks a word stands, counted up to `most`; quoted, so that no character is an operator."""
    sql = "SELECT count(*) FROM (SELECT 1 FROM chunk_text WHERE chunk_text MATCH ? LIMIT ?)"
    with in_our_words():
        return int(vault.db.execute(sql, (f'"{word}"', most)).fetchone()[0])


_ASKS = ("?", "？", "؟")
_NEIGHBOUR = """(
    SELECT chunk_id FROM memory AS other JOIN chunk USING (memory_id)
    WHERE other.transcript_id = memory.transcript_id AND other.memory_type = 'transcript'
      AND (other.start_s, other.segment_id) {side} (memory.start_s, memory.segment_id)
    ORDER BY other.start_s {order}, other.segment_id {order} LIMIT 1 OFFSET {at}
)"""
_BEFORE, _BEFORE_THAT, _NEXT = (
    _NEIGHBOUR.format(side=side, order=order, at=at)
    for side, order, at in (("<", "DESC", 0), ("<", "DESC", 1), (">", "ASC", 0))
)
_PLACES = f"""
SELECT chunk_id, memory_id, transcript_id, speaker, substr(rtrim(chunk.content), -1), {_BEFORE}, {_BEFORE_THAT}, {_NEXT}
FROM chunk JOIN memory USING (memory_id) WHERE chunk_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - ours


def _candidates(vault: Vault, query: str, chunks: Sequence[int]) -> dict[int, Candidate]:
    """These and what stands beside them."""
    asked = set(_words(query))
    found = _places(vault, chunks, asked)
    beside = {chunk for each in found.values() for chunk in each.around if chunk is not None}
    return found | _places(vault, sorted(beside - found.keys()), asked)


def _places(vault: Vault, chunks: Sequence[int], asked: set[str]) -> dict[int, Candidate]:
    with in_our_words():
        rows = vault.db.execute(_PLACES, (json.dumps(chunks),)).fetchall()
    return {
        chunk: Candidate(
            chunk_id=chunk,
            whole=transcript_id or memory_id,
            asks=transcript_id is not None and ending in _ASKS,
            is_named=not asked.isdisjoint(_WORD.findall((speaker or "").lower())),
            around=(before, before_that, after),
        )
        for chunk, memory_id, transcript_id, speaker, ending, before, before_that, after in rows
    }


_ROWS = """
SELECT chunk_id, chunk.content AS passage, memory_id, memory_type, title, tags, transcript_id, segment_id, start_s,
    end_s, speaker, document_id, page, offset, end_offset, created_at, occurred_at
FROM chunk JOIN memory USING (memory_id) LEFT JOIN document_passage USING (memory_id)
WHERE chunk_id IN (SELECT value FROM json_each(?))
"""


def _hits(
    vault: Vault, scores: Sequence[tuple[int, float]], cosines: Mapping[int, float], top_k: int
) -> list[SearchHit]:
    found: dict[str, SearchHit] = {}
    for chunk, score, row in _rows(vault, scores, top_k):
        if row["memory_id"] in found:
            continue
        hit = _hit(dict(row), score, cosines.get(chunk))
        twin = next((name for name, other in found.items() if _says_the_same(hit, other)), row["memory_id"])
        if twin == row["memory_id"] or len(found[twin].content) < len(hit.content):
            found[twin] = hit if twin not in found else hit.model_copy(update={"score": found[twin].score})
        if len(found) == top_k:
            break
    return list(found.values())


def _rows(vault: Vault, scores: Sequence[tuple[int, float]], many: int) -> Iterator[tuple[int, float, Any]]:
    """What the vault has of each, read `many` at a time, because most searches need no more than the first."""
    for at in range(0, len(scores), many):
        some = scores[at : at + many]
        with in_our_words():
            rows = vault.db.execute(_ROWS, (json.dumps([chunk for chunk, _ in some]),)).fetchall()
        by_chunk = {row["chunk_id"]: row for row in rows}
        yield from ((chunk, score, by_chunk[chunk]) for chunk, score in some if chunk in by_chunk)


def _says_the_same(one: SearchHit, other: SearchHit) -> bool:
    """A fact and the passage of the recording that it stands in: one of them is enough, the passage says more."""
    if one.metadata.transcript_id is None or one.metadata.transcript_id != other.metadata.transcript_id:
        return False
    short, long = sorted((one, other), key=lambda hit: len(hit.content))
    return short.metadata.memory_type == "fact" and short.content in long.content


def _hit(row: dict[str, Any], score: float, cosine: float | None) -> SearchHit:
    values = {**row, "tags": json.loads(row["tags"]), "similarity": cosine}
    return SearchHit.model_validate({"content": row["passage"], "score": round(score, 6), "metadata": values})
