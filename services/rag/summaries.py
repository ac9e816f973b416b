"""Summaries of recordings, kept beside their transcripts and deleted with them."""

from __future__ import annotations

from services.rag import transcripts
from services.rag.vaults import Vault
from shared.errors import NotFound
from shared.schemas.summaries import Summary
from shared.storage.sqlcipher import in_our_words, transaction


def put(vault: Vault, summary: Summary) -> None:
    """The one summary of a recording; a newer one takes its place. Raises NotFound for a recording that is gone."""
    with transaction(vault.db):
        transcripts.get(vault, summary.transcript_id)
        vault.db.execute(
            "INSERT INTO transcript_digest VALUES (?1, ?2) ON CONFLICT (transcript_id) DO UPDATE SET document = ?2",
            (summary.transcript_id, summary.model_dump_json()),
        )


def get(vault: Vault, transcript_id: str) -> Summary:
    """With whether it is stale. Raises NotFound where there is none."""
    revision = transcripts.get(vault, transcript_id).revision
    with in_our_words():
        row = vault.db.execute(
            "SELECT document FROM transcript_digest WHERE transcript_id = ?", (transcript_id,)
        ).fetchone()
    if row is None:
        raise NotFound("This recording has no summary yet; make one with POST.")
    found = Summary.model_validate_json(row["document"])
    return found.model_copy(update={"stale": found.transcript_revision != revision})
