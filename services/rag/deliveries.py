"""Results of background work, also those that come while the vault is locked: in boxes until it is unlocked."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from services.rag.outbox import Outbox
from services.rag.service import Library
from shared.errors import NotFound, ProductError, VaultLocked
from shared.schemas.rag import Message
from shared.schemas.transcription import Transcript

log = logging.getLogger(__name__)
TAKE_IN_S = 5.0
"""How long whoever unlocks a vault waits for what goes into it; the rest follows."""


class Deliveries:
    """Of all users; every method is told whose."""

    def __init__(self, library: Library, outbox: Outbox) -> None:
        self._library, self._outbox = library, outbox
        self._taking: dict[str, asyncio.Task[None]] = {}

    async def transcript(self, user_id: str, transcript: Transcript, *, remember: bool) -> Transcript:
        """Stored, or in a box; durable when it returns."""
        try:
            return await self._library.put_transcript(user_id, transcript, remember=remember)
        except VaultLocked:
            value = {"transcript": transcript.model_dump(mode="json"), "remember": remember}
            await self._outbox.put(user_id, f"transcript-{transcript.transcript_id}", value)
            return transcript

    async def message(self, user_id: str, conversation_id: str, message: Message) -> Message:
        """A turn of a conversation; an answer that was being written when the vault was locked goes into a box.

        Raises VaultLocked for a question: whoever asks can unlock.
        """
        try:
            return await self._library.put_message(user_id, conversation_id, message)
        except VaultLocked:
            if message.role != "assistant":
                raise
            value = {"conversation_id": conversation_id, "message": message.model_dump(mode="json")}
            await self._outbox.put(user_id, f"message-{message.message_id}", value)
            return message

    async def waiting(self, user_id: str) -> int:
        return await self._outbox.count(user_id)

    async def take_in(self, user_id: str) -> None:
        """The vault was unlocked: what waited goes in, the last of it perhaps a moment after this returns."""
        if user_id not in self._taking:
            self._taking[user_id] = task = asyncio.create_task(self._take_all(user_id))
            task.add_done_callback(lambda _: self._taking.pop(user_id, None))
        await asyncio.wait({self._taking[user_id]}, timeout=TAKE_IN_S)

    async def take_in_left(self) -> None:
        """What a process before this one did not get to; locked vaults keep theirs."""
        for user_id in await self._outbox.users():
            await self.take_in(user_id)

    async def delete_owner(self, user_id: str) -> None:
        await self._outbox.delete(user_id)

    async def stop(self) -> None:
        """What was not taken in stays in its box."""
        for task in list(self._taking.values()):
            task.cancel()
        await asyncio.gather(*self._taking.values(), return_exceptions=True)

    async def _take_all(self, user_id: str) -> None:
        with suppress(VaultLocked, NotFound):  # locked again: the next unlocking goes on; or the user is gone
            await self._take_boxes(user_id)
            await self._library.learner.catch_up(user_id)

    async def _take_boxes(self, user_id: str) -> None:
        for name in await self._outbox.names(user_id):
            try:
                async with self._outbox.taking(user_id, name) as value:
                    await self._taken(user_id, value)
            except VaultLocked:
                raise
            except ProductError as error:  # the box stays; the next unlocking tries again
                log.warning("a result that waited was not taken in", extra={"code": error.code})
            except Exception as error:
                log.exception("a result that waited was not taken in", extra={"kind": type(error).__name__})

    async def _taken(self, user_id: str, value: dict[str, Any]) -> None:
        if "transcript" in value:
            transcript = Transcript.model_validate(value["transcript"])
            await self._library.put_transcript(user_id, transcript, remember=value["remember"])
            return
        with suppress(NotFound):  # the conversation was deleted
            await self._library.put_message(user_id, value["conversation_id"], Message.model_validate(value["message"]))
