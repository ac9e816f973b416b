"""What a vault knows: facts, their states, and the evidence for each. Every change is one transaction.

A fact is a memory with a row beside it. Only an active one has passages, so what is pending, quarantined, rejected or
superseded cannot be found by words or vectors, whoever searches and however: there is nothing to find.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from services.rag import gate
from services.rag.engines import Vectors
from services.rag.facts import Candidate, Source
from services.rag.gate import Verdict
from services.rag.repository import delete_memory, moment, now, require_revision
from services.rag.vaults import Vault
from shared.errors import Conflict, NotFound
from shared.schemas.facts import Evidence, Fact, FactState
from shared.schemas.ids import new_id
from shared.storage.sqlcipher import in_our_words, transaction

KIND = "fact"
Decision = Literal["accept", "reject", "release"]
_FROM: dict[Decision, tuple[FactState, ...]] = {
    "accept": ("pending",),
    "reject": ("active", "pending", "quarantined", "superseded"),
    "release": ("quarantined",),
}
_TO: dict[Decision, FactState] = {"accept": "active", "reject": "rejected", "release": "active"}
_HINTS = {
    "quarantined": "It is in quarantine because it reads like an order to a machine; release or reject it.",
    "rejected": "You rejected it; undo that first.",
}


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
        if self.removed or self.added:
            vault.follow(self.removed, self.added, np.stack(self.vectors) if self.vectors else None)


# ---------------------------------------------------------------- learning


def learn(
    vault: Vault, source: Source, found: Sequence[tuple[Candidate, Verdict]], vectors: Vectors, mark: str
) -> None:
    """The facts of one source become these; what they already are stays as it is, with its state.

    Each candidate joins the fact that says the same about the same person, or becomes one. Facts that nothing says any
    more are gone.
    """
    change = Change()
    with transaction(vault.db):
        _Lesson(vault, source).give(found, vectors, change)
        vault.db.execute(
            "INSERT INTO fact_source VALUES (?1, ?2) ON CONFLICT (source_id) DO UPDATE SET digest = ?2",
            (source.source_id, mark),
        )
    change.follow(vault)


def mark_of(vault: Vault, source_id: str) -> str | None:
    """What `learn` was last told of this source; None where it never was."""
    with in_our_words():
        row = vault.db.execute("SELECT digest FROM fact_source WHERE source_id = ?", (source_id,)).fetchone()
    return row["digest"] if row else None


class _Lesson:
    """One source being learnt, inside a transaction."""

    def __init__(self, vault: Vault, source: Source) -> None:
        self._vault, self._db, self._source = vault, vault.db, source
        self._known: dict[tuple[str, str], list[tuple[str, str, Vectors]]] = {}

    def give(self, found: Sequence[tuple[Candidate, Verdict]], vectors: Vectors, change: Change) -> None:
        had = _said_by_source(self._vault, self._source.source_id)
        slots = _slots(self._vault, had)
        self._db.execute("DELETE FROM fact_evidence WHERE source_id = ?", (self._source.source_id,))
        for (candidate, verdict), vector in zip(found, vectors, strict=True):
            text_hash = gate.told_by(candidate.quote)
            memory_id = self._fact(candidate, verdict, text_hash, vector, had)
            if memory_id is None:
                continue
            self._witness(memory_id, candidate, verdict)
            slots.add((candidate.subject_key, candidate.slot))
        _settle(self._vault, {*had, *_said_by_source(self._vault, self._source.source_id)}, slots, change)

    def _fact(
        self, candidate: Candidate, verdict: Verdict, text_hash: str, vector: Vectors, had: Iterable[str]
    ) -> str | None:
        """The fact that it is now; None for one that its user has refused before."""
        found = self._by_words(candidate, text_hash, had)
        if found is None and self._is_refused(candidate, text_hash):
            return None
        found = found or self._by_meaning(candidate, vector)
        if found is None:
            return self._insert(candidate, verdict, text_hash, vector)
        if verdict.outcome == "active":
            self._db.execute(
                "UPDATE fact SET state = 'active', reasons = '[]', confidence = max(confidence, ?)"
                " WHERE memory_id = ? AND state IN ('pending', 'quarantined') AND was IS NULL",
                (verdict.confidence, found),
            )
        return found

    def _by_words(self, candidate: Candidate, text_hash: str, had: Iterable[str]) -> str | None:
        """By the same words; of this source also under another name, which its speaker has got meanwhile."""
        row = self._db.execute(
            "SELECT memory_id FROM fact WHERE subject_key = ? AND text_hash = ?", (candidate.subject_key, text_hash)
        ).fetchone()
        if row is not None:
            return str(row["memory_id"])
        row = self._db.execute(
            "SELECT memory_id FROM fact WHERE text_hash = ? AND memory_id IN (SELECT value FROM json_each(?))"
            " AND NOT EXISTS (SELECT 1 FROM fact_evidence WHERE fact_evidence.memory_id = fact.memory_id)",
            (text_hash, json.dumps(list(had))),
        ).fetchone()
        if row is None:
            return None
        self._db.execute(
            "UPDATE fact SET subject = ?, subject_key = ? WHERE memory_id = ?",
            (candidate.subject, candidate.subject_key, row["memory_id"]),
        )
        return str(row["memory_id"])

    def _is_refused(self, candidate: Candidate, text_hash: str) -> bool:
        sql = "SELECT 1 FROM fact_refused WHERE text_hash = ? AND owner IN (?, ?)"
        values = (text_hash, candidate.subject_key, self._source.source_id)
        return self._db.execute(sql, values).fetchone() is not None

    def _by_meaning(self, candidate: Candidate, vector: Vectors) -> str | None:
        for memory_id, content, other in self._of_subject(candidate.subject_key, candidate.kind):
            if gate.same(candidate.quote, content, float(other @ vector)):
                return memory_id
        return None

    def _of_subject(self, subject_key: str, kind: str) -> list[tuple[str, str, Vectors]]:
        key = (subject_key, kind)
        if key not in self._known:
            rows = self._db.execute(
                "SELECT memory_id, content, vector FROM fact JOIN memory USING (memory_id)"
                " WHERE subject_key = ? AND kind = ? AND model = ?",
                (*key, self._vault.model),
            )
            self._known[key] = [(row[0], row[1], np.frombuffer(row[2], np.float32)) for row in rows.fetchall()]
        return self._known[key]

    def _insert(self, candidate: Candidate, verdict: Verdict, text_hash: str, vector: Vectors) -> str:
        memory_id, at = new_id("mem"), now()
        self._db.execute(
            "INSERT INTO memory (memory_id, content, tags, memory_type, occurred_at, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (memory_id, candidate.quote, json.dumps(self._source.tags), KIND, moment(candidate.said_at), at, at),
        )
        values = {
            "memory_id": memory_id,
            "kind": candidate.kind,
            "subject": candidate.subject,
            "subject_key": candidate.subject_key,
            "slot": candidate.slot,
            "value": candidate.value,
            "text_hash": text_hash,
            "state": verdict.outcome,
            "reasons": json.dumps(verdict.reasons),
            "confidence": verdict.confidence,
            "valid_from": moment(candidate.said_at),
            "on_date": candidate.on_date.isoformat() if candidate.on_date else None,
            "model": self._vault.model,
            "vector": vector.tobytes(),
        }
        columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        self._db.execute(f"INSERT INTO fact ({columns}) VALUES ({marks})", values)  # noqa: S608 - names of ours
        self._of_subject(candidate.subject_key, candidate.kind).append((memory_id, candidate.quote, vector))
        return memory_id

    def _witness(self, memory_id: str, candidate: Candidate, verdict: Verdict) -> None:
        """What reads like an order is evidence for nothing that is believed."""
        row = self._db.execute("SELECT state FROM fact WHERE memory_id = ?", (memory_id,)).fetchone()
        if verdict.outcome == "quarantined" and row["state"] not in ("quarantined", "rejected"):
            return
        said = candidate.utterance
        self._db.execute(
            "INSERT INTO fact_evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                memory_id, self._source.source_id, self._source.transcript_id, self._source.conversation_id,
                json.dumps(candidate.segment_ids), candidate.start_s, candidate.end_s, said.subject, said.subject_key,
                json.dumps([key.casefold() for key in said.speaker_keys]), moment(candidate.said_at), candidate.quote,
            ),
        )  # fmt: skip


def _said_by_source(vault: Vault, source_id: str) -> set[str]:
    rows = vault.db.execute("SELECT memory_id FROM fact_evidence WHERE source_id = ?", (source_id,))
    return {row["memory_id"] for row in rows.fetchall()}


def _slots(vault: Vault, memory_ids: Iterable[str]) -> set[tuple[str, str]]:
    rows = vault.db.execute(
        "SELECT DISTINCT subject_key, slot FROM fact WHERE memory_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(memory_ids)),),
    )
    return {(row["subject_key"], row["slot"]) for row in rows.fetchall()}


def forget_source(vault: Vault, source_id: str) -> Change:
    """Inside a transaction: a source is gone, and with it what only it said. The caller's index follows the change."""
    change = Change()
    had = _said_by_source(vault, source_id)
    slots = _slots(vault, had)
    vault.db.execute("DELETE FROM fact_evidence WHERE source_id = ?", (source_id,))
    vault.db.execute("DELETE FROM fact_source WHERE source_id = ?", (source_id,))
    _settle(vault, had, slots, change)
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


