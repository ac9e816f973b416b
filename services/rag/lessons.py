"""What a source says becomes facts of its vault: new ones, or more evidence for those that it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from services.rag import gate
from services.rag.engines import Vectors
from services.rag.facts import Candidate
from services.rag.gate import Verdict
from services.rag.knowledge import Change, said_by_source, settle, slots_of
from services.rag.repository import moment, now
from services.rag.sources import Source
from services.rag.vaults import Vault
from shared.schemas.ids import new_id
from shared.storage.sqlcipher import in_our_words, transaction

KIND = "fact"


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
        had = said_by_source(self._vault, self._source.source_id)
        slots = slots_of(self._vault, had)
        self._db.execute("DELETE FROM fact_evidence WHERE source_id = ?", (self._source.source_id,))
        for (candidate, verdict), vector in zip(found, vectors, strict=True):
            text_hash = gate.told_by(candidate.quote)
            memory_id = self._fact(candidate, verdict, text_hash, vector, had)
            if memory_id is None:
                continue
            self._witness(memory_id, candidate, verdict)
        touched = had | said_by_source(self._vault, self._source.source_id)
        settle(self._vault, touched, slots | slots_of(self._vault, touched), change)

    def _fact(
        self, candidate: Candidate, verdict: Verdict, text_hash: str, vector: Vectors, had: Iterable[str]
    ) -> str | None:
        """The fact that it is now; None for one that its user has refused before."""
        found = self._by_words(candidate, text_hash, had)
        if found is None and self._is_refused(candidate, text_hash):
            return None
        if found is None and verdict.outcome != "quarantined":
            found = self._by_meaning(candidate, vector)
        if found is None:
            return self._insert(candidate, verdict, text_hash, vector)
        self._judge_anew(found, verdict)
        return found

    def _judge_anew(self, memory_id: str, verdict: Verdict) -> None:
        """Where its user has not spoken: its only source may change it in any way, another one only for the better."""
        self._db.execute(
            "UPDATE fact SET state = :outcome, reasons = :reasons, confidence = :confidence"
            " WHERE memory_id = :memory_id AND was IS NULL AND state <> 'rejected'"
            " AND (NOT EXISTS (SELECT 1 FROM fact_evidence WHERE memory_id = :memory_id)"
            " OR (:outcome = 'active' AND state IN ('pending', 'quarantined')))",
            {
                "outcome": verdict.outcome,
                "reasons": json.dumps(verdict.reasons),
                "confidence": verdict.confidence,
                "memory_id": memory_id,
            },
        )

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
        """Never one in quarantine: its words may hold more than what is said here."""
        for memory_id, content, other in self._of_subject(candidate.subject_key, candidate.kind):
            if gate.same(candidate.quote, content, float(other @ vector)):
                return memory_id
        return None

    def _of_subject(self, subject_key: str, kind: str) -> list[tuple[str, str, Vectors]]:
        key = (subject_key, kind)
        if key not in self._known:
            rows = self._db.execute(
                "SELECT memory_id, content, vector FROM fact JOIN memory USING (memory_id)"
                " WHERE subject_key = ? AND kind = ? AND model = ? AND state <> 'quarantined'",
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
        if verdict.outcome != "quarantined":
            self._of_subject(candidate.subject_key, candidate.kind).append((memory_id, candidate.quote, vector))
        return memory_id

    def _witness(self, memory_id: str, candidate: Candidate, verdict: Verdict) -> None:
        """What reads like an order is no evidence for what others have said."""
        row = self._db.execute(
            "SELECT state IN ('quarantined', 'rejected') AS hidden, EXISTS (SELECT 1 FROM fact_evidence"
            " WHERE fact_evidence.memory_id = fact.memory_id) AS told FROM fact WHERE memory_id = ?",
            (memory_id,),
        ).fetchone()
        if verdict.outcome == "quarantined" and row["told"] and not row["hidden"]:
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
