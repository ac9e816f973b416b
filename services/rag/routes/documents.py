"""Documents: send, read, list, get back, delete."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from services.rag import documents
from services.rag.routes import Body, Cursor, Limit, TheLibrary, TheReading
from shared.auth.dependencies import ForUser
from shared.schemas.documents import Document, DocumentAccepted
from shared.schemas.wire import Page, page_of

router = APIRouter(prefix="/rag/documents")


@router.post(
    "", status_code=201, response_model=Document | DocumentAccepted, responses={202: {"model": DocumentAccepted}}
)
async def upload(
    body: Body,
    user: ForUser,
    reading: TheReading,
    response: Response,
    wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0,
) -> Document | DocumentAccepted:
    """201 with the document when it was read within `wait_s`, else 202 and `Location: /jobs/{id}`."""
    accepted = await reading.upload(user, body)
    response.headers["Location"] = f"/jobs/{accepted.job_id}"
    document = await reading.wait(user, accepted.document_id, wait_s) if wait_s > 0 else None
    if document is None or document.status == "processing":
        response.status_code = 202
        return accepted
    if document.status == "failed":
        await reading.refuse(user, document)
    response.headers["Location"] = f"/rag/documents/{accepted.document_id}"
    return document


@router.get("")
async def page(user: ForUser, library: TheLibrary, limit: Limit = 50, cursor: Cursor = None) -> Page[Document]:
    found = await library.run(user.user_id, partial(documents.page, limit=limit + 1, before=cursor))
    return page_of(found, limit, lambda each: each.document_id)


@router.get("/{document_id}")
async def get(document_id: str, user: ForUser, reading: TheReading) -> Document:
    return await reading.get(user, document_id)


@router.get("/{document_id}/file")
async def file(document_id: str, user: ForUser, reading: TheReading) -> StreamingResponse:
    """The bytes that were sent, to be saved and never shown: a page among them must not run in our name."""
    document, chunks = await reading.file(user, document_id)
    headers = {
        "Content-Length": str(document.size_bytes),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.filename or document_id, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


@router.delete("/{document_id}", status_code=204)
async def delete(document_id: str, user: ForUser, reading: TheReading) -> None:
    await reading.delete(user, document_id)
