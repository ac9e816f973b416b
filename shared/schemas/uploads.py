"""Uploads that come in pieces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from shared.schemas.wire import Request, Wire

MAX_METADATA = 16_000


class NewPartialUpload(Request):
    """What is going to come."""

    length_bytes: Annotated[int, Field(ge=0)]
    filename: str | None = None
    content_type: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    """The form fields of `POST /transcription/upload`."""
    metadata: Annotated[str, Field(max_length=MAX_METADATA)] = ""
    """As the client sent it; it gets it back."""


class PartialUpload(Wire):
    """How far an upload is."""

    upload_id: str
    offset_bytes: int
    """Bytes that are safe on the disk; the next piece begins here."""
    length_bytes: int
    expires_at: datetime
    metadata: str = ""
    transcript_id: str | None = None
    """The recording that it has become; None while bytes are missing."""
    job_id: str | None = None
