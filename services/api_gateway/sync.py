"""What changed since a cursor, of all that a user has: recordings and speakers first, then what the vault holds."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from services.api_gateway.clients import Clients
from shared.auth.principal import Principal
from shared.errors import BadRequest, CursorOutdated
from shared.schemas.sync import SyncPage

_PLAIN = re.compile(r"1:([a-z0-9]{1,20}):(\d{1,18}):(\d{1,18})")


@dataclass(frozen=True)
class Cursor:
    """How far a client is in each of the two."""

    origin: str
    """Of the positions in the recordings; empty at the beginning."""
    recordings: int = 0
    vault: int = 0

    def __str__(self) -> str:
        plain = f"1:{self.origin}:{self.recordings}:{self.vault}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, sent: str | None) -> Cursor:
        """Raises BadRequest."""
        if sent is None:
            return cls("")
        try:
            plain = base64.b64decode(sent + "=" * (-len(sent) % 4), altchars=b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            plain = ""
        found = _PLAIN.fullmatch(plain)
        if found is None:
            raise BadRequest("This is no cursor of ours; leave it out to read everything.")
        return cls(found.group(1), int(found.group(2)), int(found.group(3)))


async def changes(clients: Clients, user: Principal, sent: str | None, limit: int) -> SyncPage:
    """Raises CursorOutdated where the database was put back to an earlier state, BadRequest."""
    cursor = Cursor.read(sent)
    first = await clients.transcription.changes(user, cursor.recordings, limit)
    if cursor.origin not in ("", first.origin):
        raise CursorOutdated
    data, position, more = first.data, cursor.vault, first.has_more
    left = limit - len(data)
    if not more and left > 0:
        second = await clients.rag.changes(user, cursor.vault, left)
        data, position, more = data + second.data, second.position, second.has_more
    elif not more:
        more = True  # the vault was not asked yet
    reached = Cursor(first.origin, first.position, position)
    return SyncPage(data=data, next_cursor=str(reached), has_more=more)
