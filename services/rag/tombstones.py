"""After a restore: what was deleted since the backup was made goes once more, before anybody can see it.

A sealed vault waits for its unlocking, which is when it can be read again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from services.rag import conversations, decisions, repository
from services.rag.reading import Reading
from services.rag.service import Library
from shared.auth.principal import Principal
from shared.errors import NotFound, VaultLocked

log = logging.getLogger(__name__)


class Tombstones:
    """Of all users."""

    def __init__(self, library: Library, reading: Reading) -> None:
        self._library, self._reading = library, reading
        self._delete: dict[str, Callable[[str, str], Awaitable[None]]] = {
            "memory": self._memory,
            "transcript": library.forget_transcript,
            "conversation": self._conversation,
            "document": self._document,
            "vault": self._all,
        }

    async def apply_all(self) -> None:
        """Those of vaults that are open to us."""
        for user_id in self._library.deletions.to_do():
            with suppress(VaultLocked):
                await self.apply(user_id)

    async def apply(self, user_id: str) -> None:
        """Raises VaultLocked, and does the same once more when it is asked again."""
        found = self._library.deletions.again(user_id)
        for kind, key in found:
            with suppress(NotFound):  # the backup did not have it, or it went with another
                if kind in self._delete:
                    await self._delete[kind](user_id, key)
        self._library.deletions.done(user_id)
        if found:
            log.info("deletions were done again after a restore", extra={"user_id": user_id, "count": len(found)})

    async def _memory(self, user_id: str, key: str) -> None:
        await self._library.run(user_id, partial(decisions.forget, memory_id=key, expected=None))

    async def _conversation(self, user_id: str, key: str) -> None:
        await self._library.run(user_id, partial(conversations.delete, conversation_id=key, expected=None))

    async def _document(self, user_id: str, key: str) -> None:
        await self._reading.delete(Principal(user_id), key)

    async def _all(self, user_id: str, _key: str) -> None:
        await self._library.run(user_id, repository.clear)
        await self._reading.delete_files(user_id)
