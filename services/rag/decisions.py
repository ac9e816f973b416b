"""What its user says to a fact: yes, no, or let it out; and the last word taken back."""

from __future__ import annotations

from typing import Any, Literal

from services.rag.knowledge import Change, get, remove, settle
from services.rag.repository import delete_memory, now, require_revision
from services.rag.vaults import Vault
from shared.errors import Conflict, NotFound
from shared.schemas.facts import Fact, FactState
from shared.storage.sqlcipher import in_our_words, transaction

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
    settle(vault, {row["memory_id"]}, [(row["subject_key"], row["slot"])], change)


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
        settle(vault, set(), [(row["subject_key"], row["slot"])], change)
    change.follow(vault)
