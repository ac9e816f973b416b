"""Hybrid search of one vault: vectors and full text, filtered before they are ranked.

Ranks are fused by weighted reciprocal rank (Cormack, Clarke and Buettcher, 2009) with k = 10 and half the weight for
full text, and full text sees only the rarer words of a query: with the textbook's k = 60, equal weights and all words,
fusion made paraphrased questions worse than vectors alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from services.rag.engines import Vectors
from services.rag.repository import moment
from services.rag.vaults import Vault
from shared.schemas.rag import HitMetadata, SearchHit, SearchRequest
from shared.storage.sqlcipher import in_our_words

K = 10
TEXT_WEIGHT = 0.5
CANDIDATES = 4
"""Candidates fetched from each side for every hit wanted; several chunks may be of one memory."""
COMMON_SHARE = 0.1
"""A word that more than this share of the chunks holds says little about any of them."""
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    """
    a an and are as at be but by did do does for from had has have he her his how i if in is it its me my of on
    or our she so that the their them then there they this to was we were what when where which who why will
    with would you your about tell said say says
    """.split()  # noqa: SIM905 - one word a line would be fifty lines
)


def search(vault: Vault, request: SearchRequest, vector: Vectors | None) -> list[SearchHit]:
    """The best passages, at most one per memory. `vector` None: full text only."""
    among = _allowed(vault, request)
    want = request.top_k * CANDIDATES
    near = vault.index.search(vector, want, among) if vector is not None else []
    worded = _full_text(vault, request, want, among) if request.mode != "vector" else []
    fused = _fused([chunk for chunk, _ in near], worded, request.mode)
    cosines = dict(near)
    if vector is not None:
        cosines |= vault.index.cosines(vector, [chunk for chunk in worded if chunk not in cosines])
    return _hits(vault, fused, cosines, request.top_k)


def _fused(near: Sequence[int], worded: Sequence[int], mode: str) -> list[tuple[int, float]]:
    scores: dict[int, float] = {}
    for weight, ranked in ((1.0, near), (TEXT_WEIGHT if mode == "hybrid" else 1.0, worded)):
        for rank, chunk in enumerate(ranked):
            scores[chunk] = scores.get(chunk, 0.0) + weight * K / (K + rank)
    best = 1.0 + (TEXT_WEIGHT if mode == "hybrid" else 0.0)
    return sorted(((chunk, score / best) for chunk, score in scores.items()), key=lambda pair: -pair[1])


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


def _full_text(vault: Vault, request: SearchRequest, want: int, among: list[int] | None) -> list[int]:
    words = _telling_words(vault, request.query, everything=request.mode == "text")
    if not words:
        return []
    query = " OR ".join(f'"{word}"' for word in words)
    sql = "SELECT rowid FROM chunk_text WHERE chunk_text MATCH ?"
    values: list[Any] = [query]
    if among is not None:
        sql += " AND rowid IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(among))
    with in_our_words():
        rows = vault.db.execute(f"{sql} ORDER BY rank LIMIT ?", [*values, want]).fetchall()
    return [row[0] for row in rows]


def _telling_words(vault: Vault, query: str, *, everything: bool) -> list[str]:
    """The words of a query that can tell passages apart: quoted for FTS5, so that no character is an operator."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)[:64]))
    telling = [word for word in words if word not in _STOP]
    if everything:
        return telling or words
    most = max(3, COMMON_SHARE * len(vault.index))
    return [word for word in telling if _frequency(vault, word, int(most) + 1) <= most]


def _frequency(vault: Vault, word: str, most: int) -> int:
    """In how many chunks a word stands, counted up to `most`."""
    sql = "SELECT count(*) FROM (SELECT 1 FROM chunk_text WHERE chunk_text MATCH ? LIMIT ?)"
    with in_our_words():
        return int(vault.db.execute(sql, (f'"{word}"', most)).fetchone()[0])


_ROWS = """
SELECT chunk.chunk_id, chunk.content AS passage, memory.*, document_id, page, offset, end_offset
FROM chunk JOIN memory USING (memory_id) LEFT JOIN document_passage USING (memory_id)
WHERE chunk_id IN (SELECT value FROM json_each(?))
"""


def _hits(vault: Vault, fused: list[tuple[int, float]], cosines: dict[int, float], top_k: int) -> list[SearchHit]:
    with in_our_words():
        rows = vault.db.execute(_ROWS, (json.dumps([chunk for chunk, _ in fused]),)).fetchall()
    by_chunk = {row["chunk_id"]: dict(row) for row in rows}
    found: dict[str, SearchHit] = {}
    for chunk, score in fused:
        row = by_chunk.get(chunk)
        if row is None or row["memory_id"] in found:
            continue
        hit = _hit(row, score, cosines.get(chunk))
        twin = next((name for name, other in found.items() if _says_the_same(hit, other)), row["memory_id"])
        if twin == row["memory_id"] or len(found[twin].content) < len(hit.content):
            found[twin] = hit if twin not in found else hit.model_copy(update={"score": found[twin].score})
        if len(found) == top_k:
            break
    return list(found.values())


def _says_the_same(one: SearchHit, other: SearchHit) -> bool:
    """A fact and the passage of the recording that it stands in: one of them is enough, the passage says more."""
    if one.metadata.transcript_id is None or one.metadata.transcript_id != other.metadata.transcript_id:
        return False
    short, long = sorted((one, other), key=lambda hit: len(hit.content))
    return short.metadata.memory_type == "fact" and short.content in long.content


def _hit(row: dict[str, Any], score: float, cosine: float | None) -> SearchHit:
    values = {**row, "tags": json.loads(row["tags"]), "similarity": cosine}
    return SearchHit(content=row["passage"], score=round(score, 6), metadata=HitMetadata.model_validate(values))
