"""What changed, for clients that keep a copy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from services.rag import changes
from services.rag.routes import Limit, TheLibrary
from shared.auth.dependencies import ForUser
from shared.schemas.sync import Changes

router = APIRouter(prefix="/rag")


@router.get("/changes")
async def since(
    user: ForUser, library: TheLibrary, after: Annotated[int, Query(ge=0)] = 0, limit: Limit = 100
) -> Changes:
    return await library.run(user.user_id, lambda vault: changes.since(vault, after, limit))
