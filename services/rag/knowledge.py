"""What a vault knows: facts, since when they hold, and the evidence for each.

A fact is a memory with a row beside it. Only an active one has passages, so what is pending, quarantined, rejected or
superseded cannot be found by words or vectors, whoever searches and however: there is nothing to find.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from services.rag.engines import Vectors
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.facts import Fact, FactEvidence, FactState
from shared.storage.sqlcipher import in_our_words


@dataclass
class Change:
    """What the index has to follow once the transaction is over."""

    removed: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)

    def join(self, other: Change) -> None:
        self.removed += other.removed
        self.added += other.added
        self.vectors += other.vectors

    def follow(self, vault: Vault) -> None:
        gone = set(self.removed)
        stays = [(chunk, vector) for chunk, vector in zip(self.added, self.vectors, strict=True) if chunk not in gone]
        if gone or stays:
            vectors = np.stack([vector for _, vector in stays]) if stays else None
            vault.follow(self.removed, [chunk for chunk, _ in stays], vectors)


def said_by_source(vault: Vault, source_id: str) -> set[str]:
    rows = vault.db.execute("SELECT memory_id FROM fact_evidence WHERE source_id = ?", (source_id,))
    return {row["memory_id"] for row in rows.fetchall()}


def slots_of(vault: Vault, memory_ids: Iterable[str]) -> set[tuple[str, str]]:
    rows = vault.db.execute(
        "SELECT DISTINCT subject_key, slot FROM fact WHERE memory_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(memory_ids)),),
    )
    return {(row["subject_key"], row["slot"]) for row in rows.fetchall()}


def forget_source(vault: Vault, source_id: str) -> Change:
    """Inside a transaction: a source is gone, and with it what only it said. The caller's index follows the change."""
    change = Change()
    had = said_by_source(vault, source_id)
    slots = slots_of(vault, had)
    vault.db.execute("DELETE FROM fact_evidence WHERE source_id = ?", (source_id,))
    vault.db.execute("DELETE FROM fact_source WHERE source_id = ?", (source_id,))
    settle(vault, had, slots, change)
    return change


# ---------------------------------------------------------------- what holds


@dataclass(frozen=True)
class Said:
    """One fact of a slot, and when it was first and last said."""

    memory_id: str
    first: str
    last: str


def chain(facts: Sequence[Said]) -> dict[str, tuple[str | None, str | None]]:
    """For each fact of one slot its successor and the moment it ended; both None for the one that holds.

    In the order in which they were last said: who moves away and back again lives where they said last.
    """
    ordered = sorted(facts, key=lambda each: (each.last, each.first, each.memory_id))
    ended: dict[str, tuple[str | None, str | None]] = {}
    for this, after in pairwise(ordered):
        ended[this.memory_id] = (after.memory_id, max(after.first, this.last))
    return ended | ({ordered[-1].memory_id: (None, None)} if ordered else {})


def settle(vault: Vault, touched: set[str], slots: Iterable[tuple[str, str]], change: Change) -> None:
    """Inside a transaction: what nobody says is removed, what is said holds or does not, what holds is in the index."""
    named = json.dumps(sorted(touched))
    rows = vault.db.execute(
        "SELECT memory_id FROM fact WHERE memory_id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM fact_evidence WHERE fact_evidence.memory_id = fact.memory_id)",
        (named,),
    ).fetchall()
    for row in rows:
        remove(vault, row["memory_id"], change)
    for memory_id in touched - {row["memory_id"] for row in rows}:
        _point(vault, memory_id)
    for subject_key, slot in slots:
        touched = touched | _rechain(vault, subject_key, slot)
    _show(vault, touched, change)


def remove(vault: Vault, memory_id: str, change: Change) -> None:
    """Inside a transaction: the fact, its evidence and its passages."""
    change.removed += _chunks(vault, memory_id)
    vault.db.execute("DELETE FROM chunk WHERE memory_id = ?", (memory_id,))
    vault.db.execute("DELETE FROM memory WHERE memory_id = ?", (memory_id,))


def _chunks(vault: Vault, memory_id: str) -> list[int]:
    rows = vault.db.execute("SELECT chunk_id FROM chunk WHERE memory_id = ?", (memory_id,))
    return [row[0] for row in rows.fetchall()]


_POINT = """
UPDATE memory SET transcript_id = said.transcript_id, segment_id = json_extract(said.segment_ids, '$[0]'),
    start_s = said.start_s, end_s = said.end_s, speaker = said.said_by, occurred_at = said.said_at,
    speaker_keys = json_insert(said.speaker_keys, '$[#]', folded(fact.subject))
FROM fact_evidence AS said JOIN fact USING (memory_id)
WHERE memory.memory_id = :memory_id AND said.rowid = (
    SELECT rowid FROM fact_evidence WHERE memory_id = :memory_id ORDER BY said_at DESC, source_id LIMIT 1)
"""
_SINCE = """
UPDATE fact SET valid_from = (SELECT min(said_at) FROM fact_evidence WHERE memory_id = :memory_id)
WHERE memory_id = :memory_id
"""


def _point(vault: Vault, memory_id: str) -> None:
    """A citation plays the last time that it was said."""
    vault.db.execute(_POINT, {"memory_id": memory_id})
    vault.db.execute(_SINCE, {"memory_id": memory_id})


