"""Uploads in pieces; the gateway speaks tus to clients and this to us."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from services.transcription.partial_uploads import PartialUploads
from shared.auth.dependencies import ForUser
from shared.schemas.uploads import NewPartialUpload, PartialUpload

router = APIRouter(prefix="/transcription/partial-uploads")


async def the_uploads(request: Request) -> PartialUploads:
    uploads: PartialUploads = request.app.state.partial_uploads
    return uploads


TheUploads = Annotated[PartialUploads, Depends(the_uploads)]


@router.post("", status_code=201)
async def create(new: NewPartialUpload, user: ForUser, uploads: TheUploads) -> PartialUpload:
    return await uploads.create(user, new)


@router.get("/{upload_id}")
async def state(upload_id: str, user: ForUser, uploads: TheUploads) -> PartialUpload:
    return await uploads.state(user, upload_id)


@router.patch("/{upload_id}")
async def append(
    upload_id: str,
    request: Request,
    user: ForUser,
    uploads: TheUploads,
    offset: Annotated[int, Query(ge=0)],
) -> PartialUpload:
    """The body is the piece that begins at byte `offset`."""
    return await uploads.append(user, upload_id, offset, request.stream())


@router.delete("/{upload_id}", status_code=204)
async def delete(upload_id: str, user: ForUser, uploads: TheUploads) -> None:
    await uploads.delete(user, upload_id)
