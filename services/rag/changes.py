"""What changed in a vault since a client last asked. Triggers of the database note it (`schema`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.rag import repository, transcripts
from services.rag.vaults import Vault
from shared.errors import CursorOutdated
from shared.schemas.rag import ConversationSummary
from shared.schemas.sync import Change, Changes
from shared.storage.sqlcipher import in_our_words

ORIGIN = "vault"


def since(vault: Vault, after: int, limit: int) -> Changes:
    """At most `limit`, in order; each thing once, as it is now. Raises CursorOutdated for what is ahead of the vault.

    What was stored early, while it is worked on, is its recording's to tell, as in lists.
    """
    with in_our_words():
        last = vault.db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'change'").fetchone()[0]
        changed = vault.db.execute("SELECT * FROM change WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit + 1))
        rows = changed.fetchall()
    if after > last:
        raise CursorOutdated
    page = rows[:limit]
    found = [change for change in (_change(vault, row) for row in page) if change is not None]
    position = page[-1]["seq"] if page else after
    return Changes(data=found, position=position, origin=ORIGIN, has_more=len(rows) > limit)


def _change(vault: Vault, row: Mapping[str, Any]) -> Change | None:
    kind, key = row["kind"], row["id"]
    if row["deleted"]:
        return Change(kind=kind, id=key, deleted=True)
    if kind == "memory":
        return _memory(vault, key)
    if kind == "conversation":
        found = vault.db.execute("SELECT * FROM conversation WHERE conversation_id = ?", (key,)).fetchone()
        return Change(kind=kind, id=key, conversation=ConversationSummary.model_validate(dict(found)))
    transcript = transcripts.get(vault, key)
    if transcript.status != "completed":
        return None
    return Change(kind=kind, id=key, recording=transcripts.summary_of(transcript))


def _memory(vault: Vault, memory_id: str) -> Change:
    """A fact that does not hold, or waits for its user, is not shown."""
    hidden = "SELECT 1 FROM fact WHERE memory_id = ? AND state <> 'active'"
    if vault.db.execute(hidden, (memory_id,)).fetchone() is not None:
        return Change(kind="memory", id=memory_id, deleted=True)
    return Change(kind="memory", id=memory_id, memory=repository.get_memory(vault, memory_id))
