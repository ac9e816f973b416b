"""Documents of one vault, and the passages by which they are found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.rag.engines import Vectors
from services.rag.repository import Chunk, chunk_ids, insert_memory, moment
from services.rag.sections import Piece
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.documents import Document
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory
from shared.storage.sqlcipher import in_our_words, transaction

KIND = "document"
_PASSAGES = "memory_id IN (SELECT memory_id FROM document_passage WHERE document_id = ?)"


def add(vault: Vault, document: Document) -> None:
    """Durable when it returns."""
    with transaction(vault.db):
        insert(vault, document)


def insert(vault: Vault, document: Document) -> None:
    """Inside a transaction."""
    values = (document.document_id, document.status, _details(document), moment(document.created_at))
    vault.db.execute("INSERT INTO document (document_id, status, details, created_at) VALUES (?, ?, ?, ?)", values)


def _details(document: Document) -> str:
    return document.model_dump_json(exclude={"document_id", "status", "chunks", "created_at"})


_SELECT = """
SELECT document.*, (SELECT count(*) FROM document_passage AS passage WHERE passage.document_id = document.document_id)
    AS chunks FROM document
"""


def _document_of(row: Mapping[str, Any]) -> Document:
    return Document.model_validate({**json.loads(row["details"]), **dict(row)})


def get(vault: Vault, document_id: str) -> Document:
    with in_our_words():
        row = vault.db.execute(f"{_SELECT} WHERE document_id = ?", (document_id,)).fetchone()
    if row is None:
        raise NotFound
    return _document_of(row)


def page(vault: Vault, limit: int, before: str | None) -> list[Document]:
    """Newest first."""
    with in_our_words():
        rows = vault.db.execute(
            f"{_SELECT} WHERE ?1 IS NULL OR document_id < ?1 ORDER BY document_id DESC LIMIT ?2", (before, limit)
        ).fetchall()
    return [_document_of(row) for row in rows]


def set_job(vault: Vault, document_id: str, job_id: str) -> None:
    with transaction(vault.db):
        vault.db.execute("UPDATE document SET job_id = ? WHERE document_id = ?", (job_id, document_id))


def job_of(vault: Vault, document_id: str) -> str | None:
    with in_our_words():
        row = vault.db.execute("SELECT job_id FROM document WHERE document_id = ?", (document_id,)).fetchone()
    return None if row is None else row["job_id"]


def unread(vault: Vault, before: datetime) -> list[str]:
    """Those that should have been read long ago: nobody was asked to, or the asking was lost."""
    with in_our_words():
        rows = vault.db.execute(
            "SELECT document_id FROM document WHERE status = 'processing' AND created_at < ?", (moment(before),)
        ).fetchall()
    return [row["document_id"] for row in rows]


def put(vault: Vault, document: Document) -> Document:
    """What is known by now. Raises NotFound for one that was deleted meanwhile."""
    with transaction(vault.db):
        _store(vault, document)
    return get(vault, document.document_id)


def _store(vault: Vault, document: Document) -> None:
    changed = document.model_copy(update={"updated_at": datetime.now(UTC)})
    values = (document.status, _details(changed), document.document_id)
    found = vault.db.execute("UPDATE document SET status = ?, details = ? WHERE document_id = ?", values)
    if found.rowcount == 0:
        raise NotFound


def begin(vault: Vault, document_id: str) -> None:
    """Without the passages that an interrupted reading left."""
    with transaction(vault.db):
        old = _remove_passages(vault, document_id)
    vault.follow(old)


def add_passages(vault: Vault, document: Document, pieces: Sequence[Piece], vectors: Vectors) -> None:
    """One batch, in one transaction. Raises NotFound for a document that was deleted meanwhile."""
    ids: list[int] = []
    with transaction(vault.db):
        get(vault, document.document_id)
        for piece, vector in zip(pieces, vectors, strict=True):
            memory = _memory(document, piece)
            ids += insert_memory(vault, memory, [chunk_of(document, piece)], vector[None, :])
            vault.db.execute(
                "INSERT INTO document_passage VALUES (?, ?, ?, ?, ?)",
                (memory.memory_id, document.document_id, piece.page, piece.start, piece.end),
            )
    vault.follow([], ids, vectors)


def chunk_of(document: Document, piece: Piece) -> Chunk:
    """A passage under the title of its document and the heading of its section."""
    headings = dict.fromkeys(each for each in (document.title, piece.heading) if each)
    return Chunk(piece.text, " - ".join(headings))


def _memory(document: Document, piece: Piece) -> Memory:
    return Memory(
        memory_id=new_id("mem"),
        content=piece.text,
        title=document.title,
        tags=document.tags,
        memory_type=KIND,
        occurred_at=document.occurred_at or document.created_at,
        created_at=document.created_at,
        updated_at=document.created_at,
    )


def _remove_passages(vault: Vault, document_id: str) -> list[int]:
    ids = chunk_ids(vault, _PASSAGES, document_id)
    chosen = f"SELECT memory_id FROM memory WHERE {_PASSAGES}"  # noqa: S608 - ours
    vault.db.execute(f"DELETE FROM chunk WHERE memory_id IN ({chosen})", (document_id,))  # noqa: S608 - ours
    vault.db.execute(f"DELETE FROM memory WHERE {_PASSAGES}", (document_id,))  # noqa: S608 - ours
    return ids


def delete(vault: Vault, document_id: str) -> None:
    """Text, passages and vectors, in one transaction. Raises NotFound."""
    with transaction(vault.db):
        get(vault, document_id)
        ids = _remove_passages(vault, document_id)
        vault.db.execute("DELETE FROM document WHERE document_id = ?", (document_id,))
    vault.follow(ids)
