"""Any document to its text, by way of a child process that may be lost."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from services.rag.sections import Mark
from shared.errors import DocumentUnreadable, ProductError, UnsupportedMedia
from shared.sandbox.parent import fill, run_apart
from shared.schemas.documents import DocumentType, DocumentWarning
from shared.schemas.wire import Moment, Wire


@dataclass(frozen=True)
class ReadLimits:
    """What the reading of one document may cost."""

    most_chars: int = 5_000_000
    most_pages: int = 5_000
    unpacked_bytes: int = 256 * 1024**2
    """Most bytes that the parts of a .docx may unpack to."""
    cpu_s: int = 60
    memory_bytes: int = 1024**3
    """Address space of the child."""
    output_bytes: int = 128 * 1024**2

    @property
    def deadline_s(self) -> float:
        """By the clock, since other work may share the processors."""
        return 4.0 * self.cpu_s


class Facts(Wire):
    """What the child says of a file; it has seen untrusted bytes, so nothing it says is taken as it comes."""

    kind: DocumentType
    title: Annotated[str, Field(max_length=200)] | None = None
    pages: Annotated[int, Field(ge=0)] | None = None
    occurred_at: Moment | None = None
    attachments: Annotated[list[str], Field(max_length=100)]
    warnings: Annotated[list[DocumentWarning], Field(max_length=50)]


@dataclass(frozen=True)
class Extracted:
    """The text of a document, where its pages and headings begin, and what else is known."""

    text: str
    marks: list[Mark]
    facts: Facts


async def extract(source: bytes | AsyncIterator[bytes], limits: ReadLimits | None = None) -> Extracted:
    """Raises UnsupportedMedia for a kind of file that is no document, DocumentUnreadable for a damaged one."""
    limits = limits or ReadLimits()
    given, told = os.memfd_create("document"), os.memfd_create("text")
    try:
        if await fill(given, source) == 0:
            raise DocumentUnreadable("The file is empty.")
        said = await _said(given, told, limits)
        return await asyncio.to_thread(_checked, said, told, limits)
    finally:
        os.close(given)
        os.close(told)


async def _said(given: int, told: int, limits: ReadLimits) -> dict[str, Any]:
    values = {name: getattr(limits, name) for name in limits.__dataclass_fields__}
    try:
        said = await run_apart("services.rag.parsers.read", given, told, values, deadline_s=limits.deadline_s)
    except TimeoutError as error:
        raise DocumentUnreadable("Reading the file took too long.") from error
    if said is None:
        raise DocumentUnreadable("The file takes more time or memory to read than allowed, or it is damaged.")
    if not said["ok"]:
        raise _why(said)
    return said


def _why(said: dict[str, Any]) -> ProductError:
    kind = UnsupportedMedia if said["code"] == "unsupported" else DocumentUnreadable
    return kind(str(said["detail"])[:500])


def _checked(said: dict[str, Any], told: int, limits: ReadLimits) -> Extracted:
    try:
        size = os.fstat(told).st_size
        written = json.loads(os.pread(told, size, 0))
        text = str(written["text"])[: limits.most_chars]
        marks = [Mark(min(int(at), len(text)), page, heading) for at, page, heading in written["marks"]]
        return Extracted(text, sorted(marks, key=lambda mark: mark.offset), Facts.model_validate(said))
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise DocumentUnreadable("The file cannot be read; it makes no sense.") from error