_OF_SLOT = """
SELECT memory_id, min(said_at) AS first, max(said_at) AS last FROM fact JOIN fact_evidence USING (memory_id)
WHERE subject_key = ? AND slot = ? AND state IN ('active', 'superseded') GROUP BY memory_id
"""
_END = """
UPDATE fact SET superseded_by = :after, valid_to = :ended,
    state = CASE WHEN :after IS NULL THEN 'active' ELSE 'superseded' END
WHERE memory_id = :memory_id AND state IN ('active', 'superseded')
"""


def _rechain(vault: Vault, subject_key: str, slot: str) -> set[str]:
    """Who holds a slot, worked out anew, so that nothing that comes late or goes again leaves a wrong end."""
    if not slot:
        return set()
    rows = vault.db.execute(_OF_SLOT, (subject_key, slot)).fetchall()
    ends = chain([Said(row["memory_id"], row["first"], row["last"]) for row in rows])
    for memory_id, (after, ended) in ends.items():
        vault.db.execute(_END, {"memory_id": memory_id, "after": after, "ended": ended})
    return set(ends)


def rechain_all(vault: Vault, change: Change) -> None:
    """Inside a transaction: every slot worked out anew."""
    rows = vault.db.execute("SELECT DISTINCT subject_key, slot FROM fact WHERE slot <> ''").fetchall()
    vault.db.execute(
        "UPDATE fact SET state = 'active', valid_to = NULL, superseded_by = NULL"
        " WHERE state = 'superseded' AND slot = ''"
    )
    every = {row["memory_id"] for row in vault.db.execute("SELECT memory_id FROM fact").fetchall()}
    settle(vault, every, [(row["subject_key"], row["slot"]) for row in rows], change)


_SHOWN = """
SELECT memory_id, content, state, model, vector,
    EXISTS (SELECT 1 FROM chunk WHERE chunk.memory_id = fact.memory_id) AS shown
FROM fact JOIN memory USING (memory_id) WHERE memory_id IN (SELECT value FROM json_each(?))
"""


def _show(vault: Vault, memory_ids: Iterable[str], change: Change) -> None:
    for row in vault.db.execute(_SHOWN, (json.dumps(sorted(memory_ids)),)).fetchall():
        if row["state"] != "active" and row["shown"]:
            change.removed += _chunks(vault, row["memory_id"])
            vault.db.execute("DELETE FROM chunk WHERE memory_id = ?", (row["memory_id"],))
        elif row["state"] == "active" and not row["shown"]:
            cursor = vault.db.execute(
                "INSERT INTO chunk (memory_id, content, model, vector) VALUES (?, ?, ?, ?)",
                (row["memory_id"], row["content"], row["model"], row["vector"]),
            )
            if row["model"] == vault.model:
                change.added.append(int(cursor.lastrowid))
                change.vectors.append(np.frombuffer(row["vector"], np.float32))


# ---------------------------------------------------------------- reading

_LIST = """
SELECT memory.*, fact.* FROM fact JOIN memory USING (memory_id)
WHERE (:before IS NULL OR memory_id < :before) AND (:state IS NULL OR state = :state)
  AND (:subject IS NULL OR folded(subject) = folded(:subject)) AND (:only IS NULL OR memory_id = :only)
ORDER BY memory_id DESC LIMIT :limit
"""
_EVIDENCE = """
SELECT * FROM fact_evidence WHERE memory_id IN (SELECT value FROM json_each(?)) ORDER BY said_at DESC, source_id
"""


def page(
    vault: Vault, limit: int, before: str | None, state: FactState | None = None, subject: str | None = None
) -> list[Fact]:
    """Newest first."""
    return _read(vault, {"limit": limit, "before": before, "state": state, "subject": subject, "only": None})


def get(vault: Vault, memory_id: str) -> Fact:
    found = _read(vault, {"limit": 1, "before": None, "state": None, "subject": None, "only": memory_id})
    if not found:
        raise NotFound
    return found[0]


def _read(vault: Vault, values: dict[str, Any]) -> list[Fact]:
    with in_our_words():
        rows = vault.db.execute(_LIST, values).fetchall()
        said = vault.db.execute(_EVIDENCE, (json.dumps([row["memory_id"] for row in rows]),)).fetchall()
    evidence: dict[str, list[FactEvidence]] = {}
    for each in said:
        evidence.setdefault(each["memory_id"], []).append(_evidence(each))
    return [_fact(dict(row), evidence.get(row["memory_id"], [])) for row in rows]


def _fact(row: dict[str, Any], evidence: list[FactEvidence]) -> Fact:
    more = {
        "tags": json.loads(row["tags"]),
        "reasons": json.loads(row["reasons"]),
        "slot": row["slot"] or None,
        "undoable": row["was"] is not None,
        "evidence": evidence,
    }
    return Fact.model_validate(row | more)


def _evidence(row: Any) -> FactEvidence:
    values = dict(row)
    heard = values["transcript_id"] is not None
    return FactEvidence.model_validate(
        values
        | {
            "source": "transcript" if heard else "conversation",
            "message_id": None if heard else values["source_id"],
            "segment_ids": json.loads(values["segment_ids"]),
        }
    )
