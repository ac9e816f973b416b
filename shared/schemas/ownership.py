"""A whole vault as one file: what is in it, and what became of it on its way back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.schemas.wire import Request, Wire

FORMAT = "nemo-vault"
VERSION = 1


class Member(Wire):
    """One file of the archive."""

    name: Annotated[str, StringConstraints(max_length=200)]
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Wire):
    """The last file of the archive, `manifest.json`: says of all others what they must be."""

    format: Literal["nemo-vault"]
    version: int
    created_at: datetime
    counts: dict[str, int]
    """Records of each part, and files of documents and recordings."""
    missing: list[str] = Field(default_factory=list)
    """Files that could not be had, by the name they would have."""
    members: list[Member]


class Imported(Wire):
    """What became of the records of one part. All but `imported` changed nothing."""

    imported: int = 0
    present: int = 0
    """The same was here already."""
    different: int = 0
    """The id was here with other content, which stays."""
    orphaned: int = 0
    """Its transcript or document is neither here nor in the archive, or not the one that it belongs to."""


class ImportResult(Wire):
    parts: dict[str, Imported]
    files: Imported
    """Originals of documents."""
    audio: Imported
    """The sound of recordings. `different`: it cannot be kept here, being too large or under an id that is taken."""
    job_id: str | None = None
    """Makes the vectors of what came; None where nothing did."""


Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionRules(Request):
    """Days after which things are deleted, counted from when they were made; null keeps them."""

    transcripts_days: Days | None = None
    """Recordings with their sound, text and passages."""
    audio_days: Days | None = None
    """The sound of recordings alone; their text stays, and is found as before."""
    documents_days: Days | None = None
    conversations_days: Days | None = None
    """Counted from the last message."""


class RetentionRun(Wire):
    """One pass: what it deleted, and what was still there when it looked again."""

    at: datetime
    removed: dict[str, int]
    remaining: dict[str, int]
    """Older than allowed, yet here; looked for anew after the deletions."""
    unknown: list[str] = Field(default_factory=list)
    """What could not be looked at, for the service that has it did not answer."""
    verified: bool
    """Everything was looked at, and nothing remained."""


class Retention(Wire):
    rules: RetentionRules
    last_run: RetentionRun | None = None
    """None until the first pass under any rules; passes are made daily, and when the rules change."""
