"""Documents of one user: files that were read into passages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from shared.schemas.transcription import Tag, Title
from shared.schemas.wire import Moment, Request, Wire

DocumentType = Literal["txt", "md", "html", "pdf", "docx", "eml"]
DocumentStatus = Literal["processing", "completed", "failed"]


class DocumentOptions(Request):
    """The form fields beside the file."""

    title: Title | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] = Field(default_factory=list)
    occurred_at: Moment | None = None
    """When it was written; what the file says, else the moment of saving, when absent."""


class DocumentWarning(Wire):
    """What of a document could not be read, or had to be guessed.

    Codes: cut, scanned, pages_without_text, damaged_pages, encoding_guessed, encoding_damaged, attachments, empty.
    """

    code: str
    detail: str


class Document(Wire):
    """A file that is kept as it came, and what was read from it."""

    document_id: str
    status: DocumentStatus
    title: str
    type: DocumentType | None = None
    """By content; None until it was looked at."""
    filename: str | None = None
    """What its sender called it."""
    tags: list[str] = Field(default_factory=list)
    size_bytes: int
    sha256: str
    """Of the file, in hexadecimal."""
    pages: int | None = None
    """Of a PDF."""
    characters: int = 0
    chunks: int = 0
    """Passages by which search finds it."""
    attachments: list[str] = Field(default_factory=list)
    """Names of what was attached to a message; it is not read."""
    warnings: list[DocumentWarning] = Field(default_factory=list)
    error: str | None = None
    error_code: str | None = None
    occurred_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


class DocumentAccepted(Wire):
    """The document is safe on disk and is being read."""

    document_id: str
    job_id: str
    status: DocumentStatus
