"""What a transcript was before each change of it.

The first state and the last 100 are kept, each as compressed JSON: two hours of speech are some megabytes of it.
"""

from __future__ import annotations

import zlib

from services.rag.repository import moment, now
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.edits import Revision, RevisionKind
from shared.schemas.transcription import Transcript
from shared.storage.sqlcipher import in_our_words

MOST_KEPT = 100


def is_known(vault: Vault, transcript_id: str) -> bool:
    """Whether it was ever changed by a user."""
    sql = "SELECT 1 FROM transcript_revision WHERE transcript_id = ? LIMIT 1"
    return vault.db.execute(sql, (transcript_id,)).fetchone() is not None


def record(vault: Vault, before: Transcript, kind: RevisionKind, segment_id: str | None = None) -> None:
    """Inside the transaction of a change: the state that it ends, and what change it was."""
    name, number = before.transcript_id, before.revision
    vault.db.execute(
        "INSERT INTO transcript_revision (transcript_id, revision, at, kind) VALUES (?, ?, ?, 'transcribed')"
        " ON CONFLICT DO NOTHING",
        (name, number, moment(before.created_at)),
    )
    vault.db.execute(
        "UPDATE transcript_revision SET document = ? WHERE transcript_id = ? AND revision = ?",
        (zlib.compress(before.model_dump_json().encode()), name, number),
    )
    vault.db.execute(
        "INSERT INTO transcript_revision (transcript_id, revision, at, kind, segment_id) VALUES (?, ?, ?, ?, ?)",
        (name, number + 1, now(), kind, segment_id),
    )
    vault.db.execute(
        "DELETE FROM transcript_revision WHERE transcript_id = :name AND revision <= :number - :kept"
        " AND revision > (SELECT min(revision) FROM transcript_revision WHERE transcript_id = :name)",
        {"name": name, "number": number, "kept": MOST_KEPT},
    )


_LIST = """
SELECT revision, at, kind, segment_id, EXISTS (
    SELECT 1 FROM transcript_revision AS before
    WHERE before.transcript_id = this.transcript_id AND before.revision = this.revision - 1
      AND before.document IS NOT NULL
) AS undoable
FROM transcript_revision AS this WHERE transcript_id = ? ORDER BY revision DESC
"""


def of(vault: Vault, current: Transcript) -> list[Revision]:
    """Newest first, beginning with the state that it is in."""
    with in_our_words():
        rows = vault.db.execute(_LIST, (current.transcript_id,)).fetchall()
    if not rows:
        return [Revision(revision=current.revision, at=current.created_at, kind="transcribed", undoable=False)]
    return [Revision.model_validate(dict(row)) for row in rows]


def at(vault: Vault, current: Transcript, revision: int) -> Transcript:
    """The transcript as it was. Raises NotFound for a state that never was or is no longer kept."""
    if revision == current.revision:
        return current
    sql = "SELECT document FROM transcript_revision WHERE transcript_id = ? AND revision = ?"
    with in_our_words():
        row = vault.db.execute(sql, (current.transcript_id, revision)).fetchone()
    if row is None or row["document"] is None:
        raise NotFound("This revision is not kept; the first one and the last 100 are.")
    return Transcript.model_validate_json(zlib.decompress(row["document"]))
