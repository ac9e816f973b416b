"""Memories, search and emotion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services
from shared.auth.dependencies import CurrentUser
from shared.etags import Conditions, mark
from shared.schemas.coordinator import Job
from shared.schemas.emotion import AnalyzeBatch, EmotionAnalysis, EmotionBatch
from shared.schemas.ownership import ImportResult, Retention, RetentionRules
from shared.schemas.rag import EditMemory, Memory, NewMemory, SearchHit, SearchRequest
from shared.schemas.wire import Page

router = APIRouter(tags=["memory"], responses=PROBLEMS, route_class=Relayed)

IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
ANALYZE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
            },
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


@router.post("/rag/memory", status_code=201)
async def remember(new: NewMemory, user: CurrentUser, services: Services, response: Response) -> Memory:
    """Remember something; durable when answered."""
    memory = await services.rag.remember(user, new)
    mark(response, memory.revision)
    return memory


@router.get("/rag/memories")
async def memories(
    user: CurrentUser,
    services: Services,
    limit: Limit = 50,
    cursor: Cursor = None,
    memory_type: Annotated[str | None, Query(max_length=32)] = None,
    tag: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[Memory]:
    """Newest first; `memory_type=transcript` gives the passages of recordings."""
    return await services.rag.memories(user, limit=limit, cursor=cursor, memory_type=memory_type, tag=tag)


@router.get("/rag/memory/{memory_id}", response_model=Memory)
async def memory(memory_id: str, request: Request, user: CurrentUser, services: Services) -> Response:
    return await relay(services.rag, request, user)


@router.patch("/rag/memory/{memory_id}")
async def edit(
    memory_id: str, change: EditMemory, user: CurrentUser, services: Services, if_match: Conditions, response: Response
) -> Memory:
    changed = await services.rag.edit_memory(user, memory_id, change, if_match)
    mark(response, changed.revision)
    return changed


@router.delete("/rag/memory/{memory_id}", status_code=204)
async def forget(memory_id: str, user: CurrentUser, services: Services, if_match: Conditions) -> None:
    await services.rag.forget(user, memory_id, if_match)


@router.post("/rag/search")
async def search(request: SearchRequest, user: CurrentUser, services: Services) -> list[SearchHit]:
    """By meaning and by words, over memories and recordings."""
    return await services.rag.search(user, request)


@router.post("/rag/rebuild-index", status_code=202)
async def rebuild(user: CurrentUser, services: Services, response: Response) -> Job:
    """Embed everything anew; follow Location."""
    job = await services.rag.rebuild(user)
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job


@router.delete("/rag/all", status_code=204)
async def clear(user: CurrentUser, services: Services) -> None:
    """Delete everything: memories, facts, documents, conversations, recordings with their sound, enrolled voices.

    What is being transcribed is cancelled. The account, its tokens, the vault's lock and the rules of `/rag/retention`
    stay. Take `/rag/export` before; this cannot be taken back.
    """
    await services.rag.clear(user)


@router.get(
    "/rag/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export(request: Request, user: CurrentUser, services: Services, audio: bool = True) -> Response:
    """The whole vault as a zip: memories, transcripts, conversations, documents and, unless told not to, audio."""
    return await relay(services.rag, request, user)


@router.get("/rag/retention", response_model=Retention)
async def retention(request: Request, user: CurrentUser, services: Services) -> Response:
    """How long things are kept, and what the last pass deleted and verified."""
    return await relay(services.rag, request, user)


@router.put("/rag/retention")
async def put_retention(rules: RetentionRules, user: CurrentUser, services: Services) -> Retention:
    """What is older than these rules allow is deleted at once, and daily from then on."""
    return await services.rag.put_retention(user, rules)


@router.post("/rag/import", openapi_extra=IMPORT_BODY, response_model=ImportResult)
async def take_back(request: Request, user: CurrentUser, services: Services) -> Response:
    """Merge an export into this vault. All of it is checked first; what is here already stays as it is."""
    return await relay(services.rag, request, user)


@router.post("/emotion/analyze", openapi_extra=ANALYZE_BODY, response_model=EmotionAnalysis, tags=["emotion"])
async def analyze(request: Request, user: CurrentUser, services: Services) -> Response:
    """Seven emotions of a text or of a recording that is not kept."""
    return await relay(services.emotion, request, user)


@router.post("/emotion/batch", tags=["emotion"])
async def batch(request: AnalyzeBatch, user: CurrentUser, services: Services) -> EmotionBatch:
    return await services.emotion.batch(user, request.texts)
