"""What users do with documents: send a file, have it read into passages, get it back, be rid of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import ValidationError

from services.rag import documents, sections
from services.rag.extraction import Extracted, ReadLimits, extract
from services.rag.sections import Piece
from services.rag.service import Library
from services.rag.settings import Settings
from shared.auth.principal import Principal
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import DocumentUnreadable, Invalid, NotFound, ProductError, UnsupportedMedia
from shared.gpu.worker import TaskContext
from shared.multipart import MultipartBody
from shared.schemas.coordinator import SubmitTask
from shared.schemas.documents import Document, DocumentAccepted, DocumentOptions, DocumentWarning
from shared.schemas.ids import new_id
from shared.schemas.problem import FieldError
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
READ = "read_document"
BATCH = 16
"""Passages embedded and stored at once; a search that comes meanwhile waits for no more than these."""
OVER = ("failed", "dead", "cancelled")
"""States of a job after which nobody will read the document any more."""


class Reading:
    """Documents of all users; every method is told whose."""

    def __init__(
        self,
        library: Library,
        blobs: Blobs,
        keyring: Keyring,
        coordinator: CoordinatorClient,
        settings: Settings,
    ) -> None:
        self._library, self._blobs, self._keyring = library, blobs, keyring
        self._coordinator, self._settings = coordinator, settings

    async def upload(self, user: Principal, body: MultipartBody) -> DocumentAccepted:
        """File, row and task are durable when it returns; nothing is left behind when it raises."""
        document_id = new_id("doc")
        try:
            key = await self._keyring.data_key(user.user_id)
            chunks = body.file("file", "document")
            most = self._settings.max_document_bytes
            info = await self._blobs.write(user.user_id, document_id, key, chunks, max_bytes=most)
            if info.size_bytes == 0:
                raise DocumentUnreadable("The file is empty.")
            options, now = options_of(body.fields), datetime.now(UTC)
            document = Document(
                document_id=document_id,
                status="processing",
                title=options.title or "",
                filename=_shown(body.filename),
                tags=options.tags,
                size_bytes=info.size_bytes,
                sha256=info.sha256,
                occurred_at=options.occurred_at,
                created_at=now,
                updated_at=now,
            )
            await self._library.run(user.user_id, partial(documents.add, document=document))
            job_id = await self._submit(user.user_id, document_id)
        except BaseException:
            await self._discard(user.user_id, document_id)
            raise
        return DocumentAccepted(document_id=document_id, job_id=job_id, status="processing")

    async def _submit(self, user_id: str, document_id: str) -> str:
        payload = {"user_id": user_id, "document_id": document_id}
        task = await self._coordinator.submit(
            SubmitTask(kind=READ, payload=payload, owner=user_id, idempotency_key=document_id)
        )
        await self._library.run(user_id, partial(documents.set_job, document_id=document_id, job_id=task.task_id))
        return task.task_id

    async def _discard(self, user_id: str, document_id: str) -> None:
        """Whatever there is of it by now; the error that led here is the one to tell."""
        with suppress(ProductError):
            await self._blobs.delete(user_id, document_id)
        with suppress(ProductError):
            await self._library.run(user_id, partial(documents.delete, document_id=document_id))

    async def wait(self, user: Principal, document_id: str, wait_s: float) -> Document:
        """The document once it was read, or as it is after `wait_s` seconds."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            found = await self._library.run(user.user_id, partial(documents.get, document_id=document_id))
            passed_s = clock() - began
            if found.status != "processing" or passed_s >= wait_s:
                return found
            await asyncio.sleep(min(max(0.05, passed_s / 20), 1.0, wait_s - passed_s))

    async def refuse(self, user: Principal, document: Document) -> None:
        """A file that turned out to be unreadable while its sender waits is not kept. Raises what is wrong with it."""
        await self.delete(user, document.document_id)
        kind = UnsupportedMedia if document.error_code == UnsupportedMedia.code else DocumentUnreadable
        raise kind(document.error)

    async def get(self, user: Principal, document_id: str) -> Document:
        found = await self._library.run(user.user_id, partial(documents.get, document_id=document_id))
        job_id = await self._library.run(user.user_id, partial(documents.job_of, document_id=document_id))
        if found.status != "processing" or job_id is None:
            return found
        try:
            job = await self._coordinator.job(user, job_id)
        except ProductError:
            return found
        if job.state not in OVER:
            return found
        found = await self._library.run(user.user_id, partial(documents.get, document_id=document_id))
        if found.status != "processing":  # it ended, and said how, while we asked
            return found
        why = job.error or f"Its reading was {job.state}."
        return await self._fail(user.user_id, found, "reading_failed", why)

    async def _fail(self, user_id: str, document: Document, code: str, why: str) -> Document:
        failed = document.model_copy(update={"status": "failed", "error": why, "error_code": code})
        return await self._library.run(user_id, partial(documents.put, document=failed))

    async def file(self, user: Principal, document_id: str) -> tuple[Document, AsyncIterator[bytes]]:
        """The document and the bytes that were sent."""
        found = await self._library.run(user.user_id, partial(documents.get, document_id=document_id))
        key = await self._keyring.data_key(user.user_id)
        await self._blobs.size(user.user_id, document_id)  # raises NotFound before the answer begins
        return found, self._blobs.read(user.user_id, document_id, key)

    async def delete(self, user: Principal, document_id: str) -> None:
        """File, text, passages and vectors; the row goes last, so that a deletion cut short can be asked for again."""
        await self._library.run(user.user_id, partial(documents.get, document_id=document_id))
        await self._blobs.delete(user.user_id, document_id)
        await self._library.run(user.user_id, partial(documents.delete, document_id=document_id))
        await self._library.deletions.record(user.user_id, "document", document_id)

    async def delete_files(self, user_id: str) -> None:
        """All files of a user."""
        await self._blobs.delete_owner(user_id)

    async def read(self, context: TaskContext) -> dict[str, Any]:
        """One document to passages; a crash begins it anew. Raises what is wrong with the file."""
        user_id, document_id = context.task.payload["user_id"], context.task.payload["document_id"]
        try:
            document = await self._library.run(user_id, partial(documents.get, document_id=document_id))
            if document.status == "processing":
                document = await self._read(context, user_id, document)
        except (DocumentUnreadable, UnsupportedMedia) as error:
            await self._fail(user_id, document, error.code, error.detail)
            raise
        except NotFound:  # deleted before or meanwhile
            return {"passages": 0}
        return {"passages": document.chunks}

    async def _read(self, context: TaskContext, user_id: str, document: Document) -> Document:
        key = await self._keyring.data_key(user_id)
        limits = ReadLimits(most_chars=self._settings.document_chars, cpu_s=self._settings.document_cpu_s)
        try:
            found = await extract(self._blobs.read(user_id, document.document_id, key), limits)
        except NotFound as error:
            raise DocumentUnreadable("The file is gone; delete the document and send it again.") from error
        document = _described(document, found)
        pieces = await asyncio.to_thread(sections.cut, found.text, found.marks, self._settings.passage_chars)
        await self._library.run(user_id, partial(documents.begin, document_id=document.document_id))
        for at in range(0, len(pieces), BATCH):
            await self._add(user_id, document, pieces[at : at + BATCH])
            await context.progress("embedding", min(99.0, 100 * (at + BATCH) / len(pieces)))
        whole = document.model_copy(update={"status": "completed"})
        return await self._library.run(user_id, partial(documents.put, document=whole))

    async def _add(self, user_id: str, document: Document, pieces: list[Piece]) -> None:
        vectors = await self._library.embed([documents.chunk_of(document, piece).embedded for piece in pieces])
        work = partial(documents.add_passages, document=document, pieces=pieces, vectors=vectors)
        await self._library.run(user_id, work)

    async def resume(self, user_id: str, before: datetime) -> int:
        """Ask again for what should have been read before then; what is asked for already is not asked for twice."""
        left = await self._library.run(user_id, partial(documents.unread, before=before))
        for document_id in left:
            await self._submit(user_id, document_id)
        return len(left)