def _settle(vault: Vault, touched: set[str], slots: Iterable[tuple[str, str]], change: Change) -> None:
    """Facts that nobody says are removed; those that are said hold or do not; the index has those that do."""
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
    _settle(vault, every, [(row["subject_key"], row["slot"]) for row in rows], change)


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


# ---------------------------------------------------------------- its user's word


def decide(vault: Vault, memory_id: str, decision: Decision) -> Fact:
    """Accept, reject or release; said twice it is as said once. Raises NotFound, Conflict."""
    change = Change()
    with transaction(vault.db):
        row = _row(vault, memory_id)
        if row["state"] not in _FROM[decision]:
            if row["state"] == _TO[decision] or (decision == "accept" and row["state"] == "superseded"):
                return get(vault, memory_id)
            raise Conflict(_HINTS.get(row["state"], f"This fact is {row['state']}; there is nothing to {decision}."))
        was = "active" if row["state"] == "superseded" else row["state"]
        _turn(vault, row, _TO[decision], was, change)
        if decision == "reject":
            _refuse(vault, row)
    change.follow(vault)
    return get(vault, memory_id)


def undo(vault: Vault, memory_id: str) -> Fact:
    """Back to what it was before its user's last word. Raises NotFound; Conflict where there is none."""
    change = Change()
    with transaction(vault.db):
        row = _row(vault, memory_id)
        if row["was"] is None:
            raise Conflict("There is no decision about this fact to take back.")
        _turn(vault, row, row["was"], None, change)
        vault.db.execute(
            "DELETE FROM fact_refused WHERE text_hash = ?1 AND (owner = ?2 OR owner IN"
            " (SELECT source_id FROM fact_evidence WHERE memory_id = ?3))",
            (row["text_hash"], row["subject_key"], memory_id),
        )
    change.follow(vault)
    return get(vault, memory_id)


