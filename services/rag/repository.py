"""Memories of one vault: SQL, rows to records. Every change is one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.rag.engines import Vectors
from services.rag.index import image
from services.rag.vaults import Vault
from shared.errors import NotFound, PreconditionFailed
from shared.schemas.rag import Memory
from shared.storage.sqlcipher import in_our_words, transaction


def moment(at: datetime) -> str:
    """RFC 3339 in UTC with fixed width, so that text order is time order."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def now() -> str:
    return moment(datetime.now(UTC))


def memory_of(row: Mapping[str, Any]) -> Memory:
    values = dict(row)
    return Memory.model_validate(values | {"tags": json.loads(values["tags"])})


@dataclass(frozen=True)
class Chunk:
    """A piece of a memory that a vector stands for."""

    content: str
    heading: str | None = None
    """What the whole memory is about; found by its words, but no part of what was said."""

    @property
    def embedded(self) -> str:
        return f"{self.heading}: {self.content}" if self.heading else self.content


def insert_memory(
    vault: Vault, memory: Memory, chunks: Sequence[Chunk], vectors: Vectors, speaker_keys: Sequence[str] = ()
) -> list[int]:
    """Inside a transaction; answers the ids of its chunks. `speaker_keys`: all that the speaker may be filtered by."""
    values = memory.model_dump()
    values["speaker_keys"] = json.dumps([key.casefold() for key in speaker_keys])
    for name in ("occurred_at", "created_at", "updated_at"):
        values[name] = moment(values[name])
    values["tags"] = json.dumps(values["tags"])
    columns = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    vault.db.execute(f"INSERT INTO memory ({columns}) VALUES ({marks})", values)  # noqa: S608 - names of our fields
    return insert_chunks(vault, memory.memory_id, chunks, vectors)


def insert_chunks(vault: Vault, memory_id: str, chunks: Sequence[Chunk], vectors: Vectors) -> list[int]:
    ids = []
    for chunk, vector in zip(chunks, vectors, strict=True):
        cursor = vault.db.execute(
            "INSERT INTO chunk (memory_id, heading, content, model, vector) VALUES (?, ?, ?, ?, ?)",
            (memory_id, chunk.heading, chunk.content, vault.model, vector.tobytes()),
        )
        ids.append(int(cursor.lastrowid))
    return ids


def chunk_ids(vault: Vault, where: str, *values: Any) -> list[int]:
    rows = vault.db.execute(
        f"SELECT chunk_id FROM chunk WHERE memory_id IN (SELECT memory_id FROM memory WHERE {where})",  # noqa: S608
        values,
    )
    return [row[0] for row in rows.fetchall()]


def add_memory(vault: Vault, memory: Memory, chunks: Sequence[Chunk], vectors: Vectors) -> None:
    """Durable when it returns."""
    with transaction(vault.db):
        ids = insert_memory(vault, memory, chunks, vectors)
    vault.follow([], ids, vectors)


def get_memory(vault: Vault, memory_id: str) -> Memory:
    with in_our_words():
        row = vault.db.execute("SELECT * FROM memory WHERE memory_id = ?", (memory_id,)).fetchone()
    if row is None:
        raise NotFound
    return memory_of(row)


def list_memories(vault: Vault, limit: int, before: str | None, kind: str | None, tag: str | None) -> list[Memory]:
    """Newest first; passages of recordings and documents only when asked for by their type, facts only while active."""
    with in_our_words():
        rows = vault.db.execute(
            "SELECT * FROM memory WHERE (:before IS NULL OR memory_id < :before)"
            " AND memory_id NOT IN (SELECT memory_id FROM fact WHERE state <> 'active')"
            " AND (CASE WHEN :kind IS NOT NULL THEN memory_type = :kind ELSE transcript_id IS NULL"
            " AND memory_id NOT IN (SELECT memory_id FROM document_passage) END)"
            " AND (:tag IS NULL OR EXISTS (SELECT 1 FROM json_each(memory.tags) WHERE value = :tag))"
            " ORDER BY memory_id DESC LIMIT :limit",
            {"before": before, "kind": kind, "tag": tag, "limit": limit},
        ).fetchall()
    return [memory_of(row) for row in rows]