def options_of(fields: Mapping[str, str]) -> DocumentOptions:
    """Raises Invalid naming each field that is wrong."""
    values: dict[str, Any] = {name: value for name, value in fields.items() if value != "" and name != "wait_s"}
    if "tags" in values:
        values["tags"] = [each.strip() for each in values["tags"].split(",") if each.strip()]
    try:
        return DocumentOptions.model_validate(values)
    except ValidationError as error:
        found = [
            FieldError(pointer="/" + "/".join(map(str, each["loc"])), detail=each["msg"]) for each in error.errors()
        ]
        raise Invalid("; ".join(f"{each.pointer}: {each.detail}" for each in found), errors=found) from error


def _described(document: Document, found: Extracted) -> Document:
    facts = found.facts
    warnings = list(facts.warnings)
    if not found.text.strip() and not warnings:
        warnings.append(DocumentWarning(code="empty", detail="The document holds no text."))
    return document.model_copy(
        update={
            "type": facts.kind,
            "title": document.title or facts.title or _stem(document.filename),
            "pages": facts.pages,
            "characters": len(found.text),
            "attachments": facts.attachments,
            "warnings": warnings,
            "occurred_at": document.occurred_at or facts.occurred_at,
        }
    )


def _shown(filename: str | None) -> str | None:
    """The last part of a name, as it can be shown; it is never the name of anything on the disk."""
    last = (filename or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable()).strip()[:200] or None


def _stem(filename: str | None) -> str:
    return (filename or "").rsplit(".", 1)[0].strip()[:200] or "Document"
