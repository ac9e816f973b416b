"""Rules for how long things are kept, applied daily and looked at again afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from services.rag import conversations
from services.rag.reading import Reading
from services.rag.repository import moment
from services.rag.service import Library
from services.rag.vaults import Vault
from shared.auth.principal import Principal
from shared.clients.transcription import TranscriptionClient
from shared.errors import NotFound, ProductError
from shared.schemas.ownership import Retention, RetentionRules, RetentionRun
from shared.storage.sqlcipher import in_our_words, transaction

log = logging.getLogger(__name__)
DAY_S = 86_400.0
FIRST_S = 300.0
"""After the start; by then the other services are there."""
PAUSE_S = 0.2
"""Between two vaults, so that a pass over many keeps nobody waiting."""
READ_WITHIN = timedelta(hours=1)
"""A document that nobody has read by then is asked for again."""

OLDER = {
    "transcripts": "SELECT transcript_id AS id FROM transcript WHERE created_at < ? ORDER BY 1",
    "documents": "SELECT document_id AS id FROM document WHERE created_at < ? ORDER BY 1",
    "conversations": "SELECT conversation_id AS id FROM conversation WHERE updated_at < ? ORDER BY 1",
}
"""What is older than a moment; a later kind of thing joins by one line, and one in `Keeper`."""
KINDS = (*OLDER, "audio")
"""In this order: what a transcript takes with it is gone when its sound is looked for."""


def get(vault: Vault) -> Retention:
    with in_our_words():
        row = vault.db.execute("SELECT rules, run FROM retention").fetchone()
    if row is None:
        return Retention(rules=RetentionRules())
    run = RetentionRun.model_validate_json(row["run"]) if row["run"] else None
    return Retention(rules=RetentionRules.model_validate_json(row["rules"]), last_run=run)


def put(vault: Vault, rules: RetentionRules) -> None:
    with transaction(vault.db):
        vault.db.execute(
            "INSERT INTO retention (only, rules) VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET rules = ?1",
            (rules.model_dump_json(),),
        )


def older(vault: Vault, kind: str, before: datetime) -> list[str]:
    with in_our_words():
        rows = vault.db.execute(OLDER[kind], (moment(before),)).fetchall()
    return [row["id"] for row in rows]


def _store_run(vault: Vault, run: RetentionRun) -> None:
    with transaction(vault.db):
        vault.db.execute("UPDATE retention SET run = ?", (run.model_dump_json(),))


class Keeper:
    """Applies the rules of all users."""

    def __init__(self, library: Library, reading: Reading, transcription: TranscriptionClient, vaults: Path) -> None:
        self._library, self._reading, self._vaults = library, reading, vaults
        self._transcription = transcription
        self._delete: Mapping[str, Callable[[str, str], Awaitable[None]]] = {
            "transcripts": self._delete_recording,
            "documents": self._delete_document,
            "conversations": self._delete_conversation,
            "audio": self._delete_sound,
        }

    async def _delete_recording(self, user_id: str, key: str) -> None:
        """Where its sound lies too, which deletes the text here; or here, where no sound was ever kept."""
        try:
            await self._transcription.delete(Principal(user_id), key)
        except NotFound:
            await self._library.forget_transcript(user_id, key)
            await self._library.deletions.record(user_id, "transcript", key)

    async def _delete_sound(self, user_id: str, key: str) -> None:
        await self._transcription.drop_sound(Principal(user_id), key)

    async def _delete_document(self, user_id: str, key: str) -> None:
        await self._reading.delete(Principal(user_id), key)

    async def _delete_conversation(self, user_id: str, key: str) -> None:
        await self._library.run(user_id, partial(conversations.delete, conversation_id=key, expected=None))
        await self._library.deletions.record(user_id, "conversation", key)

    async def apply(self, user_id: str, now: datetime | None = None) -> RetentionRun | None:
        """One pass over one user; None where no rule holds. What cannot be deleted remains, and the run says so."""
        rules = (await self._library.run(user_id, get)).rules
        limits = self._limits(rules, now or datetime.now(UTC))
        if not limits:
            return None
        removed = {kind: await self._sweep(user_id, kind, before) for kind, before in limits.items()}
        found = {kind: await self._older(user_id, kind, before) for kind, before in limits.items()}
        left = {kind: len(ids) for kind, ids in found.items() if ids is not None}
        unknown = [kind for kind, ids in found.items() if ids is None]
        run = RetentionRun(
            at=datetime.now(UTC),
            removed=removed,
            remaining=left,
            unknown=unknown,
            verified=not any(left.values()) and not unknown,
        )
        await self._library.run(user_id, partial(_store_run, run=run))
        log.info("retention was applied", extra={"user_id": user_id, "removed": removed, "remaining": left})
        return run

    async def _older(self, user_id: str, kind: str, before: datetime) -> list[str] | None:
        """Ids; None where nobody can say."""
        if kind != "audio":
            return await self._library.run(user_id, partial(older, kind=kind, before=before))
        try:
            return await self._transcription.sounds(Principal(user_id), before)
        except ProductError as error:
            log.warning("recordings past their time could not be looked for", extra={"code": error.code})
            return None

    def _limits(self, rules: RetentionRules, now: datetime) -> dict[str, datetime]:
        days = {kind: getattr(rules, f"{kind}_days") for kind in KINDS}
        return {kind: now - timedelta(days=each) for kind, each in days.items() if each is not None}

    async def _sweep(self, user_id: str, kind: str, before: datetime) -> int:
        count = 0
        for key in await self._older(user_id, kind, before) or ():
            try:
                await self._delete[kind](user_id, key)
                count += 1
            except NotFound:  # its user was faster
                continue
            except ProductError as error:
                log.warning("something past its time could not be deleted", extra={"id": key, "code": error.code})
        return count

    async def run(self) -> None:
        """For ever, once a day."""
        await asyncio.sleep(FIRST_S)
        while True:
            for path in sorted(self._vaults.glob("usr_*.db")):
                await self.tend(path.stem)
                await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(DAY_S)

    async def tend(self, user_id: str) -> None:
        """One user's daily care; what goes wrong with one is no reason to leave the others."""
        try:
            await self.apply(user_id)
            await self._reading.resume(user_id, datetime.now(UTC) - READ_WITHIN)
        except ProductError as error:  # locked, or deleted
            log.warning("a vault was left as it is", extra={"user_id": user_id, "code": error.code})
        except Exception as error:  # a bug here must not end the keeping for good
            log.exception("the daily care failed", extra={"user_id": user_id, "kind": type(error).__name__})