def change_memory(
    vault: Vault,
    memory_id: str,
    changes: Mapping[str, Any],
    expected: int | None,
    chunks: Sequence[Chunk] | None,
    vectors: Vectors | None,
) -> Memory:
    """Change some fields; with `chunks` and `vectors` the content is indexed anew. Raises PreconditionFailed."""
    old: list[int] = []
    new: list[int] = []
    with transaction(vault.db):
        current = get_memory(vault, memory_id)
        require_revision(current.revision, expected)
        _update(vault, memory_id, {**changes, "updated_at": now(), "revision": current.revision + 1})
        if chunks is not None and vectors is not None:
            old = chunk_ids(vault, "memory_id = ?", memory_id)
            vault.db.execute("DELETE FROM chunk WHERE memory_id = ?", (memory_id,))
            if not _is_hidden(vault, memory_id, vectors):
                new = insert_chunks(vault, memory_id, chunks, vectors)
    vault.follow(old, new, vectors if new else None)
    return get_memory(vault, memory_id)


def _is_hidden(vault: Vault, memory_id: str, vectors: Vectors) -> bool:
    """Whether it is a fact that does not hold or waits for its user; any fact keeps its new vector beside it."""
    vault.db.execute(
        "UPDATE fact SET vector = ?, model = ? WHERE memory_id = ?", (vectors[0].tobytes(), vault.model, memory_id)
    )
    sql = "SELECT 1 FROM fact WHERE memory_id = ? AND state <> 'active'"
    return vault.db.execute(sql, (memory_id,)).fetchone() is not None


def _update(vault: Vault, memory_id: str, changes: Mapping[str, Any]) -> None:
    assignments = ", ".join(f"{name} = :{name}" for name in changes)
    vault.db.execute(
        f"UPDATE memory SET {assignments} WHERE memory_id = :memory_id",  # noqa: S608 - names of our fields
        {**changes, "memory_id": memory_id},
    )


def require_revision(current: int, expected: int | None) -> None:
    if expected is not None and expected != current:
        raise PreconditionFailed


def delete_memory(vault: Vault, memory_id: str, expected: int | None) -> None:
    """Text, full text and vectors in one transaction."""
    with transaction(vault.db):
        require_revision(get_memory(vault, memory_id).revision, expected)
        ids = chunk_ids(vault, "memory_id = ?", memory_id)
        vault.db.execute("DELETE FROM chunk WHERE memory_id = ?", (memory_id,))
        vault.db.execute("DELETE FROM memory WHERE memory_id = ?", (memory_id,))
    vault.follow(ids)


_LEARNT = ("fact_evidence", "fact", "fact_source", "fact_refused")


def clear(vault: Vault) -> None:
    """Empty the vault; the freed pages are overwritten and the file shrinks."""
    with transaction(vault.db):
        for table in (*_LEARNT, "message", "conversation", "chunk", "memory", "transcript", "document"):
            vault.db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
        image.forget(vault.db)
    with in_our_words():
        vault.db.execute("VACUUM")
        vault.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    vault.clear_index()


def reindex(vault: Vault, chunks: Mapping[int, Chunk], vectors: Vectors) -> None:
    """New vectors for chunks that are still there; one transaction."""
    sql = "UPDATE chunk SET vector = ?, model = ? WHERE chunk_id = ?"
    with transaction(vault.db):
        image.forget(vault.db)  # it is of the vectors before
        there = [
            vault.db.execute(sql, (vector.tobytes(), vault.model, chunk_id)).rowcount == 1
            for chunk_id, vector in zip(chunks, vectors, strict=True)
        ]
    ids = [chunk_id for chunk_id, is_there in zip(chunks, there, strict=True) if is_there]
    vault.follow(ids, ids, vectors[np.array(there, dtype=np.bool_)])


def chunks_after(vault: Vault, chunk_id: int, limit: int) -> dict[int, Chunk]:
    with in_our_words():
        rows = vault.db.execute(
            "SELECT chunk_id, heading, content FROM chunk WHERE chunk_id > ? ORDER BY chunk_id LIMIT ?",
            (chunk_id, limit),
        ).fetchall()
    return {row["chunk_id"]: Chunk(row["content"], row["heading"]) for row in rows}
