"""The whole vault: out and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from services.rag.ownership import Ownership
from services.rag.routes import Body
from shared.auth.dependencies import ForUser
from shared.schemas.ownership import ImportResult

router = APIRouter(prefix="/rag")


async def the_ownership(request: Request) -> Ownership:
    ownership: Ownership = request.app.state.ownership
    return ownership


TheOwnership = Annotated[Ownership, Depends(the_ownership)]


@router.get("/export")
async def export(user: ForUser, ownership: TheOwnership, audio: bool = True) -> StreamingResponse:
    """A zip as docs/vault-format.md describes it."""
    headers = {"Content-Disposition": 'attachment; filename="nemo-vault.zip"', "X-Content-Type-Options": "nosniff"}
    stream = await ownership.export(user, audio=audio)
    return StreamingResponse(stream, headers=headers, media_type="application/zip")


@router.post("/import")
async def take_back(body: Body, user: ForUser, ownership: TheOwnership, response: Response) -> ImportResult:
    result = await ownership.take_back(user, body)
    if result.job_id is not None:
        response.headers["Location"] = f"/jobs/{result.job_id}"
    return result
