"""The whole vault: out and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from services.rag import retention as retaining
from services.rag.ownership import Ownership
from services.rag.retention import Keeper
from services.rag.routes import Body, TheDeliveries, TheLibrary
from shared.auth.dependencies import ForUser
from shared.schemas.ownership import ImportResult, Retention, RetentionRules

router = APIRouter(prefix="/rag")


async def the_ownership(request: Request) -> Ownership:
    ownership: Ownership = request.app.state.ownership
    return ownership


async def the_keeper(request: Request) -> Keeper:
    keeper: Keeper = request.app.state.keeper
    return keeper


TheKeeper = Annotated[Keeper, Depends(the_keeper)]
TheOwnership = Annotated[Ownership, Depends(the_ownership)]


@router.get("/export")
async def export(user: ForUser, ownership: TheOwnership, audio: bool = True) -> StreamingResponse:
    """A zip as docs/vault-format.md describes it."""
    headers = {"Content-Disposition": 'attachment; filename="nemo-vault.zip"', "X-Content-Type-Options": "nosniff"}
    stream = await ownership.export(user, audio=audio)
    return StreamingResponse(stream, headers=headers, media_type="application/zip")


@router.delete("/all", status_code=204)
async def clear(user: ForUser, ownership: TheOwnership, deliveries: TheDeliveries) -> None:
    """The vault, documents' files, recordings with their sound, voiceprints; rules for keeping stay."""
    await ownership.clear(user)
    await deliveries.delete_owner(user.user_id)


@router.get("/retention")
async def retention(user: ForUser, library: TheLibrary) -> Retention:
    return await library.run(user.user_id, retaining.get)


@router.put("/retention")
async def put_retention(rules: RetentionRules, user: ForUser, library: TheLibrary, keeper: TheKeeper) -> Retention:
    """Applied at once, and daily from then on."""
    await library.run(user.user_id, lambda vault: retaining.put(vault, rules))
    await keeper.apply(user.user_id)
    return await library.run(user.user_id, retaining.get)


@router.post("/import")
async def take_back(body: Body, user: ForUser, ownership: TheOwnership, response: Response) -> ImportResult:
    result = await ownership.take_back(user, body)
    if result.job_id is not None:
        response.headers["Location"] = f"/jobs/{result.job_id}"
    return result
