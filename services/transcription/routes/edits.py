"""Edits of finished transcripts, which are the vault's to keep."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from services.transcription.routes import TheStudio
from shared.auth.dependencies import ForUser
from shared.clients.rag import RagClient
from shared.etags import Conditions, mark
from shared.schemas.edits import EditSegment, MergeSegments, Revert, Revision, SplitSegment
from shared.schemas.transcription import Transcript
from shared.schemas.wire import Page

router = APIRouter(prefix="/transcription/{transcript_id}")
Number = Annotated[int, Path(ge=1, lt=1_000_000_000)]


async def the_vault(transcript_id: str, user: ForUser, studio: TheStudio) -> RagClient:
    return await studio.vault_of(user, transcript_id)


TheVault = Annotated[RagClient, Depends(the_vault)]


@router.patch("/segments/{segment_id}")
async def edit_segment(
    transcript_id: str,
    segment_id: str,
    change: EditSegment,
    user: ForUser,
    vault: TheVault,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    changed = await vault.edit_segment(user, transcript_id, segment_id, change, if_match)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/split")
async def split(
    transcript_id: str,
    segment_id: str,
    where: SplitSegment,
    user: ForUser,
    vault: TheVault,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    changed = await vault.split_segment(user, transcript_id, segment_id, where, if_match)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/merge")
async def merge(
    transcript_id: str,
    segment_id: str,
    user: ForUser,
    vault: TheVault,
    if_match: Conditions,
    response: Response,
    how: MergeSegments | None = None,
) -> Transcript:
    changed = await vault.merge_segments(user, transcript_id, segment_id, how or MergeSegments(), if_match)
    mark(response, changed.revision)
    return changed


@router.get("/revisions")
async def revisions_of(transcript_id: str, user: ForUser, vault: TheVault) -> Page[Revision]:
    return await vault.revisions(user, transcript_id)


@router.get("/revisions/{revision}")
async def revision_at(
    transcript_id: str, revision: Number, user: ForUser, vault: TheVault, response: Response
) -> Transcript:
    found = await vault.revision(user, transcript_id, revision)
    mark(response, found.revision)
    return found


@router.post("/revert")
async def revert(
    transcript_id: str, to: Revert, user: ForUser, vault: TheVault, if_match: Conditions, response: Response
) -> Transcript:
    changed = await vault.revert(user, transcript_id, to, if_match)
    mark(response, changed.revision)
    return changed
