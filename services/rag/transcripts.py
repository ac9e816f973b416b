"""Transcripts of one vault, and the passages by which they are found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.rag.engines import Vectors
from services.rag.passages import Passage, speaker_keys
from services.rag.repository import Chunk, chunk_ids, insert_memory, moment, require_revision
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory
from shared.schemas.transcription import EditTranscript, Transcript, TranscriptSummary
from shared.storage.sqlcipher import in_our_words, transaction

KIND = "transcript"


def put(vault: Vault, transcript: Transcript, passages: list[Passage], vectors: Vectors) -> Transcript:
    """Store or replace, with its passages, in one transaction; title and tags that a user changed stay."""
    new: list[int] = []
    with transaction(vault.db):
        old = chunk_ids(vault, "transcript_id = ?", transcript.transcript_id)
        transcript, edited = _keep_edits(vault, transcript)
        _remove(vault, transcript.transcript_id)
        _insert(vault, transcript, edited)
        for passage, vector in zip(passages, vectors, strict=True):
            memory, chunks = _memory(transcript, passage), [Chunk(passage.text)]
            new += insert_memory(vault, memory, chunks, vector[None, :], passage.speaker_keys)
    vault.follow(old, new, vectors)
    return transcript


def _keep_edits(vault: Vault, transcript: Transcript) -> tuple[Transcript, bool]:
    """The transcript with what a user made of an earlier one, and whether a user did."""
    row = vault.db.execute(
        "SELECT title, tags, revision, edited FROM transcript WHERE transcript_id = ?", (transcript.transcript_id,)
    ).fetchone()
    if row is None:
        return transcript, False
    kept = {"revision": row["revision"] + 1}
    if row["edited"]:
        kept |= {"title": row["title"], "tags": json.loads(row["tags"])}
    return transcript.model_copy(update=kept), bool(row["edited"])


def _memory(transcript: Transcript, passage: Passage) -> Memory:
    return Memory(
        memory_id=new_id("mem"),
        content=passage.text,
        title=transcript.title,
        tags=transcript.tags,
        memory_type=KIND,
        occurred_at=transcript.created_at,
        created_at=transcript.created_at,
        updated_at=transcript.created_at,
        transcript_id=transcript.transcript_id,
        segment_id=passage.segment_id,
        start_s=passage.start_s,
        end_s=passage.end_s,
        speaker=passage.speaker,
    )


def _insert(vault: Vault, transcript: Transcript, edited: bool) -> None:
    vault.db.execute(
        "INSERT INTO transcript"
        " (transcript_id, status, edited, document, summary, title, text, tags, speakers, emotion, created_at,"
        " revision)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            transcript.transcript_id,
            transcript.status,
            edited,
            transcript.model_dump_json(),
            summary_of(transcript).model_dump_json(),
            transcript.title,
            transcript.text,
            json.dumps(transcript.tags),
            json.dumps(_speaker_names(transcript)),
            main_emotion(transcript),
            moment(transcript.created_at),
            transcript.revision,
        ),
    )


def _speaker_names(transcript: Transcript) -> list[str]:
    return [key.casefold() for each in transcript.speakers for key in speaker_keys(each)]


def main_emotion(transcript: Transcript) -> str | None:
    """The label that most of the spoken time carries."""
    seconds: Counter[str] = Counter()
    for segment in transcript.segments:
        if segment.emotion is not None:
            seconds[segment.emotion.label] += max(segment.end_s - segment.start_s, 0.01)  # type: ignore[assignment]
    return seconds.most_common(1)[0][0] if seconds else None


def _remove(vault: Vault, transcript_id: str) -> None:
    vault.db.execute(
        "DELETE FROM chunk WHERE memory_id IN (SELECT memory_id FROM memory WHERE transcript_id = ?)", (transcript_id,)
    )
    vault.db.execute("DELETE FROM memory WHERE transcript_id = ?", (transcript_id,))
    vault.db.execute("DELETE FROM transcript WHERE transcript_id = ?", (transcript_id,))


def get(vault: Vault, transcript_id: str) -> Transcript:
    with in_our_words():
        row = vault.db.execute("SELECT document FROM transcript WHERE transcript_id = ?", (transcript_id,)).fetchone()
    if row is None:
        raise NotFound
    return Transcript.model_validate_json(row["document"])


_LIST = """
SELECT summary FROM transcript
WHERE status = 'completed' AND (:before IS NULL OR transcript_id < :before)
  AND (:q IS NULL OR folded(text) LIKE :q ESCAPE '\\' OR folded(title) LIKE :q ESCAPE '\\')
  AND (:speaker IS NULL OR EXISTS (SELECT 1 FROM json_each(speakers) WHERE value = folded(:speaker)))
  AND (:tag IS NULL OR EXISTS (SELECT 1 FROM json_each(transcript.tags) WHERE value = :tag))
  AND (:emotion IS NULL OR emotion = :emotion)
  AND (:from IS NULL OR created_at >= :from) AND (:to IS NULL OR created_at < :to)
ORDER BY transcript_id DESC LIMIT :limit
"""


def page(vault: Vault, limit: int, before: str | None, filters: Mapping[str, Any]) -> list[TranscriptSummary]:
    """Newest first; what was stored early, while it is worked on, is its recording's to list.

    `filters`: q, speaker, tag, emotion, from, to; absent ones are None.
    """
    values = {name: filters.get(name) for name in ("q", "speaker", "tag", "emotion", "from", "to")}
    if values["q"]:
        escaped = str(values["q"]).casefold().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values["q"] = f"%{escaped}%"
    for name in ("from", "to"):
        at = values[name]
        if isinstance(at, datetime):
            values[name] = moment(at)
    with in_our_words():
        rows = vault.db.execute(_LIST, values | {"before": before, "limit": limit}).fetchall()
    return [TranscriptSummary.model_validate_json(row["summary"]) for row in rows]


def summary_of(transcript: Transcript) -> TranscriptSummary:
    values = transcript.model_dump(include=set(TranscriptSummary.model_fields))
    more = {"preview": transcript.text[:200], "emotion": main_emotion(transcript)}
    return TranscriptSummary.model_validate(values | more)


def edit(vault: Vault, transcript_id: str, changes: EditTranscript, expected: int | None) -> Transcript:
    """Rename or tag; the passages carry the new words too."""
    with transaction(vault.db):
        current = get(vault, transcript_id)
        require_revision(current.revision, expected)
        changed = current.model_copy(update={**changes.model_dump(exclude_none=True), "revision": current.revision + 1})
        vault.db.execute(
            "UPDATE transcript SET edited = 1, document = ?, summary = ?, title = ?, tags = ?, revision = ?"
            " WHERE transcript_id = ?",
            (
                changed.model_dump_json(),
                summary_of(changed).model_dump_json(),
                changed.title,
                json.dumps(changed.tags),
                changed.revision,
                transcript_id,
            ),
        )
        vault.db.execute(
            "UPDATE memory SET title = ?, tags = ? WHERE transcript_id = ?",
            (changed.title, json.dumps(changed.tags), transcript_id),
        )
    return changed


def delete(vault: Vault, transcript_id: str, expected: int | None) -> None:
    """Text, passages and vectors, in one transaction."""
    with transaction(vault.db):
        require_revision(get(vault, transcript_id).revision, expected)
        ids = chunk_ids(vault, "transcript_id = ?", transcript_id)
        _remove(vault, transcript_id)
    vault.follow(ids)