def _row(vault: Vault, memory_id: str) -> Any:
    row = vault.db.execute("SELECT * FROM fact WHERE memory_id = ?", (memory_id,)).fetchone()
    if row is None:
        raise NotFound
    return row


def _turn(vault: Vault, row: Any, state: str, was: str | None, change: Change) -> None:
    vault.db.execute(
        "UPDATE fact SET state = ?, was = ?, superseded_by = NULL, valid_to = NULL WHERE memory_id = ?",
        (state, was, row["memory_id"]),
    )
    vault.db.execute(
        "UPDATE memory SET revision = revision + 1, updated_at = ? WHERE memory_id = ?", (now(), row["memory_id"])
    )
    _settle(vault, {row["memory_id"]}, [(row["subject_key"], row["slot"])], change)


def _refuse(vault: Vault, row: Any) -> None:
    """Known again by its hash, whoever is said to have said it: the person, or a voice of one of its recordings."""
    vault.db.execute(
        "INSERT INTO fact_refused SELECT ?1, ?2 UNION SELECT ?1, source_id FROM fact_evidence WHERE memory_id = ?3"
        " ON CONFLICT DO NOTHING",
        (row["text_hash"], row["subject_key"], row["memory_id"]),
    )


def forget(vault: Vault, memory_id: str, expected: int | None) -> None:
    """Delete a memory of any kind; a fact that was deleted does not come back either. Raises PreconditionFailed."""
    with in_our_words():
        found = vault.db.execute("SELECT 1 FROM fact WHERE memory_id = ?", (memory_id,)).fetchone()
    if found is None:
        delete_memory(vault, memory_id, expected)
        return
    change = Change()
    with transaction(vault.db):
        row = _row(vault, memory_id)
        revision = vault.db.execute("SELECT revision FROM memory WHERE memory_id = ?", (memory_id,)).fetchone()[0]
        require_revision(revision, expected)
        _refuse(vault, row)
        remove(vault, memory_id, change)
        _settle(vault, set(), [(row["subject_key"], row["slot"])], change)
    change.follow(vault)


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
    evidence: dict[str, list[Evidence]] = {}
    for each in said:
        evidence.setdefault(each["memory_id"], []).append(_evidence(each))
    return [_fact(dict(row), evidence.get(row["memory_id"], [])) for row in rows]


def _fact(row: dict[str, Any], evidence: list[Evidence]) -> Fact:
    more = {
        "tags": json.loads(row["tags"]),
        "reasons": json.loads(row["reasons"]),
        "slot": row["slot"] or None,
        "undoable": row["was"] is not None,
        "evidence": evidence,
    }
    return Fact.model_validate(row | more)


def _evidence(row: Any) -> Evidence:
    values = dict(row)
    heard = values["transcript_id"] is not None
    return Evidence.model_validate(
        values
        | {
            "source": "transcript" if heard else "conversation",
            "message_id": None if heard else values["source_id"],
            "segment_ids": json.loads(values["segment_ids"]),
        }
    )
