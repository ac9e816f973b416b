"""Transcripts of one vault, and the passages by which they are found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.rag import edits, knowledge, revisions
from services.rag.engines import Vectors
from services.rag.passages import Passage, PassageChanges, passage_changes, passages_of, speaker_keys
from services.rag.repository import Chunk, chunk_ids, insert_memory, moment, require_revision
from services.rag.vaults import Vault
from shared.errors import NotFound, PreconditionFailed
from shared.schemas.edits import RevisionKind
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory
from shared.schemas.transcription import EditTranscript, Transcript, TranscriptSummary
from shared.storage.sqlcipher import in_our_words, transaction

KIND = "transcript"


def merged(vault: Vault, made: Transcript) -> tuple[Transcript, int | None]:
    """What the pipeline made, with what a user made of an earlier one; and that one's revision.

    Title and tags that a user changed stay; so do segments and speakers (`edits.keep_edits`). The revision is None
    where there is no earlier one, and the found one's own where the earlier one stays as it is: it is whole, and what
    was made is not.
    """
    row = _flags(vault, made.transcript_id)
    if row is None:
        return made, None
    kept = get(vault, made.transcript_id)
    if kept.status == "completed" and made.status == "processing":
        return kept, kept.revision
    found = edits.keep_edits(kept, made) if row["revised"] else made
    update: dict[str, Any] = {"revision": kept.revision + 1}
    if row["edited"]:
        update |= {"title": kept.title, "tags": kept.tags}
    return found.model_copy(update=update), kept.revision


def _flags(vault: Vault, transcript_id: str) -> Mapping[str, Any] | None:
    sql = "SELECT edited, revised, remembered, revision FROM transcript WHERE transcript_id = ?"
    with in_our_words():
        row: Mapping[str, Any] | None = vault.db.execute(sql, (transcript_id,)).fetchone()
    return row


def put(
    vault: Vault, transcript: Transcript, seen: int | None, passages: list[Passage], vectors: Vectors, *, remember: bool
) -> Transcript:
    """Store or replace what `merged` gave, with its passages, in one transaction.

    Raises PreconditionFailed where the stored one is not the one that was `seen` any more.
    """
    new: list[int] = []
    with transaction(vault.db):
        row = _flags(vault, transcript.transcript_id)
        if (row["revision"] if row is not None else None) != seen:
            raise PreconditionFailed
        if revisions.is_known(vault, transcript.transcript_id):
            revisions.record(vault, get(vault, transcript.transcript_id), "transcribed")
        old = chunk_ids(vault, _CHOSEN, *_chosen(transcript.transcript_id))
        _remove_passages(vault, transcript.transcript_id)
        learnt = None if remember else knowledge.forget_source(vault, transcript.transcript_id)
        store(vault, transcript, remembered=remember)
        new += _add_passages(vault, transcript, passages, vectors)
    vault.follow(old, new, vectors)
    if learnt is not None:
        learnt.follow(vault)
    return transcript


def _add_passages(vault: Vault, transcript: Transcript, passages: Sequence[Passage], vectors: Vectors) -> list[int]:
    found: list[int] = []
    for passage, vector in zip(passages, vectors, strict=True):
        memory, chunks = _memory(transcript, passage), [Chunk(passage.text)]
        found += insert_memory(vault, memory, chunks, vector[None, :], passage.speaker_keys)
    return found


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


def store(vault: Vault, transcript: Transcript, **flags: bool) -> None:
    """Flags that are not given stay as they are."""
    values: dict[str, Any] = {
        "transcript_id": transcript.transcript_id,
        "status": transcript.status,
        "document": transcript.model_dump_json(),
        "summary": summary_of(transcript).model_dump_json(),
        "title": transcript.title,
        "text": transcript.text,
        "tags": json.dumps(transcript.tags),
        "speakers": json.dumps(_speaker_names(transcript)),
        "emotion": main_emotion(transcript),
        "created_at": moment(transcript.created_at),
        "revision": transcript.revision,
        **flags,
    }
    columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values)
    vault.db.execute(
        f"INSERT INTO transcript ({columns}) VALUES ({marks})"  # noqa: S608 - names of ours
        f" ON CONFLICT (transcript_id) DO UPDATE SET {changes}",
        values,
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


def _remove_passages(vault: Vault, transcript_id: str, begin_with: Sequence[str] | None = None) -> None:
    """All, or those that begin with one of these segments."""
    chosen = f"SELECT memory_id FROM memory WHERE {_CHOSEN}"  # noqa: S608 - ours
    values = _chosen(transcript_id, begin_with)
    vault.db.execute(f"DELETE FROM chunk WHERE memory_id IN ({chosen})", values)  # noqa: S608 - ours
    vault.db.execute(f"DELETE FROM memory WHERE {_CHOSEN}", values)  # noqa: S608 - ours


_CHOSEN = (
    "transcript_id = ? AND (? IS NULL OR segment_id IN (SELECT value FROM json_each(?)))"
    " AND memory_id NOT IN (SELECT memory_id FROM fact)"
)
"""Passages; facts of the same recording have a life of their own (`knowledge`)."""


def _chosen(transcript_id: str, begin_with: Sequence[str] | None = None) -> tuple[str, str | None, str | None]:
    segments = None if begin_with is None else json.dumps(list(begin_with))
    return transcript_id, segments, segments


def to_learn(vault: Vault, transcript_id: str) -> Transcript | None:
    """A whole one that is to be remembered; None for any other."""
    row = _flags(vault, transcript_id)
    if row is None or not row["remembered"]:
        return None
    found = get(vault, transcript_id)
    return found if found.status == "completed" else None


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
        revisions.record(vault, current, "details")
        store(vault, changed, edited=True)
        _retitle(vault, changed)
    return changed


def _retitle(vault: Vault, transcript: Transcript) -> None:
    """Facts carry its tags too, but no title: a text that models read and nobody looked at."""
    vault.db.execute(
        "UPDATE memory SET tags = ?, title = CASE WHEN memory_id IN (SELECT memory_id FROM fact) THEN title ELSE ? END"
        " WHERE transcript_id = ?",
        (json.dumps(transcript.tags), transcript.title, transcript.transcript_id),
    )


@dataclass(frozen=True)
class Edit:
    """A change of segments or speakers."""

    kind: RevisionKind
    apply: Callable[[Transcript], Transcript]
    """From the document to the next one; its revision is not its own to set."""
    segment_id: str | None = None


@dataclass(frozen=True)
class Draft:
    """An edit worked out, before the vectors of its new passages are there."""

    before: Transcript
    after: Transcript
    changes: PassageChanges

    @property
    def is_empty(self) -> bool:
        return self.before is self.after


def draft(vault: Vault, transcript_id: str, edit: Edit, expected: int | None, most_chars: int) -> Draft:
    """Nothing is changed yet. Raises NotFound, PreconditionFailed, and what the edit raises."""
    before = get(vault, transcript_id)
    require_revision(before.revision, expected)
    after = edit.apply(before).model_copy(update={"revision": before.revision})
    if after == before:
        return Draft(before, before, PassageChanges([], [], []))
    after = after.model_copy(update={"revision": before.revision + 1})
    flags = _flags(vault, transcript_id)
    both = [passages_of(each, most_chars) if flags and flags["remembered"] else [] for each in (before, after)]
    return Draft(before, after, passage_changes(*both))


def revise(vault: Vault, made: Draft, edit: Edit, vectors: Vectors) -> Transcript:
    """Text, passages, vectors and the revision, in one transaction. Raises PreconditionFailed where it is outdated."""
    after, changes = made.after, made.changes
    with transaction(vault.db):
        flags = _flags(vault, after.transcript_id)
        if flags is None or flags["revision"] != made.before.revision:
            raise PreconditionFailed
        revisions.record(vault, made.before, edit.kind, edit.segment_id)
        store(vault, after, revised=True)
        old = chunk_ids(vault, _CHOSEN, *_chosen(after.transcript_id, changes.gone))
        _remove_passages(vault, after.transcript_id, changes.gone)
        _move(vault, after.transcript_id, changes.moved)
        new = _add_passages(vault, after, changes.new, vectors)
        _retitle(vault, after)
    vault.follow(old, new, vectors)
    return after


def _move(vault: Vault, transcript_id: str, passages: Sequence[Passage]) -> None:
    for each in passages:
        keys = json.dumps([key.casefold() for key in each.speaker_keys])
        vault.db.execute(
            "UPDATE memory SET start_s = ?, end_s = ?, speaker = ?, speaker_keys = ?"
            " WHERE transcript_id = ? AND segment_id = ? AND memory_id NOT IN (SELECT memory_id FROM fact)",
            (each.start_s, each.end_s, each.speaker, keys, transcript_id, each.segment_id),
        )


def delete(vault: Vault, transcript_id: str, expected: int | None) -> None:
    """Text, revisions, passages, vectors and what only it said, in one transaction."""
    with transaction(vault.db):
        require_revision(get(vault, transcript_id).revision, expected)
        ids = chunk_ids(vault, _CHOSEN, *_chosen(transcript_id))
        _remove_passages(vault, transcript_id)
        learnt = knowledge.forget_source(vault, transcript_id)
        vault.db.execute("DELETE FROM transcript WHERE transcript_id = ?", (transcript_id,))
    vault.follow(ids)
    learnt.follow(vault)
