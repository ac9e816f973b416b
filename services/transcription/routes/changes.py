"""What changed, for clients that keep a copy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.transcription.changes import ChangeLog
from shared.auth.dependencies import ForUser
from shared.schemas.sync import Changes

router = APIRouter(prefix="/transcription")


@router.get("/changes")
async def since(
    user: ForUser,
    request: Request,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Changes:
    log: ChangeLog = request.app.state.change_log
    return await log.since(user, after, limit)
