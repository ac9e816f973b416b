"""Prefixed ULIDs: sortable by time of making, safe in URLs."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints
from ulid import ULID


def new_id(prefix: str) -> str:
    """For example `rec_01KAJ5...`: prefix, underscore, 26 characters of Crockford base 32."""
    return f"{prefix}_{ULID()}"


def id_pattern(prefix: str) -> str:
    return rf"^{prefix}_[0-9A-HJKMNP-TV-Z]{{26}}$"


UserId = Annotated[str, StringConstraints(pattern=id_pattern("usr"))]
RecordingId = Annotated[str, StringConstraints(pattern=id_pattern("rec"))]
MemoryId = Annotated[str, StringConstraints(pattern=id_pattern("mem"))]
ConversationId = Annotated[str, StringConstraints(pattern=id_pattern("cnv"))]
MessageId = Annotated[str, StringConstraints(pattern=id_pattern("msg"))]
JobId = Annotated[str, StringConstraints(pattern=id_pattern("job"))]
