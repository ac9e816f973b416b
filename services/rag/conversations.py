"""Conversations of one vault."""

from __future__ import annotations

from services.rag import knowledge
from services.rag.repository import now, require_revision
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.ids import new_id
from shared.schemas.rag import Conversation, ConversationSummary, Message
from shared.storage.sqlcipher import in_our_words, transaction


def create(vault: Vault, title: str) -> Conversation:
    values = {"conversation_id": new_id("cnv"), "title": title, "created_at": now(), "updated_at": now(), "revision": 1}
    with transaction(vault.db):
        vault.db.execute(
            "INSERT INTO conversation VALUES (:conversation_id, :title, :created_at, :updated_at, :revision)", values
        )
    return Conversation.model_validate(values)


def page(vault: Vault, limit: int, before: str | None) -> list[ConversationSummary]:
    with in_our_words():
        rows = vault.db.execute(
            "SELECT * FROM conversation WHERE (?1 IS NULL OR conversation_id < ?1)"
            " ORDER BY conversation_id DESC LIMIT ?2",
            (before, limit),
        ).fetchall()
    return [ConversationSummary.model_validate(dict(row)) for row in rows]


def get(vault: Vault, conversation_id: str) -> Conversation:
    with in_our_words():
        row = vault.db.execute("SELECT * FROM conversation WHERE conversation_id = ?", (conversation_id,)).fetchone()
        if row is None:
            raise NotFound
        found = vault.db.execute(
            "SELECT document FROM message WHERE conversation_id = ? ORDER BY message_id", (conversation_id,)
        ).fetchall()
    messages = [Message.model_validate_json(each["document"]) for each in found]
    return Conversation.model_validate({**dict(row), "messages": messages})


def rename(vault: Vault, conversation_id: str, title: str, expected: int | None) -> Conversation:
    with transaction(vault.db):
        require_revision(get(vault, conversation_id).revision, expected)
        vault.db.execute(
            "UPDATE conversation SET title = ?, updated_at = ?, revision = revision + 1 WHERE conversation_id = ?",
            (title, now(), conversation_id),
        )
    return get(vault, conversation_id)


def delete(vault: Vault, conversation_id: str, expected: int | None) -> None:
    """Its turns, and what was learnt from them only."""
    with transaction(vault.db):
        found = get(vault, conversation_id)
        require_revision(found.revision, expected)
        learnt = [knowledge.forget_source(vault, each.message_id) for each in found.messages if each.role == "user"]
        vault.db.execute("DELETE FROM message WHERE conversation_id = ?", (conversation_id,))
        vault.db.execute("DELETE FROM conversation WHERE conversation_id = ?", (conversation_id,))
    for change in learnt:
        change.follow(vault)


def message(vault: Vault, message_id: str) -> tuple[str, Message] | None:
    """With its conversation; None where it is gone."""
    with in_our_words():
        row = vault.db.execute(
            "SELECT conversation_id, document FROM message WHERE message_id = ?", (message_id,)
        ).fetchone()
    return None if row is None else (row["conversation_id"], Message.model_validate_json(row["document"]))


def put_message(vault: Vault, conversation_id: str, message: Message) -> Message:
    """Add or replace one turn; the same id twice is one turn. Raises NotFound for another conversation's id."""
    with transaction(vault.db):
        get(vault, conversation_id)
        cursor = vault.db.execute(
            "INSERT INTO message VALUES (?1, ?2, ?3) ON CONFLICT (message_id) DO UPDATE SET document = ?3"
            " WHERE conversation_id = ?2",
            (message.message_id, conversation_id, message.model_dump_json()),
        )
        if cursor.rowcount == 0:
            raise NotFound
        vault.db.execute("UPDATE conversation SET updated_at = ? WHERE conversation_id = ?", (now(), conversation_id))
    return message
