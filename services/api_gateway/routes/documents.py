"""Documents: text, Markdown, HTML, PDF, .docx and mail, as memories that say where they stand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services
from shared.auth.dependencies import CurrentUser
from shared.schemas.documents import Document, DocumentAccepted
from shared.schemas.wire import Page

router = APIRouter(prefix="/rag/documents", tags=["memory"], responses=PROBLEMS, route_class=Relayed)

_FILE = {"type": "string", "format": "binary"}
UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": _FILE,
                        "title": {"type": "string"},
                        "tags": {"type": "string", "description": "Separated by commas."},
                        "occurred_at": {"type": "string", "format": "date-time"},
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    response_model=Document | DocumentAccepted,
    openapi_extra=UPLOAD_FORM,
    status_code=201,
    responses={202: {"model": DocumentAccepted, "description": "Safe on disk; follow Location for its progress."}},
)
async def upload(
    request: Request, user: CurrentUser, services: Services, wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0
) -> Response:
    """Remember a document: kept as it came, found by its passages. Its type is told by its content."""
    return await relay(services.rag, request, user)


@router.get("")
async def page(user: CurrentUser, services: Services, limit: Limit = 50, cursor: Cursor = None) -> Page[Document]:
    """Newest first."""
    return await services.rag.documents(user, limit=limit, cursor=cursor)


@router.get("/{document_id}", response_model=Document)
async def document(document_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.rag, request, user)


@router.get(
    "/{document_id}/file",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": _FILE}}}},
)
async def file(document_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    """The bytes that were sent, as an attachment."""
    return await relay(services.rag, request, user)


@router.delete("/{document_id}", status_code=204)
async def delete(document_id: str, user: CurrentUser, services: Services) -> None:
    """File, text, passages and vectors are gone when this answers."""
    await services.rag.delete_document(user, document_id)
