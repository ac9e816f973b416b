"""What is wrong with a memory, and putting right what can be without losing what anybody said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, get_args

import numpy as np

from services.rag import gate, knowledge
from services.rag.engines import Vectors
from services.rag.knowledge import Change
from services.rag.vaults import Vault
from shared.schemas.facts import Audit, FactState, IndexState, Likeness, Orphan, Repair
from shared.storage.sqlcipher import in_our_words, transaction

MOST = 200
"""Findings of one kind that are told."""
MOST_COMPARED = 2_000
"""Facts of one subject that are compared with one another by their vectors: 2,000 are four million cosines."""


def audit(vault: Vault) -> Audit:
    """Reads only."""
    with in_our_words():
        rows = [dict(row) for row in vault.db.execute(_FACTS).fetchall()]
        found: dict[str, list[Any]] = {
            "duplicates": [*_same_words(vault), *_same_meaning(vault, rows)],
            "contradictions": _contradictions(rows),
            "loops": loops({row["memory_id"]: row["superseded_by"] for row in rows if row["superseded_by"]}),
            "orphans": orphans(vault),
        }
        memories = vault.db.execute("SELECT count(*) FROM memory").fetchone()[0]
        chunks = vault.db.execute("SELECT count(*) FROM chunk").fetchone()[0]
    states = Counter(row["state"] for row in rows)
    indexed = len(vault.index)
    return Audit(
        memories=memories,
        facts={state: states[state] for state in get_args(FactState)},
        index=IndexState(chunks=chunks, indexed=indexed, stale=vault.stale),
        truncated=any(len(each) > MOST for each in found.values()),
        **{name: each[:MOST] for name, each in found.items()},
    )


_FACTS = """
SELECT memory_id, content, kind, subject_key, slot, value, state, superseded_by, model, transcript_id
FROM fact JOIN memory USING (memory_id) ORDER BY memory_id
"""
_SAME = """
SELECT min(memory_id) AS one, max(memory_id) AS other FROM memory
WHERE transcript_id IS NULL AND memory_id NOT IN (SELECT memory_id FROM fact)
GROUP BY folded(trim(content)), folded(coalesce(title, '')) HAVING count(*) > 1 LIMIT ?
"""


def _same_words(vault: Vault) -> list[Likeness]:
    """Notes that were saved twice."""
    rows = vault.db.execute(_SAME, (MOST + 1,)).fetchall()
    return [Likeness(memory_ids=(row["one"], row["other"]), reason="same_words") for row in rows]


def _same_meaning(vault: Vault, rows: Sequence[Mapping[str, Any]]) -> list[Likeness]:
    """Facts that hold and say the same of one subject: the gate joins them unless they came in by different ways."""
    by_subject: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["state"] == "active" and row["model"] == vault.model:
            by_subject.setdefault((row["subject_key"], row["kind"]), []).append(row)
    found: list[Likeness] = []
    for group in by_subject.values():
        some = group[-MOST_COMPARED:]
        vectors = _vectors(vault, [row["memory_id"] for row in some])
        for one, other in np.argwhere(np.triu(vectors @ vectors.T >= gate.ALIKE, 1)):
            if gate.telling(some[one]["content"]) == gate.telling(some[other]["content"]):
                pair = (some[one]["memory_id"], some[other]["memory_id"])
                cosine = round(float(vectors[one] @ vectors[other]), 4)
                found.append(Likeness(memory_ids=pair, similarity=cosine, reason="same_meaning"))
    return found


def _vectors(vault: Vault, memory_ids: Sequence[str]) -> Vectors:
    """In the order of the ids, which is theirs by name."""
    sql = "SELECT vector FROM fact WHERE memory_id IN (SELECT value FROM json_each(?)) ORDER BY memory_id"
    rows = vault.db.execute(sql, (json.dumps(memory_ids),)).fetchall()
    return np.stack([np.frombuffer(row["vector"], np.float32) for row in rows])


def _contradictions(rows: Sequence[Mapping[str, Any]]) -> list[Likeness]:
    """Two values for what can have one: of one subject while one waits, or said by two people in one recording."""
    slots: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["slot"] and row["state"] in ("active", "pending"):
            slots.setdefault(row["slot"], []).append(row)
    found = []
    for group in slots.values():
        for one, other in combinations(group[-MOST:], 2):
            reason = _conflict(one, other)
            if reason is not None:
                found.append(Likeness(memory_ids=(one["memory_id"], other["memory_id"]), reason=reason))
    return found


def _conflict(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    if gate.normalised(one["value"]) == gate.normalised(other["value"]):
        return None
    if one["subject_key"] == other["subject_key"]:
        return "two_values"
    shared = one["slot"].startswith("when ") and one["transcript_id"] == other["transcript_id"] is not None
    return "people_disagree" if shared else None


def loops(successors: Mapping[str, str]) -> list[list[str]]:
    """Cycles of "is replaced by", each told once, from its smallest id on."""
    found: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(successors):
        path: list[str] = []
        at: str | None = start
        while at is not None and at not in done:
            if at in path:
                cycle = path[path.index(at) :]
                least = cycle.index(min(cycle))
                found.append([*cycle[least:], *cycle[:least]])
                break
            path.append(at)
            at = successors.get(at)
        done |= set(path)
    return found


_GONE = (
    " WHERE (transcript_id IS NOT NULL AND transcript_id NOT IN (SELECT transcript_id FROM transcript))"
    " OR (transcript_id IS NULL AND source_id NOT IN (SELECT message_id FROM message))"
)
_ORPHANS = {
    "fact_without_source": "SELECT memory_id FROM fact WHERE memory_id NOT IN (SELECT memory_id FROM fact_evidence)",
    "evidence_without_source": f"SELECT DISTINCT source_id FROM fact_evidence{_GONE}",  # noqa: S608 - ours
    "chunk_without_memory": "SELECT chunk_id FROM chunk WHERE memory_id NOT IN (SELECT memory_id FROM memory)",
    "dangling_successor": "SELECT memory_id FROM fact WHERE state = 'superseded'"
    " AND NOT EXISTS (SELECT 1 FROM fact AS after WHERE after.memory_id = fact.superseded_by"
    " AND after.state IN ('active', 'superseded'))",
}


def orphans(vault: Vault) -> list[Orphan]:
    return [
        Orphan.model_validate({"kind": kind, "id": str(row[0])})
        for kind, sql in _ORPHANS.items()
        for row in vault.db.execute(f"{sql} LIMIT ?", (MOST + 1,)).fetchall()
    ]


def repair(vault: Vault) -> Repair:
    """Remove what nothing stands behind any more, and work out anew who replaced whom; all of it in one transaction."""
    done: Counter[str] = Counter()
    change = Change()
    with transaction(vault.db):
        for row in vault.db.execute(_ORPHANS["evidence_without_source"]).fetchall():
            change.join(knowledge.forget_source(vault, row[0]))
            done["evidence_without_source"] += 1
        for row in vault.db.execute(_ORPHANS["fact_without_source"]).fetchall():
            knowledge.remove(vault, row[0], change)
            done["fact_without_source"] += 1
        gone = [row[0] for row in vault.db.execute(_ORPHANS["chunk_without_memory"]).fetchall()]
        vault.db.execute("DELETE FROM chunk WHERE chunk_id IN (SELECT value FROM json_each(?))", (json.dumps(gone),))
        change.removed += gone
        done["chunk_without_memory"] += len(gone)
        dangling = vault.db.execute(_ORPHANS["dangling_successor"]).fetchall()
        done["dangling_successor"] += len(dangling)
        knowledge.rechain_all(vault, change)
    change.follow(vault)
    return Repair(done={kind: done[kind] for kind in _ORPHANS})
