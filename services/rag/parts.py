"""What a vault consists of when it leaves and comes back: one line of `PARTS` for each kind of thing.

A record is plain JSON. `read` gives records in the order of their ids; `check` raises ValueError for one that is not
what it should be; `write` adds one inside a transaction and says what became of it. What is there is never changed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field, TypeAdapter

from services.rag import conversations, documents, lessons, transcripts
from services.rag.repository import Chunk, insert_memory, memory_of, moment
from services.rag.vaults import Vault
from shared.schemas.documents import Document
from shared.schemas.edits import RevisionKind
from shared.schemas.facts import FactKind, FactState
from shared.schemas.ids import ConversationId, DocumentId, MemoryId, RecordingId
from shared.schemas.rag import Conversation, Memory, Message
from shared.schemas.transcription import Transcript
from shared.schemas.wire import Wire
from shared.storage.sqlcipher import in_our_words

Outcome = Literal["imported", "present", "different", "orphaned"]
"""`present`: the same is here. `different`: the id is here with other content, which stays. `orphaned`: it belongs to
something that is neither here nor in the archive."""


class TranscriptRecord(Wire):
    transcript: Transcript
    edited: bool = False
    revised: bool = False
    remembered: bool = True


class RevisionRecord(Wire):
    """A change of a transcript, and the state that the next one ended; None for the present state."""

    transcript_id: RecordingId
    revision: Annotated[int, Field(ge=1, lt=1_000_000_000)]
    at: datetime
    kind: RevisionKind
    segment_id: str | None = None
    transcript: Transcript | None = None
    of: str
    """The history that it belongs to: SHA-256 over number and text of the present state."""


class ChunkRecord(Wire):
    content: str
    heading: str | None = None


class PlaceRecord(Wire):
    """Where a memory stands in its document."""

    document_id: str
    page: int | None = None
    offset: int
    end_offset: int


class EvidenceRecord(Wire):
    source_id: str
    transcript_id: str | None = None
    conversation_id: str | None = None
    segment_ids: list[str] = Field(default_factory=list)
    start_s: float | None = None
    end_s: float | None = None
    said_by: str
    said_by_key: str
    speaker_keys: list[str] = Field(default_factory=list)
    said_at: str
    quote: str


class FactRecord(Wire):
    """What a memory that was learnt has beside it; moments as the vault keeps them."""

    kind: FactKind
    subject: str
    subject_key: str
    slot: str
    value: str
    text_hash: str
    state: FactState
    was: FactState | None = None
    reasons: list[str] = Field(default_factory=list)
    confidence: float
    valid_from: str
    valid_to: str | None = None
    on_date: str | None = None
    evidence: list[EvidenceRecord]


class RefusedRecord(Wire):
    """Words that are not to be learnt again, and of whom or from which source."""

    text_hash: str
    owner: str


class MemoryRecord(Wire):
    memory: Memory
    speaker_keys: list[str] = Field(default_factory=list)
    chunks: list[ChunkRecord]
    place: PlaceRecord | None = None
    fact: FactRecord | None = None


Batch = tuple[list[tuple[str, dict[str, Any]]], str | None]
"""Ids and records, and the id to go on from; None at the end."""


class Reader(Protocol):
    def __call__(self, vault: Vault, *, after: str, limit: int) -> Batch: ...


@dataclass(frozen=True)
class Part:
    """One kind of thing."""

    name: str
    read: Reader
    """A batch behind an id."""
    check: Callable[[Any], tuple[str, Any]]
    """A record to its id and what `write` takes."""
    write: Callable[[Vault, Any], Outcome]
    own_files: bool = False
    """Each record is a file `name/id.json`; else all are the lines of `name.jsonl`."""


def _after(vault: Vault, table: str, key: str, after: str, limit: int) -> list[Any]:
    sql = f"SELECT * FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608 - names of ours
    with in_our_words():
        found: list[Any] = vault.db.execute(sql, (after, limit)).fetchall()
    return found


def _last(rows: list[Any], key: str) -> str | None:
    return rows[-1][key] if rows else None


def _has(vault: Vault, table: str, key: str, value: str) -> bool:
    return vault.db.execute(f"SELECT 1 FROM {table} WHERE {key} = ?", (value,)).fetchone() is not None  # noqa: S608


def _same(ours: Any, theirs: Any) -> Outcome:
    return "present" if ours == theirs else "different"


# -- transcripts


def _read_transcripts(vault: Vault, *, after: str, limit: int) -> Batch:
    rows = _after(vault, "transcript", "transcript_id", after, limit)
    return [(row["transcript_id"], _transcript_record(row)) for row in rows], _last(rows, "transcript_id")


def _transcript_record(row: Any) -> dict[str, Any]:
    flags = {name: bool(row[name]) for name in ("edited", "revised", "remembered")}
    return {"transcript": json.loads(row["document"]), **flags}


def _check_transcript(record: Any) -> tuple[str, TranscriptRecord]:
    found = TranscriptRecord.model_validate(record)
    return _RECORDING.validate_python(found.transcript.transcript_id), found


def _write_transcript(vault: Vault, record: TranscriptRecord) -> Outcome:
    made = record.transcript
    if _has(vault, "transcript", "transcript_id", made.transcript_id):
        return _same(transcripts.get(vault, made.transcript_id), made)
    transcripts.store(vault, made, edited=record.edited, revised=record.revised, remembered=record.remembered)
    return "imported"


# -- what transcripts were before


def _read_revisions(vault: Vault, *, after: str, limit: int) -> Batch:
    name, _, number = after.partition(".")
    with in_our_words():
        rows = vault.db.execute(_REVISIONS, (name, int(number or 0), limit)).fetchall()
    found = [(f"{row['transcript_id']}.{row['revision']}", _revision_record(row)) for row in rows]
    return found, found[-1][0] if found else None


_REVISIONS = """
SELECT revised.*, now.revision AS now_revision, now.text AS now_text
FROM transcript_revision AS revised JOIN transcript AS now USING (transcript_id)
WHERE (transcript_id, revised.revision) > (?, ?) ORDER BY transcript_id, revised.revision LIMIT ?
"""


def _revision_record(row: Any) -> dict[str, Any]:
    values = {name: row[name] for name in ("transcript_id", "revision", "at", "kind", "segment_id")}
    document = row["document"]
    values["transcript"] = json.loads(zlib.decompress(document)) if document is not None else None
    return values | {"of": _history_of(row["now_revision"], row["now_text"])}


def _history_of(revision: int, text: str) -> str:
    return hashlib.sha256(f"{revision} {text}".encode()).hexdigest()


def _check_revision(record: Any) -> tuple[str, RevisionRecord]:
    found = RevisionRecord.model_validate(record)
    then = found.transcript
    if then is not None and (then.transcript_id, then.revision) != (found.transcript_id, found.revision):
        raise ValueError("a state of something else")
    return f"{found.transcript_id}.{found.revision}", found


def _write_revision(vault: Vault, record: RevisionRecord) -> Outcome:
    """Only into the history that it was taken from."""
    name = record.transcript_id
    now = vault.db.execute("SELECT revision, text FROM transcript WHERE transcript_id = ?", (name,)).fetchone()
    if now is None:
        return "orphaned"
    if record.of != _history_of(now["revision"], now["text"]) or record.revision > now["revision"]:
        return "different"
    values = (name, record.revision, moment(record.at), record.kind, record.segment_id)
    known = vault.db.execute(_REVISION, values[:2]).fetchone()
    if known is not None:
        return _same(tuple(known), values)
    then = record.transcript.model_dump_json().encode() if record.transcript is not None else None
    document = zlib.compress(then) if then is not None else None
    vault.db.execute("INSERT INTO transcript_revision VALUES (?, ?, ?, ?, ?, ?)", (*values, document))
    return "imported"


_REVISION = """
SELECT transcript_id, revision, at, kind, segment_id FROM transcript_revision
WHERE transcript_id = ? AND revision = ?
"""


# -- documents


def _read_documents(vault: Vault, *, after: str, limit: int) -> Batch:
    rows = _after(vault, "document", "document_id", after, limit)
    found = [documents.get(vault, row["document_id"]) for row in rows]
    whole = [each for each in found if each.status == "completed"]
    return [(each.document_id, each.model_dump(mode="json")) for each in whole], _last(rows, "document_id")


def _check_document(record: Any) -> tuple[str, Document]:
    found = Document.model_validate(record)
    if found.status != "completed":
        raise ValueError("a document that was not read")
    return _DOCUMENT.validate_python(found.document_id), found


def _write_document(vault: Vault, made: Document) -> Outcome:
    if _has(vault, "document", "document_id", made.document_id):
        return _same(documents.get(vault, made.document_id).sha256, made.sha256)
    documents.insert(vault, made)
    return "imported"


# -- memories, with the passages of transcripts and documents


_CHUNKS = "SELECT content, heading FROM chunk WHERE memory_id = ? ORDER BY chunk_id"
_PLACE = "SELECT document_id, page, offset, end_offset FROM document_passage WHERE memory_id = ?"


def _read_memories(vault: Vault, *, after: str, limit: int) -> Batch:
    rows = _after(vault, "memory", "memory_id", after, limit)
    return [(row["memory_id"], _memory_record(vault, row)) for row in rows], _last(rows, "memory_id")


def _memory_record(vault: Vault, row: Any) -> dict[str, Any]:
    with in_our_words():
        chunks = vault.db.execute(_CHUNKS, (row["memory_id"],)).fetchall()
        place = vault.db.execute(_PLACE, (row["memory_id"],)).fetchone()
    record = MemoryRecord(
        memory=memory_of(row),
        speaker_keys=json.loads(row["speaker_keys"]),
        chunks=[ChunkRecord.model_validate(dict(each)) for each in chunks],
        place=PlaceRecord.model_validate(dict(place)) if place is not None else None,
        fact=_fact_record(vault, row["memory_id"]),
    )
    return record.model_dump(mode="json")


def _fact_record(vault: Vault, memory_id: str) -> FactRecord | None:
    with in_our_words():
        row = vault.db.execute("SELECT * FROM fact WHERE memory_id = ?", (memory_id,)).fetchone()
        said = vault.db.execute("SELECT * FROM fact_evidence WHERE memory_id = ?", (memory_id,)).fetchall()
    if row is None:
        return None
    evidence = [_plain(each, EvidenceRecord, "segment_ids", "speaker_keys") for each in said]
    return FactRecord.model_validate(_plain(row, FactRecord, "reasons") | {"evidence": evidence})


def _plain(row: Any, kind: type[Wire], *lists: str) -> dict[str, Any]:
    """The columns that a record has."""
    values = {name: row[name] for name in row.keys() if name in kind.model_fields}  # noqa: SIM118 - a row is no dict
    return values | {name: json.loads(values[name]) for name in lists}


def _check_memory(record: Any) -> tuple[str, MemoryRecord]:
    found = MemoryRecord.model_validate(record)
    if (found.fact is not None) != (found.memory.memory_type == lessons.KIND):
        raise ValueError("a fact without what makes it one")
    return _MEMORY.validate_python(found.memory.memory_id), found


def _write_memory(vault: Vault, record: MemoryRecord) -> Outcome:
    """Without vectors: words find it at once, meaning once the index was rebuilt."""
    memory, place = record.memory, record.place
    row = vault.db.execute("SELECT * FROM memory WHERE memory_id = ?", (memory.memory_id,)).fetchone()
    if row is not None:
        return _same(memory_of(row), memory)
    if memory.transcript_id and not _has(vault, "transcript", "transcript_id", memory.transcript_id):
        return "orphaned"
    if place is not None and not _has(vault, "document", "document_id", place.document_id):
        return "orphaned"
    if record.fact is not None and _is_learnt(vault, record.fact):
        return "present"
    chunks = [Chunk(each.content, each.heading) for each in record.chunks]
    insert_memory(vault, memory, chunks, np.zeros((len(chunks), 0), dtype=np.float32), record.speaker_keys)
    if place is not None:
        values = (memory.memory_id, place.document_id, place.page, place.offset, place.end_offset)
        vault.db.execute("INSERT INTO document_passage VALUES (?, ?, ?, ?, ?)", values)
    if record.fact is not None:
        _write_fact(vault, memory.memory_id, record.fact)
    return "imported"


def _is_learnt(vault: Vault, fact: FactRecord) -> bool:
    """From the same words, under another id."""
    sql = "SELECT 1 FROM fact WHERE subject_key = ? AND text_hash = ?"
    return vault.db.execute(sql, (fact.subject_key, fact.text_hash)).fetchone() is not None


def _write_fact(vault: Vault, memory_id: str, fact: FactRecord) -> None:
    """What replaces what, and the vectors, are worked out anew when the index is rebuilt."""
    values = fact.model_dump(exclude={"evidence"}) | {"memory_id": memory_id, "model": "", "vector": b""}
    _insert(vault, "fact", values)
    for each in fact.evidence:
        _insert(vault, "fact_evidence", each.model_dump() | {"memory_id": memory_id})


def _insert(vault: Vault, table: str, values: dict[str, Any]) -> None:
    flat = {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}
    names, marks = ", ".join(flat), ", ".join(f":{name}" for name in flat)
    vault.db.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", flat)  # noqa: S608 - names of ours


# -- what is not to be learnt again


def _read_refused(vault: Vault, *, after: str, limit: int) -> Batch:
    rows = _after(vault, "fact_refused", "text_hash || ' ' || owner", after, limit)
    found = [(f"{row['text_hash']} {row['owner']}", dict(row)) for row in rows]
    return found, found[-1][0] if found else None


def _check_refused(record: Any) -> tuple[str, RefusedRecord]:
    found = RefusedRecord.model_validate(record)
    return f"{found.text_hash} {found.owner}", found


def _write_refused(vault: Vault, record: RefusedRecord) -> Outcome:
    sql = "SELECT 1 FROM fact_refused WHERE text_hash = ? AND owner = ?"
    if vault.db.execute(sql, (record.text_hash, record.owner)).fetchone() is not None:
        return "present"
    _insert(vault, "fact_refused", record.model_dump())
    return "imported"


# -- conversations


def _read_conversations(vault: Vault, *, after: str, limit: int) -> Batch:
    rows = _after(vault, "conversation", "conversation_id", after, limit)
    found = [conversations.get(vault, row["conversation_id"]) for row in rows]
    return [(each.conversation_id, each.model_dump(mode="json")) for each in found], _last(rows, "conversation_id")


def _check_conversation(record: Any) -> tuple[str, Conversation]:
    found = Conversation.model_validate(record)
    return _CONVERSATION.validate_python(found.conversation_id), found


def _write_conversation(vault: Vault, made: Conversation) -> Outcome:
    if _has(vault, "conversation", "conversation_id", made.conversation_id):
        return _same(conversations.get(vault, made.conversation_id), made)
    at = moment(made.created_at), moment(made.updated_at)
    values = (made.conversation_id, made.title, *at, made.revision)
    vault.db.execute("INSERT INTO conversation VALUES (?, ?, ?, ?, ?)", values)
    for message in made.messages:
        _write_message(vault, made.conversation_id, message)
    return "imported"


def _write_message(vault: Vault, conversation_id: str, message: Message) -> None:
    values = (message.message_id, conversation_id, message.model_dump_json())
    vault.db.execute("INSERT INTO message VALUES (?, ?, ?) ON CONFLICT (message_id) DO NOTHING", values)


_RECORDING, _DOCUMENT = TypeAdapter(RecordingId), TypeAdapter(DocumentId)
_MEMORY, _CONVERSATION = TypeAdapter(MemoryId), TypeAdapter(ConversationId)

PARTS = (  # what others belong to comes first
    Part("transcripts", _read_transcripts, _check_transcript, _write_transcript, own_files=True),
    Part("revisions", _read_revisions, _check_revision, _write_revision, own_files=True),
    Part("documents", _read_documents, _check_document, _write_document),
    Part("memories", _read_memories, _check_memory, _write_memory),
    Part("refused", _read_refused, _check_refused, _write_refused),
    Part("conversations", _read_conversations, _check_conversation, _write_conversation),
)
